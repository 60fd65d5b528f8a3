"""Discrete Fourier transforms.

Three operators do the work: complex to complex, real to half of complex, and half of complex to
real. float32 stays in complex64.
Source of every operator here: https://docs.pytorch.org/docs/stable/fft.html
"""

import math

import numpy as np

from iskra import runtime
from iskra.core import get_default_dtype
from iskra.core.dtypes import FLOATING
from iskra.core.size import wrap_dim
from iskra.dispatch import composite, operator
from iskra.dispatch.creation import creation
from iskra.ops.axes import conj, real
from iskra.ops.rearranging import roll
from iskra.ops.slicing import put_place, slice_view
from iskra.tensor import wrap

_FFT = dict(namespace="fft", out=True)
_INNER = dict(function=False, method=False, out=False)


def _samples_of_one(make):
    return [((make((2, 5)),), {}), ((make((4, 3)),), {"n": 6, "dim": 0})]


def _samples_of_many(make):
    return [((make((3, 4)),), {}), ((make((3, 4)), (4, 3)), {})]


# -- the three transforms, scaled by a factor -----------------------------------------------------


def _transform(name, *args, **settings):
    """A transform of ``scipy.fft``'s, which is imported when it is first called, on all threads."""
    import scipy.fft

    return getattr(scipy.fft, name)(*args, **settings, workers=runtime.threads.get_num_threads())


def _scaled(array, scale):
    return array if scale == 1 else np.multiply(array, array.real.dtype.type(scale))


@operator(
    node=lambda input: "FftC2CBackward0" if input.is_complex() else "FftR2CBackward0",
    grad=lambda g, dims, scale, forward: transform(g, dims, scale, not forward), **_INNER,
)
def transform(input, dims, scale, forward):
    """`scale` times the sums along `dims`, with the exponent's sign by direction."""
    if not dims:
        return input.astype(np.result_type(input, np.complex64))
    if forward:
        found = _transform("fftn", input, axes=dims)
    else:
        found = _transform("ifftn", input, axes=dims, norm="forward")
    if not np.iscomplexobj(input):
        _positive_zeros(found, dims[-1])
    return _scaled(found, scale)


def _positive_zeros(found, dim):
    """SciPy mirrors half of a real signal's frequencies, also those that mirror themselves: their
    imaginary part becomes -0.
    """
    size = found.shape[dim]
    for middle in {0, size // 2} if size % 2 == 0 else {0}:
        found.imag[(*(slice(None),) * dim, middle)] += 0.0


def _half_gradient(g, input_shape, dims, scale):
    """The frequencies left out had no part: zeros stand for them."""
    last = dims[-1]
    shape = list(g.shape)
    shape[last] = input_shape[last]
    place = (*(slice(None),) * last, slice(0, g.size(last)), ...)
    return real(transform(put_place(g, tuple(shape), place), dims, scale, False))


@operator(node="FftR2CBackward0", grad=_half_gradient, **_INNER)
def transform_half(input, dims, scale):
    """The forward transform of real values, without the frequencies that mirror others."""
    return _scaled(_transform("rfftn", input, axes=dims), scale)


def _real_gradient(g, dims, scale, size):
    """Each frequency but the first (and the middle) stands for itself and its mirror image."""
    found = transform_half(g, dims, scale)
    last = dims[-1]
    count = found.size(last)
    weights = np.full(count, 2.0, g._array.dtype)
    weights[0] = 1
    if size % 2 == 0:
        weights[-1] = 1
    shape = [count if d == last else 1 for d in range(found.dim())]
    return found * wrap(weights.reshape(shape))


@operator(node="FftC2RBackward0", grad=_real_gradient, **_INNER)
def transform_real(input, dims, scale, size):
    """The inverse transform of half of the frequencies to real values, `size` in the last dim."""
    sizes = [input.shape[d] for d in dims[:-1]] + [size]
    return _scaled(_transform("irfftn", input, sizes, dims, norm="forward"), scale)


# -- arguments ------------------------------------------------------------------------------------


def _prepared(name, input, kind):
    """The operand as floats, or complex numbers; `kind` is "any", "real" or "complex"."""
    dtype = input._dtype
    if dtype.is_narrow:
        raise RuntimeError(f"Unsupported dtype {dtype.scalar_name}")
    if dtype.category < FLOATING:
        dtype = get_default_dtype()
    if kind == "real" and dtype.is_complex:
        what = "real-valued" if name.endswith(("n", "2")) else "real"
        raise RuntimeError(
            f"{name} expects a {what} input tensor, but got {dtype.scalar_name}"
        )
    if kind == "complex":
        dtype = dtype.to_complex()
    return input.to(dtype)


def _factor(norm, count, forward):
    """What the normalisation `norm` multiplies the sums by."""
    if norm is None or norm == "backward":
        power = 0 if forward else -1
    elif norm == "forward":
        power = -1 if forward else 0
    elif norm == "ortho":
        power = -0.5
    else:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return float(count) ** power


def _check_points(count):
    if count < 1:
        raise RuntimeError(f"Invalid number of data points ({count}) specified")


def _resized(input, dim, size):
    """`input` cut off or filled up with zeros along `dim`."""
    held = input.size(dim)
    if held > size:
        return slice_view(input, dim, 0, size)
    if held < size:
        shape = list(input.shape)
        shape[dim] = size
        return put_place(input, tuple(shape), (*(slice(None),) * dim, slice(0, held), ...))
    return input


def _one_dim(input, n, dim):
    """The dimension, and `n` or its size."""
    if not input.dim():
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    dim = wrap_dim(dim, input.dim())
    if n is not None:
        _check_points(n)
    size = input.size(dim) if n is None else n
    return dim, size


def _many_dims(input, s, dim):
    """The dimensions and their sizes; s or dim may be None, a size -1."""
    rank = input.dim()
    s = (s,) if isinstance(s, int) else s
    if dim is not None:
        given = dim if isinstance(dim, (tuple, list)) else (dim,)
        dims = tuple(wrap_dim(d, rank) for d in given)
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif s is not None:
        if len(s) > rank:
            raise RuntimeError(
                f"Got shape with {len(s)} values but input tensor only has {rank} dimensions."
            )
        dims = tuple(range(rank - len(s), rank))
    else:
        dims = tuple(range(rank))
    if s is None:
        return dims, [input.size(d) for d in dims]
    return dims, [input.size(d) if n == -1 else n for d, n in zip(dims, s, strict=True)]


def _complex_many(name, input, s, dim, norm, forward):
    input = _prepared(name, input, "any")
    dims, sizes = _many_dims(input, s, dim)
    for d, size in zip(dims, sizes, strict=True):
        _check_points(size)
        input = _resized(input, d, size)
    return transform(input, dims, _factor(norm, math.prod(sizes), forward), forward)


def _half_many(name, input, s, dim, norm, forward):
    """rfftn; with `forward` False what ihfftn is the conjugate of."""
    input = _prepared(name, input, "real")
    dims, sizes = _many_dims(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    for d, size in zip(dims, sizes, strict=True):
        _check_points(size)
        input = _resized(input, d, size)
    return transform_half(input, dims, _factor(norm, math.prod(sizes), forward))


def _real_many(name, input, s, dim, norm, forward):
    """irfftn; with `forward` True what hfftn does to the conjugate."""
    input = _prepared(name, input, "complex")
    dims, sizes = _many_dims(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    last = dims[-1]
    if s is None or s[-1] == -1:
        sizes[-1] = 2 * (input.size(last) - 1)
    for size in sizes:
        _check_points(size)
    for d, size in zip(dims[:-1], sizes[:-1], strict=True):
        input = _resized(input, d, size)
    input = _resized(input, last, sizes[-1] // 2 + 1)
    input = conj(input) if forward else input
    scale = _factor(norm, math.prod(sizes), forward)
    return transform_real(input, dims, scale, sizes[-1])


# -- one dimension --------------------------------------------------------------------------------


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_fft(input, n=None, dim=-1, norm=None):
    """Return the Fourier transform along `dim`, of `n` points.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft.html

    >>> import iskra as torch
    >>> torch.fft.fft(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j, -2.-2.j])
    """
    dim, size = _one_dim(input, n, dim)
    return _complex_many("fft", input, (size,), (dim,), norm, True)


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_ifft(input, n=None, dim=-1, norm=None):
    """Return the inverse of `fft`.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft.html

    >>> import iskra as torch
    >>> torch.fft.ifft(torch.tensor([2.0, 0.0]))
    tensor([1.+0.j, 1.+0.j])
    """
    dim, size = _one_dim(input, n, dim)
    return _complex_many("ifft", input, (size,), (dim,), norm, False)


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_rfft(input, n=None, dim=-1, norm=None):
    """Return the Fourier transform of real values: its first ``n // 2 + 1`` points.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft.html

    >>> import iskra as torch
    >>> torch.fft.rfft(torch.tensor([1.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j])
    """
    dim, size = _one_dim(input, n, dim)
    return _half_many("rfft", input, (size,), (dim,), norm, True)


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_irfft(input, n=None, dim=-1, norm=None):
    """Return the inverse of `rfft`: `n` real values, by default twice the points less two.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft.html

    >>> import iskra as torch
    >>> torch.fft.irfft(torch.tensor([2.0, 0.0]))
    tensor([1., 1.])
    """
    dim, size = _one_dim(input, n, dim)
    return _real_many("irfft", input, (-1 if n is None else size,), (dim,), norm, False)


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_hfft(input, n=None, dim=-1, norm=None):
    """Return the real Fourier transform of values of which half, of a Hermitian whole, are given.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft.html

    >>> import iskra as torch
    >>> torch.fft.hfft(torch.tensor([1.0, 0.0]))
    tensor([1., 1.])
    """
    dim, size = _one_dim(input, n, dim)
    return _real_many("hfft", input, (-1 if n is None else size,), (dim,), norm, True)


@composite(autocast="float32", samples=_samples_of_one, **_FFT)
def fft_ihfft(input, n=None, dim=-1, norm=None):
    """Return the inverse of `hfft`: half of a Hermitian whole.

    `norm` is ``"backward"`` (the default: only inverses divide by n), ``"ortho"`` or ``"forward"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft.html

    >>> import iskra as torch
    >>> torch.fft.ihfft(torch.tensor([2.0, 0.0]))
    tensor([1.-0.j, 1.-0.j])
    """
    dim, size = _one_dim(input, n, dim)
    return conj(_half_many("ihfft", input, (size,), (dim,), norm, False))


# -- two and more dimensions ----------------------------------------------------------------------


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_fft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the Fourier transform along two dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fft2.html

    >>> import iskra as torch
    >>> torch.fft.fft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _complex_many("fft2", input, s, dim, norm, True)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_ifft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the inverse Fourier transform along two dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifft2.html

    >>> import iskra as torch
    >>> torch.fft.ifft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _complex_many("ifft2", input, s, dim, norm, False)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_rfft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the Fourier transform of real values along two dimensions, half of it in the last.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfft2.html

    >>> import iskra as torch
    >>> torch.fft.rfft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _half_many("rfft2", input, s, dim, norm, True)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_irfft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the inverse of `rfft2` along two dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfft2.html

    >>> import iskra as torch
    >>> torch.fft.irfft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _real_many("irfft2", input, s, dim, norm, False)


@composite(samples=_samples_of_many, **_FFT)
def fft_hfft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the real Fourier transform of half of a Hermitian whole along two dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfft2.html

    >>> import iskra as torch
    >>> torch.fft.hfft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _real_many("hfft2", input, s, dim, norm, True)


@composite(samples=_samples_of_many, **_FFT)
def fft_ihfft2(input, s=None, dim=(-2, -1), norm=None):
    """Return the inverse of `hfft2` along two dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfft2.html

    >>> import iskra as torch
    >>> torch.fft.ihfft2(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return conj(_half_many("ihfft2", input, s, dim, norm, False))


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_fftn(input, s=None, dim=None, norm=None):
    """Return the Fourier transform along `dim`, by default all dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftn.html

    >>> import iskra as torch
    >>> torch.fft.fftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _complex_many("fftn", input, s, dim, norm, True)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_ifftn(input, s=None, dim=None, norm=None):
    """Return the inverse Fourier transform along `dim`, by default all dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ifftn.html

    >>> import iskra as torch
    >>> torch.fft.ifftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _complex_many("ifftn", input, s, dim, norm, False)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_rfftn(input, s=None, dim=None, norm=None):
    """Return the Fourier transform of real values along `dim`, half of it in the last dimension.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftn.html

    >>> import iskra as torch
    >>> torch.fft.rfftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _half_many("rfftn", input, s, dim, norm, True)


@composite(autocast="float32", samples=_samples_of_many, **_FFT)
def fft_irfftn(input, s=None, dim=None, norm=None):
    """Return the inverse of `rfftn` along `dim`, by default all dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.irfftn.html

    >>> import iskra as torch
    >>> torch.fft.irfftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _real_many("irfftn", input, s, dim, norm, False)


@composite(samples=_samples_of_many, **_FFT)
def fft_hfftn(input, s=None, dim=None, norm=None):
    """Return the real Fourier transform of half of a Hermitian whole along `dim` (default: all).

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.hfftn.html

    >>> import iskra as torch
    >>> torch.fft.hfftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return _real_many("hfftn", input, s, dim, norm, True)


@composite(samples=_samples_of_many, **_FFT)
def fft_ihfftn(input, s=None, dim=None, norm=None):
    """Return the inverse of `hfftn` along `dim`, by default all dimensions.

    `s` gives the sizes (cut off or filled up with zeros); `norm` as in `fft`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.ihfftn.html

    >>> import iskra as torch
    >>> torch.fft.ihfftn(torch.ones(2, 2)).shape
    iskra.Size([2, 2])
    """
    return conj(_half_many("ihfftn", input, s, dim, norm, False))


# -- frequencies ----------------------------------------------------------------------------------


def _frequencies(name, n, d, places, dtype, device, requires_grad):
    kind = get_default_dtype() if dtype is None else dtype
    if kind.category != FLOATING:
        raise NotImplementedError(
            f'"{name}" not implemented for \'{kind.scalar_name}\': give a floating-point dtype'
        )
    values = (np.asarray(places, np.float64) / (n * d)).astype(kind.numpy)
    result = wrap(values, kind)
    result = result if device is None else result.to(device)
    return result.requires_grad_() if requires_grad else result


@creation(namespace="fft")
def fft_fftfreq(
    n, d=1.0, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return the frequencies of the `n` points that `fft` gives, for samples `d` apart.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftfreq.html

    >>> import iskra as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    places = [*range((n + 1) // 2), *range(-(n // 2), 0)]
    return _frequencies("fftfreq", n, d, places, dtype, device, requires_grad)


@creation(namespace="fft")
def fft_rfftfreq(
    n, d=1.0, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return the frequencies of the points that `rfft` gives, for `n` samples `d` apart.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.rfftfreq.html

    >>> import iskra as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    return _frequencies("rfftfreq", n, d, range(n // 2 + 1), dtype, device, requires_grad)


def _shifted(input, dim, sign):
    if dim is None:
        dims = tuple(range(input.dim()))
    else:
        dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if not dims:
        return input.clone()
    sizes = [input.size(d) for d in dims]
    return roll(input, [n // 2 if sign > 0 else (n + 1) // 2 for n in sizes], dims)


@composite(namespace="fft", samples=lambda make: [((make((3, 4)),), {})])
def fft_fftshift(input, dim=None):
    """Return the points in the order of their frequencies, with zero in the middle.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fft.fftshift.html

    >>> import iskra as torch
    >>> torch.fft.fftshift(torch.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _shifted(input, dim, 1)


@composite(namespace="fft", samples=lambda make: [((make((3, 4)),), {})])
def fft_ifftshift(input, dim=None):
    """Undo `fftshift`.

    >>> import iskra as torch
    >>> torch.fft.ifftshift(torch.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _shifted(input, dim, -1)
