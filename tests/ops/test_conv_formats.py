"""Convolutions keep the memory format of their operands, as PyTorch's do, and so do their
gradients, which are differentiable again."""

import numpy as np
import pytest

import iskra

torch = pytest.importorskip("torch")


def tensors(library, shapes, last, dtype=np.float32):
    """Normal values; those that `last` names have their channels last."""
    rng = np.random.default_rng(0)
    found = []
    for number, shape in enumerate(shapes):
        x = library.from_numpy(rng.standard_normal(shape).astype(dtype))
        if number in last:
            x = x.contiguous(memory_format=library.channels_last)
        found.append(x.requires_grad_())
    return found


def derivatives(library, shapes, last, **settings):
    """The convolution, and its gradients for input and weight."""
    x, w = tensors(library, shapes, last)
    y = library.nn.functional.conv2d(x, w, **settings)
    return y, *library.autograd.grad(y, (x, w), library.ones_like(y))


@pytest.mark.parametrize("last", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("shapes, settings", [
    (((2, 16, 14, 14), (32, 16, 3, 3)), {"padding": 1}),
    (((2, 16, 9, 9), (10, 16, 3, 3)), {"stride": 2}),
    (((2, 20, 9, 9), (40, 20, 1, 1)), {}),
    (((2, 16, 9, 9), (16, 1, 3, 3)), {"groups": 16, "padding": 1}),
    (((2, 3, 20, 20), (8, 3, 7, 7)), {"stride": 2, "padding": 3}),
    (((2, 3, 4, 4), (5, 3, 2, 2)), {}),
])
def test_memory_formats_are_pytorchs(shapes, settings, last):
    ours, theirs = (derivatives(library, shapes, last, **settings) for library in (iskra, torch))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-4)
        if 1 not in b.shape:
            assert a.stride() == b.stride()


@pytest.mark.parametrize("shapes, settings", [
    (((2, 9, 5, 4), (16, 9, 3, 2)), {"padding": 1}),
    (((1, 16, 6, 5), (17, 16, 3, 3)), {"stride": 2, "padding": 1, "dilation": (1, 2)}),
    (((2, 16, 5, 5), (16, 1, 3, 3)), {"groups": 16, "padding": 1}),
])
@pytest.mark.parametrize("last", [(), (0, 1)])
def test_derivatives_of_blocks(shapes, settings, last):
    operands = tensors(iskra, shapes, last, np.float64)

    def convolve(x, w):
        return iskra.nn.functional.conv2d(x, w, **settings)

    assert iskra.autograd.gradcheck(convolve, operands, fast_mode=True)
    assert iskra.autograd.gradgradcheck(convolve, operands, fast_mode=True)


def test_a_network_stays_in_channels_last():
    layers = iskra.nn.Sequential(
        iskra.nn.Conv2d(3, 16, 3, padding=1), iskra.nn.BatchNorm2d(16), iskra.nn.ReLU(),
        iskra.nn.Conv2d(16, 16, 3, padding=1, groups=16), iskra.nn.MaxPool2d(2))
    x = iskra.randn(2, 3, 16, 16).contiguous(memory_format=iskra.channels_last)
    for layer in layers:
        x = layer(x)
        assert x.is_contiguous(memory_format=iskra.channels_last), layer
