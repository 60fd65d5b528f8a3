"""Matrix products of groups of unequal size."""

from iskra import ops


def grouped_mm(mat_a, mat_b, *, offs=None, bias=None, out_dtype=None):
    """One matrix product per group, the groups of a 2-d operand ending at the offsets `offs`.

    Shapes, with G groups: (M, K) by (G, K, N) -> (M, N), rows grouped; (G, M, K) by (K, N) ->
    (M, N), columns grouped; (M, K) by (K, N) -> (G, M, N), the K products grouped; (G, M, K) by
    (G, K, N) -> (G, M, N), without `offs`. What lies behind the last offset is left out (rows and
    columns of the result there are zero).

    Raises RuntimeError where dimensions or offsets do not fit.
    Source: `torch.nn.functional.grouped_mm`.

    >>> import iskra as torch
    >>> tokens, experts = torch.ones(3, 2), torch.stack([torch.eye(2), 2 * torch.eye(2)])
    >>> torch.nn.functional.grouped_mm(tokens, experts, offs=torch.tensor([1, 3]))
    tensor([[1., 1.],
            [2., 2.],
            [2., 2.]])
    """
    dims = (mat_a.dim(), mat_b.dim())
    if not set(dims) <= {2, 3}:
        raise RuntimeError(f"grouped_mm: operands must be 2-d or 3-d, not {dims[0]}-d, {dims[1]}-d")
    if (offs is None) != (dims == (3, 3)):
        raise RuntimeError("grouped_mm: offs must be given if, and only if, an operand is 2-d")
    product = _PRODUCTS[dims](mat_a, mat_b, offs)
    product = product if bias is None else product + bias
    return product if out_dtype is None else product.to(out_dtype)


def _ranges(offs, total):
    """Begin and end of each group."""
    ends = offs.tolist()
    begins = [0, *ends[:-1]]
    if any(b > e for b, e in zip(begins, ends, strict=True)) or (ends and ends[-1] > total):
        raise RuntimeError(
            f"grouped_mm: offs must increase up to at most {total}, but got {ends}"
        )
    return zip(begins, ends, strict=True)


def _rows(a, b, offs):
    parts = [a[s:e] @ b[i] for i, (s, e) in enumerate(_ranges(offs, a.size(0)))]
    return _filled(parts, a.size(0), 0)


def _columns(a, b, offs):
    parts = [a[i] @ b[:, s:e] for i, (s, e) in enumerate(_ranges(offs, b.size(1)))]
    return _filled(parts, b.size(1), 1)


def _filled(parts, total, dim):
    """The parts joined along `dim` and filled with zeros up to `total`."""
    joined = ops.cat(parts, dim)
    missing = total - joined.size(dim)
    if not missing:
        return joined
    shape = list(joined.shape)
    shape[dim] = missing
    return ops.cat([joined, joined.new_zeros(shape)], dim)


def _inner(a, b, offs):
    return ops.stack([a[:, s:e] @ b[s:e] for s, e in _ranges(offs, a.size(1))])


_PRODUCTS = {
    (2, 3): _rows, (3, 2): _columns, (2, 2): _inner, (3, 3): lambda a, b, offs: ops.bmm(a, b),
}
