"""Short-time Fourier transforms.

Source of every operator here: https://docs.pytorch.org/docs/stable/generated/torch.stft.html
"""

import warnings

import numpy as np

from iskra.core.dtypes import FLOATING
from iskra.core.size import format_shape
from iskra.dispatch import composite
from iskra.ops import fft
from iskra.ops.axes import view_as_real
from iskra.ops.slicing import put_place, unfold_backward
from iskra.tensor import wrap


def _window(name, window, n_fft, win_length, like):
    """The window, `n_fft` long with zeros on both sides; None where it is all ones."""
    if window is not None and tuple(window.shape) != (win_length,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but "
            f"got window with size {format_shape(window.shape)}"
        )
    if win_length == n_fft:
        return window
    window = like.new_ones(win_length) if window is None else window
    left = (n_fft - win_length) // 2
    return put_place(window, (n_fft,), (slice(left, left + win_length),))


def _check_lengths(name, n_fft, hop_length, win_length):
    if hop_length <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(
            f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}, "
            f"n_fft={n_fft}"
        )


def _padded(input, pad, mode):
    """`input` with `pad` more samples on either side, after `pad_mode`."""
    size = input.size(-1)
    places = np.arange(-pad, size + pad)
    if mode == "constant":
        return put_place(input, (input.size(0), size + 2 * pad), (..., slice(pad, pad + size)))
    if mode == "reflect":
        if pad >= size:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({pad}, {pad}) for input {format_shape(input.shape)}"
            )
        places = np.abs(places)
        places = np.where(places >= size, 2 * (size - 1) - places, places)
    elif mode == "replicate":
        places = np.clip(places, 0, size - 1)
    elif mode == "circular":
        places = places % size
    else:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    return input.index_select(-1, wrap(places))


@composite(autocast="float32")
def stft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect",
    normalized=False, onesided=None, return_complex=None, align_to_window=None,
):
    """Return Fourier transforms of overlapping windows of a signal: ``(*, frequencies, frames)``.

    `input` is ``(samples,)`` or ``(batch, samples)``. Windows start every `hop_length` samples
    (default ``n_fft // 4``). With `center` the signal is padded so that frame t is centred at
    ``t * hop_length``. Real input gives only the first ``n_fft // 2 + 1`` frequencies unless
    `onesided` is False. `return_complex` must be given for real input; False gives pairs of reals.

    >>> import iskra as torch
    >>> torch.stft(torch.ones(8), n_fft=4, window=torch.ones(4), return_complex=True).shape
    iskra.Size([3, 9])
    """
    if align_to_window is not None and center:
        raise RuntimeError(
            "stft: align_to_window should only be set when center = False."
        )
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    complex_input = input.is_complex() or window is not None and window.is_complex()
    if return_complex is None:
        if not complex_input:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will "
                "further require that return_complex=True in a future PyTorch release."
            )
        return_complex = True
    frames = _frames(input, n_fft, hop_length, win_length, center, pad_mode, bool(align_to_window))
    window = _window("stft", window, n_fft, win_length, input)
    frames = frames if window is None else frames * window
    onesided = not complex_input if onesided is None else onesided
    if onesided and complex_input:
        raise RuntimeError(
            "stft: Cannot have onesided output if window or input is complex"
        )
    norm = "ortho" if normalized else None
    found = fft.fft_rfft(frames, norm=norm) if onesided else fft.fft_fft(frames, norm=norm)
    found = found.transpose(1, 2)
    found = found.squeeze(0) if input.dim() == 1 else found
    return found if return_complex else view_as_real(found)


def _frames(input, n_fft, hop_length, win_length, center, pad_mode, aligned):
    """All windows of the signal: ``(batch, frames, n_fft)``."""
    if input.dim() not in (1, 2) or input._dtype.category < FLOATING:
        raise RuntimeError(
            "stft: expected a 1D or 2D tensor of floating point or complex values, got "
            f"{format_shape(input.shape)} of {input.dtype}"
        )
    signal = input.unsqueeze(0) if input.dim() == 1 else input
    if center:
        signal = _padded(signal, n_fft // 2, pad_mode)
    elif aligned:  # the first window, not its zeros, starts at the first sample
        left = (n_fft - win_length) // 2
        size = signal.size(-1)
        signal = put_place(
            signal, (signal.size(0), size + n_fft - win_length), (..., slice(left, left + size))
        )
    size = signal.size(-1)
    if not 0 < n_fft <= size:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {size}, but got n_fft={n_fft}")
    _check_lengths("stft", n_fft, hop_length, win_length)
    return signal.unfold(-1, n_fft, hop_length)


def _check_spectrum(input, n_fft, onesided):
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    if not input.numel():
        raise RuntimeError("istft: input tensor cannot be empty.")
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"istft: expected a tensor with 2 or 3 dimensions, got {input.dim()}"
        )
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if input.size(-2) != wanted:
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to "
            f"match n_fft {'/ 2 + 1 ' if onesided else ''}when onesided={onesided}, but got "
            f"{input.size(-2)}, not {wanted}"
        )


def _overlapped(frames, hop_length):
    """Frames added up where they overlap: ``(batch, samples)``."""
    count, n_fft = frames.shape[-2:]
    size = n_fft + hop_length * (count - 1)
    return unfold_backward(frames, (frames.size(0), size), 1, n_fft, hop_length)


@composite()
def istft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False,
    onesided=None, length=None, return_complex=False,
):
    """Return the signal of which `stft` gave the spectra: overlapping frames, weighted and added.

    The windows must not leave a sample uncovered. `length` cuts the signal off.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.istft.html

    >>> import iskra as torch
    >>> window = torch.ones(4)
    >>> spectrum = torch.stft(torch.ones(8), 4, window=window, return_complex=True)
    >>> torch.istft(spectrum, 4, window=window)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    onesided = input.size(-2) != n_fft if onesided is None else onesided
    _check_spectrum(input, n_fft, onesided)
    _check_lengths("istft", n_fft, hop_length, win_length)
    if return_complex and onesided:
        raise RuntimeError("istft: cannot have onesided output if window or input is complex")
    spectra = (input.unsqueeze(0) if input.dim() == 2 else input).transpose(1, 2)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = fft.fft_ifft(spectra, norm=norm)
    else:
        frames = fft.fft_irfft(spectra[..., : n_fft // 2 + 1], n_fft, norm=norm)
    window = _window("istft", window, n_fft, win_length, frames)
    window = frames.new_ones(n_fft) if window is None else window
    signal = _overlapped(frames * window, hop_length)
    squares = (window * window).expand(1, frames.size(1), n_fft)
    start = n_fft // 2 if center else 0
    end = signal.size(-1) - start if length is None else min(start + length, signal.size(-1))
    weights = _overlapped(squares, hop_length)[:, start:end]
    if not bool((weights.abs() > 1e-11).all()):
        raise RuntimeError(
            "istft: window overlap add min: some samples are covered by no window; give a window "
            "and a hop_length that overlap"
        )
    signal = signal[:, start:end] / weights
    if length is not None and signal.size(-1) < length:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded "
            "with zeros in the tail. Please check your center and hop_length settings.",
            stacklevel=4,
        )
        held = signal.size(-1)
        signal = put_place(signal, (signal.size(0), length), (..., slice(0, held)))
    return signal.squeeze(0) if input.dim() == 2 else signal
