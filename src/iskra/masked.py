"""``iskra.masked``: reductions and normalisations over the elements that a mask lets through.

Every function takes ``mask=``, a bool tensor that broadcasts to the input: True keeps an element.
Elements masked out do as if they were not there; where nothing is left, the result is the
reduction's value of nothing (0 for `sum`, ``-inf`` for `amax`, NaN for `mean`).
Source: https://docs.pytorch.org/docs/stable/masked.html
"""

import math

import iskra
from iskra.core.size import wrap_dim, wrap_dims

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]

_SMALL = (iskra.uint8, iskra.bool, iskra.int8, iskra.int16, iskra.int32)


def _mask_of(input, mask):
    """`mask` as bools of the input's shape; IndexError where it has more dimensions."""
    if mask.dim() > input.dim():
        raise IndexError(
            f"masked: the mask has {mask.dim()} dimensions, more than the input's {input.dim()}"
        )
    return iskra.broadcast_to(mask, input.shape).to(iskra.bool)


def _filled(input, mask, value):
    """The input with `value` where the mask is False."""
    if mask is None:
        return input
    return iskra.where(_mask_of(input, mask), input, input.new_tensor(value))


def _lowest(input, name):
    """What the maximum of nothing is."""
    if input.is_floating_point() or input.is_complex():
        return -math.inf
    return _limits(input, name).min


def _highest(input, name):
    """What the minimum of nothing is."""
    return math.inf if input.is_floating_point() else _limits(input, name).max


def _limits(input, name):
    if input.dtype is iskra.bool or input.is_complex():
        raise NotImplementedError(f"masked.{name}: nothing to stand for no {input.dtype} elements")
    return iskra.iinfo(input.dtype)


def _dims(input, dim):
    """The dimensions reduced over, as a tuple."""
    if dim is None or dim == ():
        return tuple(range(input.dim()))
    return tuple(sorted(wrap_dims(dim if isinstance(dim, (tuple, list)) else (dim,), input.dim())))


def _dim(input, dim):
    """The one dimension along which something runs: of None, as in PyTorch, the first."""
    return _dims(input, dim)[0] if input.dim() else wrap_dim(dim, 0)


def _wide(input, dtype):
    """The dtype in which sums and products are taken."""
    if dtype is None:
        return iskra.int64 if input.dtype in _SMALL else input.dtype
    return dtype


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The sum of the elements that `mask` lets through, over everything or along `dim`.

    >>> import iskra as torch
    >>> torch.masked.sum(torch.tensor([1.0, 2.0, 4.0]), mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    return iskra.sum(
        _filled(input, mask, 0), _dims(input, dim), bool(keepdim), dtype=_wide(input, dtype)
    )


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The product of the elements that `mask` lets through.

    >>> import iskra as torch
    >>> torch.masked.prod(torch.tensor([3.0, 2.0, 4.0]), mask=torch.tensor([True, False, True]))
    tensor(12.)
    """
    result = _filled(input, mask, 1).to(_wide(input, dtype))
    for d in reversed(_dims(input, dim)):
        result = result.prod(d, bool(keepdim))
    return result


def cumsum(input, dim, *, dtype=None, mask=None):
    """Running sums along `dim`, in which elements masked out count as 0.

    >>> import iskra as torch
    >>> torch.masked.cumsum(torch.tensor([1.0, 2.0]), 0, mask=torch.tensor([True, False]))
    tensor([1., 1.])
    """
    return iskra.cumsum(_filled(input, mask, 0), _dim(input, dim), dtype=dtype or input.dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """Running products along `dim`, in which elements masked out count as 1.

    >>> import iskra as torch
    >>> torch.masked.cumprod(torch.tensor([3.0, 2.0]), 0, mask=torch.tensor([True, False]))
    tensor([3., 3.])
    """
    return iskra.cumprod(_filled(input, mask, 1), _dim(input, dim), dtype=dtype or input.dtype)


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The largest of the elements that `mask` lets through.

    >>> import iskra as torch
    >>> torch.masked.amax(torch.tensor([1, 9]), mask=torch.tensor([True, False]))
    tensor(1)
    """
    filled = input if mask is None else _filled(input, mask, _lowest(input, "amax"))
    return iskra.amax(filled, _dims(input, dim), bool(keepdim)).to(dtype or input.dtype)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The smallest of the elements that `mask` lets through.

    >>> import iskra as torch
    >>> torch.masked.amin(torch.tensor([1, 9]), mask=torch.tensor([False, True]))
    tensor(9)
    """
    filled = input if mask is None else _filled(input, mask, _highest(input, "amin"))
    return iskra.amin(filled, _dims(input, dim), bool(keepdim)).to(dtype or input.dtype)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the largest element is; in the dtype of the input unless `dtype` says otherwise.

    >>> import iskra as torch
    >>> torch.masked.argmax(torch.tensor([1, 9, 3]), mask=torch.tensor([True, False, True]))
    tensor(2)
    """
    filled = input if mask is None else _filled(input, mask, _lowest(input, "argmax"))
    return iskra.argmax(filled, dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the smallest element is; in the dtype of the input unless `dtype` says otherwise.

    >>> import iskra as torch
    >>> torch.masked.argmin(torch.tensor([1, 9, 3]), mask=torch.tensor([False, True, True]))
    tensor(2)
    """
    filled = input if mask is None else _filled(input, mask, _highest(input, "argmin"))
    return iskra.argmin(filled, dim, bool(keepdim)).to(dtype or input.dtype)


def _count(input, dim, keepdim, mask):
    """How many elements the mask lets through."""
    inside = iskra.ones_like(input, dtype=iskra.bool) if mask is None else _mask_of(input, mask)
    return iskra.sum(inside, _dims(input, dim), bool(keepdim))


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The mean of the elements that `mask` lets through; NaN where there are none.

    Raises ValueError for integers and bools (pass `dtype`).

    >>> import iskra as torch
    >>> torch.masked.mean(torch.tensor([1.0, 9.0, 2.0]), mask=torch.tensor([True, False, True]))
    tensor(1.5000)
    """
    kind = dtype or input.dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise ValueError(
            "masked.mean(): the dtype must be either a floating point or complex dtype. Got: "
            f"{kind}; convert with .float() or pass dtype="
        )
    return sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask) / _count(
        input, dim, keepdim, mask
    )


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """The (lower) median along `dim`; NaN where nothing is left.

    Raises ValueError where nothing is left of integers.

    >>> import iskra as torch
    >>> torch.masked.median(torch.tensor([5.0, 9.0, 2.0]), mask=torch.tensor([True, False, True]))
    tensor(2.)
    """
    values = input if input.is_floating_point() else input.float()
    output = iskra.nanmedian(_filled(values, mask, math.nan), _dim(input, dim), keepdim).values
    if input.is_floating_point():
        return output
    if iskra.isnan(output).any():
        raise ValueError(
            "masked.median expects no fully masked out rows if dtype is not floating point"
        )
    return output.to(dtype or input.dtype)


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The logarithm of the sum of the exponentials of what `mask` lets through.

    >>> import iskra as torch
    >>> torch.masked.logsumexp(torch.tensor([1.0, 9.0]), mask=torch.tensor([True, False]))
    tensor(1.)
    """
    filled = input if mask is None else _filled(input, mask, _lowest(input, "logsumexp"))
    return iskra.logsumexp(filled, _dims(input, dim), bool(keepdim)).to(dtype or input.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """``log(exp(input) + exp(other))``, where a masked-out operand counts as ``-inf``.

    >>> import iskra as torch
    >>> a, b = torch.tensor([1.0]), torch.tensor([9.0])
    >>> torch.masked.logaddexp(a, b, other_mask=torch.tensor([False]))
    tensor([1.])
    """
    if input_mask is not None:
        input = _filled(input, input_mask, _lowest(input, "logaddexp"))
    if other_mask is not None:
        other = _filled(other, other_mask, _lowest(other, "logaddexp"))
    return iskra.logaddexp(input, other).to(dtype or input.dtype)


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The vector norm of order `ord` of what `mask` lets through.

    >>> import iskra as torch
    >>> torch.masked.norm(torch.tensor([3.0, 9.0, 4.0]), mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    neutral = math.inf if ord == -math.inf else 0
    return iskra.linalg.vector_norm(
        _filled(input, mask, neutral), ord, _dims(input, dim), bool(keepdim),
        dtype=dtype or input.dtype,
    )


def _variance(input, dim, unbiased, correction, keepdim, dtype, mask):
    if unbiased is not None and correction is not None:
        raise ValueError("masked: only one of unbiased and correction may be given")
    if correction is None:
        correction = 0.0 if unbiased is False else 1.0
    if dtype is None:
        dtype = input.dtype if input.dtype.is_floating_point or input.dtype.is_complex else (
            iskra.float32
        )
    count = _count(input, dim, True, mask)
    center = sum(input, dim, keepdim=True, dtype=dtype, mask=mask) / count
    distance = input - center
    total = sum(distance * distance.conj(), dim, keepdim=keepdim, dtype=dtype, mask=mask)
    count = count.reshape(total.shape)
    if correction:
        count = iskra.clamp(count.to(total.real.dtype) - correction, min=0)
    return (total / count).to(dtype)


def var(
    input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None
):
    """The variance of what `mask` lets through, with `correction` (1) taken off the count.

    >>> import iskra as torch
    >>> torch.masked.var(torch.tensor([1.0, 9.0, 3.0]), mask=torch.tensor([True, False, True]))
    tensor(2.)
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(
    input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None
):
    """The standard deviation: the square root of `var`.

    >>> import iskra as torch
    >>> torch.masked.std(torch.tensor([1.0, 9.0, 3.0]), mask=torch.tensor([True, False, True]))
    tensor(1.4142)
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


def softmax(input, dim, *, dtype=None, mask=None):
    """`softmax` along `dim` over what `mask` lets through; 0 elsewhere, NaN if nothing is left.

    >>> import iskra as torch
    >>> mask = torch.tensor([True, False, True])
    >>> torch.masked.softmax(torch.tensor([1.0, 9.0, 1.0]), 0, mask=mask)
    tensor([0.5000, 0.0000, 0.5000])
    """
    filled = input if mask is None else _filled(input, mask, _lowest(input, "softmax"))
    return iskra.softmax(filled, _dim(input, dim), dtype=dtype or input.dtype)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """The logarithm of `softmax`.

    >>> import iskra as torch
    >>> torch.masked.log_softmax(torch.tensor([1.0, 9.0]), 0, mask=torch.tensor([True, False]))
    tensor([0., -inf])
    """
    filled = input if mask is None else _filled(input, mask, _lowest(input, "log_softmax"))
    return iskra.log_softmax(filled, _dim(input, dim), dtype=dtype or input.dtype)


def softmin(input, dim, *, dtype=None, mask=None):
    """`softmax` of ``-input``.

    >>> import iskra as torch
    >>> torch.masked.softmin(torch.tensor([1.0, 9.0]), 0, mask=torch.tensor([False, True]))
    tensor([0., 1.])
    """
    filled = input if mask is None else _filled(input, mask, _highest(input, "softmin"))
    return iskra.nn.functional.softmin(
        filled, _dim(input, dim), dtype=dtype or input.dtype
    )


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """The input divided by its `norm` along `dim` (at least `eps`); 0 where masked out.

    >>> import iskra as torch
    >>> mask = torch.tensor([True, False, True])
    >>> torch.masked.normalize(torch.tensor([3.0, 9.0, 4.0]), 2.0, 0, mask=mask)
    tensor([0.6000, 0.0000, 0.8000])
    """
    size = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask)
    return _filled(input, mask, 0) / iskra.clamp(size, min=eps)
