"""Fourier transforms: agreement with NumPy, sizes, norms, dtypes, gradients, errors."""

import numpy as np
import pytest

import iskra
from iskra.autograd import gradcheck, gradgradcheck

FFT = iskra.fft
NORMS = [None, "backward", "ortho", "forward"]


def random(*shape, complex=False):
    values = np.random.default_rng(1)
    array = values.uniform(-1, 1, shape)
    return array + 1j * values.uniform(-1, 1, shape) if complex else array


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 3, 8])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_dimension_agrees_with_numpy(name, n, norm):
    takes_complex = name in ("fft", "ifft", "irfft", "hfft")
    for dim in (0, -1):
        x = random(5, 6, complex=takes_complex)
        found = getattr(FFT, name)(iskra.tensor(x), n, dim, norm)
        expected = getattr(np.fft, name)(x, n, dim, norm)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_many_dimensions_agree_with_numpy(name, norm):
    x = random(3, 4, 5, complex=name != "rfft")
    for kind, s, dim in (("2", None, (-2, -1)), ("2", (2, 6), (0, 1)), ("n", None, None),
                         ("n", (4, 3), None), ("n", (-1, 2), (2, 0))):
        given = dict(s=s, norm=norm) if dim is None else dict(s=s, dim=dim, norm=norm)
        found = getattr(FFT, name + kind)(iskra.tensor(x), **given)
        axes = dim if dim is not None else None if s is None else tuple(range(-len(s), 0))
        sizes = s
        if s is not None and -1 in s:
            sizes = [x.shape[d] if n == -1 else n for n, d in zip(s, axes, strict=True)]
        expected = getattr(np.fft, name + "n")(x, sizes, axes, norm)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_hermitian_transforms_undo_each_other(norm):
    x = iskra.tensor(random(4, 6))
    for there, back in ((FFT.ihfft, FFT.hfft), (FFT.ihfft2, FFT.hfft2), (FFT.ihfftn, FFT.hfftn)):
        np.testing.assert_allclose(back(there(x, norm=norm), norm=norm).numpy(), x.numpy(),
                                   atol=1e-12)


def test_dtypes():
    assert FFT.fft(iskra.ones(4)).dtype is iskra.complex64
    assert FFT.fft(iskra.ones(4).double()).dtype is iskra.complex128
    assert FFT.rfft(iskra.arange(4)).dtype is iskra.complex64
    assert FFT.fft(iskra.ones(4) > 0).dtype is iskra.complex64
    assert FFT.irfft(iskra.ones(4)).dtype is iskra.float32
    assert FFT.fftn(iskra.ones(2, 2), dim=()).dtype is iskra.complex64
    assert FFT.fftfreq(5, 2.0).tolist() == pytest.approx([0, 0.1, 0.2, -0.2, -0.1])
    assert FFT.rfftfreq(5, dtype=iskra.float64).tolist() == [0.0, 0.2, 0.4]
    for n in (4, 5):
        freq = FFT.fftfreq(n)
        shifted = FFT.fftshift(freq)
        assert (shifted[1:] > shifted[:-1]).all()
        assert FFT.ifftshift(FFT.fftshift(freq)).equal(freq)
    assert FFT.fftshift(iskra.arange(6).view(2, 3), dim=1).tolist() == [[2, 0, 1], [5, 3, 4]]


@pytest.mark.parametrize("name", [
    "fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "rfft2", "irfft2", "rfftn", "irfftn",
    "hfftn", "ihfftn", "ifftn",
])
def test_gradients(name):
    call = getattr(FFT, name)
    for shape in ((3, 4), (2, 5)):
        for values in (random(*shape), random(*shape, complex=True)):
            if values.dtype.kind == "c" and name in ("rfft", "ihfft", "rfft2", "rfftn", "ihfftn"):
                continue
            x = iskra.tensor(values, requires_grad=True)
            assert gradcheck(call, (x,), atol=1e-4)
            assert gradgradcheck(call, (x,), atol=1e-3)


def test_node_names():
    x = iskra.ones(4, requires_grad=True)
    z = iskra.ones(4, dtype=iskra.complex64, requires_grad=True)
    assert FFT.fft(x).grad_fn.name() == FFT.rfft(x).grad_fn.name() == "FftR2CBackward0"
    assert FFT.fft(z).grad_fn.name() == "FftC2CBackward0"
    assert FFT.irfft(z).grad_fn.name() == FFT.hfft(z).grad_fn.name() == "FftC2RBackward0"


@pytest.mark.parametrize("call, error, text", [
    (lambda x: FFT.fft(x, 0), RuntimeError, "Invalid number of data points (0) specified"),
    (lambda x: FFT.fft(x, norm="both"), RuntimeError, 'Invalid normalization mode: "both"'),
    (lambda x: FFT.fft(x, dim=3), IndexError, "but got 3"),
    (lambda x: FFT.fft(x.half()), RuntimeError, "Unsupported dtype Half"),
    (lambda x: FFT.rfft(x + 0j), RuntimeError, "rfft expects a real input tensor"),
    (lambda x: FFT.rfftn(x + 0j), RuntimeError, "rfftn expects a real-valued input tensor"),
    (lambda x: FFT.fftn(x, s=(2, 2), dim=(0,)), RuntimeError, "must have the same length"),
    (lambda x: FFT.fftn(x, s=(2, 2, 2)), RuntimeError, "only has 2 dimensions"),
    (lambda x: FFT.fftn(x, dim=(0, 0)), RuntimeError, "FFT dims must be unique"),
    (lambda x: FFT.rfftn(x, dim=()), RuntimeError, "must transform at least one axis"),
    (lambda x: FFT.irfft(x[:, :1]), RuntimeError, "Invalid number of data points (0)"),
    (lambda x: FFT.fft(x[0, 0]), IndexError, "tensor has no dimensions"),
    (lambda x: FFT.fftfreq(4, dtype=iskra.int64), NotImplementedError, "Long"),
    (lambda x: iskra.stft(x[0], 2, 1), RuntimeError, "return_complex parameter be given"),
    (lambda x: iskra.stft(x, 9, 1, return_complex=True), RuntimeError, "Padding size"),
    (lambda x: iskra.stft(x, 2, 0, return_complex=True), RuntimeError, "hop_length > 0"),
    (lambda x: iskra.stft(x, 4, 1, 9, center=False, return_complex=True), RuntimeError,
     "win_length <= n_fft"),
    (lambda x: iskra.stft(x, 4, 1, window=iskra.ones(3), return_complex=True), RuntimeError,
     "win_length=4"),
    (lambda x: iskra.istft(x, 4), RuntimeError, "requires a complex-valued input"),
])
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call(iskra.ones(3, 4))
    assert text in str(caught.value)


@pytest.mark.parametrize("n_fft, hop, win, center, onesided, normalized", [
    (8, 2, None, True, True, False), (8, 3, 6, True, False, True), (9, 2, None, True, True, True),
    (8, 2, 8, False, True, False),
])
def test_a_signal_comes_back_from_its_spectrogram(n_fft, hop, win, center, onesided, normalized):
    x = iskra.tensor(random(2, 40))
    window = iskra.hamming_window(win or n_fft).double()
    given = dict(hop_length=hop, win_length=win, window=window, center=center, onesided=onesided,
                 normalized=normalized)
    spectra = iskra.stft(x, n_fft, return_complex=True, **given)
    frames = 1 + (40 + 2 * (n_fft // 2) * center - n_fft) // hop
    assert spectra.shape == (2, n_fft // 2 + 1 if onesided else n_fft, frames)
    back = iskra.istft(spectra, n_fft, length=32, **given)
    np.testing.assert_allclose(back.numpy(), x[:, :32].numpy(), atol=1e-10)
    pairs = iskra.stft(x, n_fft, return_complex=False, **given)
    np.testing.assert_allclose(iskra.view_as_complex(pairs).numpy(), spectra.numpy())
    assert gradcheck(
        lambda s: iskra.stft(s, n_fft, return_complex=True, **given),
        (x[:1, :20].clone().requires_grad_(),), atol=1e-4,
    )


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate", "circular"])
def test_padding_of_a_centred_spectrogram(mode):
    x = random(10)
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    padded = np.pad(x, 2, name)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 4)[::2]
    found = iskra.stft(iskra.tensor(x), 4, 2, pad_mode=mode, return_complex=True)
    np.testing.assert_allclose(found.numpy(), np.fft.rfft(frames).T, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 100), (5, 3, 37), (33, 17), (129,), (0, 4)])
@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64])
def test_same_bits_on_any_number_of_threads(shape, dtype):
    x = iskra.tensor(random(*shape)).to(dtype)
    before, found = iskra.get_num_threads(), set()
    try:
        for count in (1, 2, 3, 7):
            iskra.set_num_threads(count)
            spectra = iskra.fft.fft(x), iskra.fft.rfft(x), iskra.fft.irfft(iskra.fft.rfft(x))
            found.add(tuple(s.numpy().tobytes() for s in spectra))
    finally:
        iskra.set_num_threads(before)
    assert len(found) == 1
