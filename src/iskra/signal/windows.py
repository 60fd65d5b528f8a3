"""``iskra.signal.windows``: windows by which stretches of a signal are faded in and out.

With ``sym=True`` a window is symmetric, to design filters; otherwise it is one period of a
periodic function, for spectral analysis. Lengths below 0 and dtypes other than float32 and
float64 raise ValueError.
Source: https://docs.pytorch.org/docs/stable/signal.html
"""

import math
from collections.abc import Iterable

import numpy as np

from iskra.core import dtypes, strided
from iskra.tensor.factory import finish

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine",
    "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]


def _window(name, M, make, sym, dtype, layout, device, requires_grad):
    """The window ``make(places, span)``; `span` is the place where a symmetric window ends."""
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not strided and layout is not None:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if kind not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {kind}")
    if M < 2:
        values = np.ones(M)
    else:
        values = make(np.arange(M, dtype=np.float64), M - 1 if sym else M)
    return finish(values.astype(kind.numpy), kind, device, requires_grad)


def _positive(what, value):
    if value <= 0:
        raise ValueError(f"{what} must be positive, got: {value} instead.")


def exponential(
    M, *, center=None, tau=1.0, sym=True, dtype=None, layout=strided, device=None,
    requires_grad=False,
):
    """Return a window that falls as ``exp(-|n - center| / tau)`` from its `center`.

    >>> import iskra as torch
    >>> torch.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    _positive("Tau", tau)
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def make(places, span):
        middle = span / 2 if center is None else center
        return np.exp(-np.abs(places - middle) / tau)

    return _window("exponential", M, make, sym, dtype, layout, device, requires_grad)


def cosine(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return the first half wave of a sine, ``sin(pi (n + 0.5) / M)``.

    >>> import iskra as torch
    >>> torch.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """

    def make(places, span):
        return np.sin(math.pi * (places + 0.5) / (span + 1))

    return _window("cosine", M, make, sym, dtype, layout, device, requires_grad)


def gaussian(
    M, *, std=1.0, sym=True, dtype=None, layout=strided, device=None, requires_grad=False
):
    """Return a Gaussian bell of standard deviation `std`.

    >>> import iskra as torch
    >>> torch.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    _positive("Standard deviation", std)

    def make(places, span):
        return np.exp(-0.5 * ((places - span / 2) / std) ** 2)

    return _window("gaussian", M, make, sym, dtype, layout, device, requires_grad)


def kaiser(
    M, *, beta=12.0, sym=True, dtype=None, layout=strided, device=None, requires_grad=False
):
    """Return a Kaiser window of shape `beta`.

    >>> import iskra as torch
    >>> torch.signal.windows.kaiser(3, beta=2.0)
    tensor([0.4387, 1.0000, 0.4387])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def make(places, span):
        return np.i0(beta * np.sqrt(1 - (2 * places / span - 1) ** 2)) / np.i0(beta)

    return _window("kaiser", M, make, sym, dtype, layout, device, requires_grad)


def general_cosine(
    M, *, a, sym=True, dtype=None, layout=strided, device=None, requires_grad=False
):
    """Return a sum of cosines with weights `a` and alternating signs.

    >>> import iskra as torch
    >>> torch.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    if not isinstance(a, Iterable):
        raise TypeError(f"Coefficients must be a list/tuple, got {type(a).__name__}")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")

    def make(places, span):
        angle = 2 * math.pi * places / span
        signs = np.cumprod([1] + [-1] * (len(weights) - 1))
        return sum(w * s * np.cos(k * angle) for k, (w, s) in enumerate(zip(weights, signs,
                                                                           strict=True)))

    return _window("general_cosine", M, make, sym, dtype, layout, device, requires_grad)


def general_hamming(
    M, *, alpha=0.54, sym=True, dtype=None, layout=strided, device=None, requires_grad=False
):
    """Return ``alpha - (1 - alpha) * cos(2 pi n / (M - 1))``.

    >>> import iskra as torch
    >>> torch.signal.windows.general_hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return general_cosine(
        M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )


def hamming(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return a Hamming window.

    >>> import iskra as torch
    >>> torch.signal.windows.hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return general_hamming(
        M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def hann(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return a Hann window.

    >>> import iskra as torch
    >>> torch.signal.windows.hann(3)
    tensor([0., 1., 0.])
    """
    return general_hamming(
        M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )


def blackman(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return a Blackman window.

    >>> import iskra as torch
    >>> torch.signal.windows.blackman(3).round(decimals=3).abs()
    tensor([0., 1., 0.])
    """
    return general_cosine(
        M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )


def bartlett(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return a Bartlett window: a triangle from 0 up to 1 and back.

    >>> import iskra as torch
    >>> torch.signal.windows.bartlett(3)
    tensor([0., 1., 0.])
    """

    def make(places, span):
        return 1 - np.abs(2 * places / span - 1)

    return _window("bartlett", M, make, sym, dtype, layout, device, requires_grad)


def nuttall(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False):
    """Return Nuttall's minimum four-term Blackman-Harris window.

    >>> import iskra as torch
    >>> torch.signal.windows.nuttall(3)
    tensor([3.6280e-04, 1.0000e+00, 3.6280e-04])
    """
    return general_cosine(
        M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout,
        device=device, requires_grad=requires_grad,
    )
