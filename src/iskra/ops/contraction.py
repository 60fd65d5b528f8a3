"""Sums over named or chosen dimensions: einsum, tensordot, inner, kron, chains of matrices.

All of them come down to one batched matrix product per pair of operands.
Source: https://docs.pytorch.org/docs/stable/torch.html#blas-and-lapack-operations
"""

import functools
import math

from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite
from iskra.ops.matmul import matmul
from iskra.ops.view import listed
from iskra.tensor import Tensor

# -- einsum ---------------------------------------------------------------------------------------

_ELLIPSIS = -1  # in a list of labels; letters are numbers from 0


def _label(letter, place):
    """The number of a subscript letter: upper case sorts before lower case."""
    if "A" <= letter <= "Z":
        return ord(letter) - ord("A")
    if "a" <= letter <= "z":
        return ord(letter) - ord("a") + 26
    raise RuntimeError(
        f"einsum(): invalid subscript given at index {place} in the equation string, subscripts "
        "must be in [a-zA-Z]"
    )


def _letter(label):
    return chr(ord("A") + label) if label < 26 else chr(ord("a") + label - 26)


def _read_term(text, start, whose):
    """The labels of one operand (or of the output)."""
    labels, place = [], 0
    while place < len(text):
        letter = text[place]
        if letter == " ":
            place += 1
        elif letter == ".":
            if text[place:place + 3] != "..." or _ELLIPSIS in labels:
                raise RuntimeError(
                    f"einsum(): found '.' for {whose} that is not part of any ellipsis"
                )
            labels.append(_ELLIPSIS)
            place += 3
        else:
            labels.append(_label(letter, start + place))
            place += 1
    return labels


def _read_equation(equation, count):
    """The labels of every operand, and those of the output (None where it is implied)."""
    left, arrow, right = equation.partition("->")
    terms, start = [], 0
    for number, text in enumerate(left.split(",")):
        terms.append(_read_term(text, start, f"operand {number}"))
        start += len(text) + 1
    if len(terms) != count:
        which = "fewer" if count < len(terms) else "more"
        raise RuntimeError(
            f"einsum(): {which} operands were provided than specified in the equation"
        )
    output = _read_term(right, len(left) + 2, "the output") if arrow else None
    return terms, output


def _read_sublists(args):
    """The form ``einsum(op1, [0, 1], op2, [1, 2], [0, 2])``."""
    operands = list(args[: len(args) // 2 * 2: 2])
    terms = [_read_sublist(s) for s in args[1: len(args) // 2 * 2: 2]]
    output = _read_sublist(args[-1]) if len(args) % 2 else None
    return operands, terms, output


def _read_sublist(labels):
    read = [_ELLIPSIS if label is ... else label for label in labels]
    for label in read:
        if not (isinstance(label, int) and -1 <= label < 52):
            raise RuntimeError(
                f"einsum(): not a valid subscript in sublist format: {label!r}; expected ints in "
                "[0, 52) or Ellipsis"
            )
    return read


@functools.lru_cache(maxsize=256)
def _plan(equation, ranks):
    """The labels of the operands and of the output, kept for operands of these ranks."""
    terms, output = _read_equation(equation, len(ranks))
    terms, output = _spread_ellipses(terms, ranks, output)
    _check_output(terms, output)
    return terms, output


def _spread_ellipses(terms, ranks, output):
    """Replace ellipses by labels of their own, numbered from 52 and counted from the right."""
    width = 0
    for number, (labels, rank) in enumerate(zip(terms, ranks, strict=True)):
        named = sum(label != _ELLIPSIS for label in labels)
        if _ELLIPSIS in labels:
            if named > rank:
                raise RuntimeError(
                    f"einsum(): the number of subscripts in the equation ({named}) is more than "
                    f"the number of dimensions ({rank}) for operand {number}"
                )
            width = max(width, rank - named)
        elif named != rank:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match "
                f"the number of dimensions ({rank}) for operand {number} and no ellipsis was given"
            )
    spread = [
        _replace_ellipsis(labels, width, rank - len(labels) + 1)
        for labels, rank in zip(terms, ranks, strict=True)
    ]
    if output is None:
        used = [label for labels in terms for label in labels if label != _ELLIPSIS]
        output = sorted({label for label in used if used.count(label) == 1})
        output = [*range(52, 52 + width), *output]
    else:
        output = _replace_ellipsis(output, width, width)
    return spread, output


def _replace_ellipsis(labels, width, count):
    if _ELLIPSIS not in labels:
        return list(labels)
    place = labels.index(_ELLIPSIS)
    return [*labels[:place], *range(52 + width - count, 52 + width), *labels[place + 1:]]


def _check_output(terms, output):
    known = {label for labels in terms for label in labels}
    for label in output:
        name = _letter(label) if label < 52 else "..."
        if output.count(label) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {name} appears more than once in the output"
            )
        if label not in known:
            raise RuntimeError(
                f"einsum(): output subscript {name} does not appear in the equation for any "
                "input operand"
            )


def _check_sizes(terms, operands):
    sizes = {}
    for number, (labels, operand) in enumerate(zip(terms, operands, strict=True)):
        for label, size in zip(labels, operand.shape, strict=True):
            seen = sizes.get(label, 1)
            if size != 1 and seen not in (1, size):
                name = _letter(label) if label < 52 else "..."
                raise RuntimeError(
                    f"einsum(): subscript {name} has size {size} for operand {number} which does "
                    f"not broadcast with previously seen size {seen}"
                )
            if size != 1 or label not in sizes:
                sizes[label] = size


def _diagonals(operand, labels):
    """Take the diagonal wherever a label repeats."""
    labels = list(labels)
    if len(set(labels)) == len(labels):
        return operand, labels
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if operand.size(first) != operand.size(second):
                raise RuntimeError(
                    f"einsum(): subscript {_letter(label)} is repeated for an operand but the "
                    f"sizes don't match, {operand.size(second)} != {operand.size(first)}"
                )
            operand = operand.diagonal(0, first, second)
            del labels[second], labels[first]
            labels.append(label)
    return operand, labels


def _sum_out(operand, labels, keep):
    """Sum the dimensions whose labels nothing else asks for."""
    dims = [d for d, label in enumerate(labels) if label not in keep]
    if dims:
        operand = operand.sum(dims)
        labels = [label for label in labels if label in keep]
    return operand, labels


def _drop_ones(operand, labels, others):
    """Take out dimensions of size 1 that the other operand has at full size: they broadcast."""
    dims = [d for d, label in enumerate(labels) if operand.size(d) == 1 and label in others]
    if dims:
        operand = operand.squeeze(tuple(dims))
        labels = [label for d, label in enumerate(labels) if d not in dims]
    return operand, labels


def _contract(a, a_labels, b, b_labels, keep):
    """Multiply two operands and sum every label that is not in `keep`."""
    full = {label for label, size in zip(b_labels, b.shape, strict=True) if size != 1}
    a, a_labels = _drop_ones(a, a_labels, full)
    full = {label for label, size in zip(a_labels, a.shape, strict=True) if size != 1}
    b, b_labels = _drop_ones(b, b_labels, full)
    a, a_labels = _sum_out(a, a_labels, keep | set(b_labels))
    b, b_labels = _sum_out(b, b_labels, keep | set(a_labels))
    batch = [x for x in a_labels if x in b_labels and x in keep]
    inner = [x for x in a_labels if x in b_labels and x not in keep]
    left = [x for x in a_labels if x not in b_labels]
    right = [x for x in b_labels if x not in a_labels]
    if not inner:
        return _multiply(a, a_labels, b, b_labels, batch, left, right)
    sizes = dict(zip(a_labels, a.shape, strict=True)) | dict(zip(b_labels, b.shape, strict=True))

    def width(labels):
        return math.prod(sizes[x] for x in labels)

    a = _ordered(a, a_labels, batch + left + inner)
    b = _ordered(b, b_labels, batch + inner + right)
    leading = (width(batch),) if batch else ()
    a = a.reshape(*leading, width(left), width(inner))
    b = b.reshape(*leading, width(inner), width(right))
    labels = batch + left + right
    return matmul(a, b).reshape([sizes[x] for x in labels]), labels


def _ordered(operand, labels, wanted):
    order = [labels.index(x) for x in wanted]
    return operand if order == sorted(order) else operand.permute(order)


def _multiply(a, a_labels, b, b_labels, batch, left, right):
    """The product where nothing is summed: a broadcast multiplication."""
    labels = batch + left + right
    a = _ordered(a, a_labels, batch + left)
    b = _ordered(b, b_labels, batch + right)
    a = a.reshape([*a.shape, *[1] * len(right)]) if right else a
    if left:
        count = len(batch)
        b = b.reshape([*b.shape[:count], *[1] * len(left), *b.shape[count:]])
    return a * b, labels


@composite(
    method=False, operands="",
    samples=lambda make: [
        (("ij,jk", make((2, 3)), make((3, 4))), {}), (("bij,bkj->bik", make((2, 2, 3)),
                                                       make((2, 4, 3))), {}),
        (("ii->i", make((3, 3))), {}), (("...i,...i->...", make((2, 3)), make((2, 3))), {}),
        (("i,j,k->kji", make((2,)), make((3,)), make((2,))), {}),
    ],
)
def einsum(equation, *operands):
    """Return the sum of products over dimensions named by letters, in Einstein's notation.

    ``"ij,jk->ik"`` multiplies matrices; letters missing from the output are summed; without
    ``->`` the output has, in order of the alphabet, the letters that occur once. ``...`` stands
    for dimensions that broadcast. Also accepts ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.
    Raises RuntimeError for an equation that is malformed or does not fit the shapes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.einsum.html

    >>> import iskra as torch
    >>> torch.einsum("ij,j->i", torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 1]))
    tensor([3, 7])
    """
    if isinstance(equation, str):
        operands = list(listed(operands))
        if not operands:
            raise RuntimeError("einsum(): must provide at least one operand")
        terms, output = _plan(equation, tuple([o.dim() for o in operands]))
    else:
        operands, terms, output = _read_sublists((equation, *operands))
        terms, output = _spread_ellipses(terms, [o.dim() for o in operands], output)
        _check_output(terms, output)
    pairs = [_diagonals(o, labels) for o, labels in zip(operands, terms, strict=True)]
    operands, terms = [p[0] for p in pairs], [p[1] for p in pairs]
    _check_sizes(terms, operands)
    result, labels = operands[0], terms[0]
    for place in range(1, len(operands)):
        later = {x for other in terms[place + 1:] for x in other}
        result, labels = _contract(
            result, labels, operands[place], terms[place], set(output) | later
        )
    result, labels = _sum_out(result, labels, set(output))
    return _ordered(result, labels, output)


# -- chosen dimensions ----------------------------------------------------------------------------


def _tensordot_dims(a, b, dims):
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}"
            )
        return list(range(-dims, 0)), list(range(dims))
    first, second = dims
    first = list(first) if isinstance(first, (list, tuple)) else [first]
    second = list(second) if isinstance(second, (list, tuple)) else [second]
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    return first, second


@composite(
    method=False, out="exact",
    samples=lambda make: [
        ((make((2, 3, 4)), make((3, 4, 2))), {}), ((make((2, 3)), make((4, 2)), ([0], [1])), {}),
    ],
)
def tensordot(a, b, dims=2):
    """Return the sum of products over pairs of dimensions of `a` and `b`.

    `dims` is a number n (the last n of `a` with the first n of `b`) or a pair of lists.
    Raises RuntimeError where the sizes of a pair differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensordot.html

    >>> import iskra as torch
    >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 2), dims=1)
    tensor([[3., 3.],
            [3., 3.]])
    """
    first, second = _tensordot_dims(a, b, dims)
    pairs = []
    for d1, d2 in zip(first, second, strict=True):
        w1, w2 = wrap_dim(d1, a.dim()), wrap_dim(d2, b.dim())
        if a.size(w1) != b.size(w2):
            if 1 not in (a.size(w1), b.size(w2)):
                raise RuntimeError(
                    "contracted dimensions need to match, but first has size "
                    f"{a.size(w1)} in dim {d1} and second has size {b.size(w2)} in dim {d2}"
                )
            # A size of 1 broadcasts: the other side is summed first.
            a = a.sum(w1, keepdim=True, dtype=a.dtype) if b.size(w2) == 1 else a
            b = b.sum(w2, keepdim=True, dtype=b.dtype) if a.size(w1) == 1 else b
        pairs.append((w1, w2))
    inner_a, inner_b = [p[0] for p in pairs], [p[1] for p in pairs]
    rest_a = [d for d in range(a.dim()) if d not in inner_a]
    rest_b = [d for d in range(b.dim()) if d not in inner_b]
    inner = math.prod(a.size(d) for d in inner_a)
    left, right = [a.size(d) for d in rest_a], [b.size(d) for d in rest_b]
    flat_a = a.permute(rest_a + inner_a).reshape(math.prod(left), inner)
    flat_b = b.permute(inner_b + rest_b).reshape(inner, math.prod(right))
    return matmul(flat_a, flat_b).reshape(left + right)


@composite(
    out="aligned",
    samples=lambda make: [((make((2, 3)), make((4, 3))), {}), ((make(()), make((2,))), {})],
)
def inner(input, other):
    """Return the sum of products over the last dimensions of both; a product with a 0-d tensor.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.inner.html

    >>> import iskra as torch
    >>> torch.inner(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)
    """
    if not input.dim() or not other.dim():
        return input * other
    if input.size(-1) != other.size(-1):
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{format_shape(input.shape)} and {format_shape(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


@composite(
    out="apart", samples=lambda make: [((make((2, 3)), make((2,))), {})],
)
def kron(input, other):
    """Return the Kronecker product: every element of `input` times the whole of `other`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.kron.html

    >>> import iskra as torch
    >>> torch.kron(torch.tensor([1, 10]), torch.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    rank = max(input.dim(), other.dim())
    first = (1,) * (rank - input.dim()) + tuple(input.shape)
    second = (1,) * (rank - other.dim()) + tuple(other.shape)
    spread_first = [s for size in first for s in (size, 1)]
    spread_second = [s for size in second for s in (1, size)]
    result = input.reshape(spread_first) * other.reshape(spread_second)
    return result.reshape([a * b for a, b in zip(first, second, strict=True)])


# -- chains ---------------------------------------------------------------------------------------


def _best_order(sizes):
    """Where to split each chain of matrices so that the products cost least."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for start in range(count - length):
            stop = start + length
            choices = [
                (cost[start, k] + cost[k + 1, stop] + sizes[start] * sizes[k + 1] * sizes[stop + 1],
                 k)
                for k in range(start, stop)
            ]
            cost[start, stop], split[start, stop] = min(choices)
    return split


def _multiply_chain(tensors, split, start, stop):
    if start == stop:
        return tensors[start]
    k = split[start, stop]
    return matmul(
        _multiply_chain(tensors, split, start, k), _multiply_chain(tensors, split, k + 1, stop)
    )


@composite(
    namespace="linalg", out="exact",
    samples=lambda make: [(([make((2, 3)), make((3, 4)), make((4, 1))],), {}),
                          (([make((3,)), make((3, 4)), make((4,))],), {})],
)
def linalg_multi_dot(tensors):
    """Return the product of two or more matrices, multiplied in the cheapest order.

    The first and the last may be vectors. Raises RuntimeError for other ranks and for shapes
    that do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.multi_dot.html

    >>> import iskra as torch
    >>> torch.linalg.multi_dot([torch.ones(1, 2), torch.ones(2, 3), torch.ones(3, 1)])
    tensor([[6.]])
    """
    count = len(tensors)
    if count < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {count}")
    for place, tensor in enumerate(tensors):
        ends = place in (0, count - 1)
        if tensor.dim() not in ((1, 2) if ends else (2,)):
            which = {0: "the first tensor", count - 1: "the last tensor"}.get(
                place, f"tensor {place}"
            )
            raise RuntimeError(
                f"multi_dot(): {which} must be {'1D or ' if ends else ''}2D but got "
                f"{tensor.dim()}D"
            )
    first_is_vector, last_is_vector = tensors[0].dim() == 1, tensors[-1].dim() == 1
    chain = list(tensors)
    chain[0] = chain[0].unsqueeze(0) if first_is_vector else chain[0]
    chain[-1] = chain[-1].unsqueeze(-1) if last_is_vector else chain[-1]
    for place, (a, b) in enumerate(zip(chain, chain[1:], strict=False)):
        if a.size(1) != b.size(0):
            raise RuntimeError(
                f"multi_dot(): tensors {place} and {place + 1} with shapes "
                f"{format_shape(a.shape)} and {format_shape(b.shape)} cannot be multiplied"
            )
        if a._dtype is not b._dtype:
            raise RuntimeError(
                "multi_dot(): all tensors must have be the same dtype but got "
                f"{a._dtype.scalar_name} and {b._dtype.scalar_name}"
            )
    split = _best_order([chain[0].size(0), *[t.size(1) for t in chain]])
    result = _multiply_chain(chain, split, 0, count - 1)
    shape = [] if first_is_vector else [result.size(0)]
    shape += [] if last_is_vector else [result.size(1)]
    return result.view(shape)


@composite(method=False)
def chain_matmul(*matrices):
    """Return the product of matrices: the older name of `linalg.multi_dot`.

    >>> import iskra as torch
    >>> torch.chain_matmul(torch.ones(1, 2), torch.ones(2, 1))
    tensor([[2.]])
    """
    matrices = listed(matrices)
    if len(matrices) == 1:
        return matrices[0]
    return linalg_multi_dot(list(matrices))
