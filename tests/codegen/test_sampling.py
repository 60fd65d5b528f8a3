"""Sampling in machine code against its composition of operators."""

import itertools

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra.autograd import grad
from iskra.codegen.kernels import sampling
from iskra.codegen.kernels.sampling import Setting
from iskra.nn import functional as F

# One channel and many; images much larger than the grid are not arranged.
SHAPES = [((1, 1, 1, 1), (1, 1)), ((2, 3, 5, 4), (3, 7)), ((1, 4, 9, 33), (5, 16)),
          ((3, 17, 2, 2), (6, 6)), ((2, 5, 40, 50), (2, 3)), ((1, 1, 30, 40), (1, 2))]
DEEP = [((2, 3, 4, 5, 3), (2, 3, 5)), ((1, 2, 1, 1, 2), (1, 1, 1)), ((1, 9, 9, 20, 30), (2, 1, 3))]
MODES = ["bilinear", "nearest", "bicubic"]
PADDINGS = ["zeros", "border", "reflection"]
CASES = [(*shapes, mode) for shapes in SHAPES + DEEP for mode in MODES
         if mode != "bicubic" or len(shapes[1]) == 2]


def both(monkeypatch, function):
    results = []
    for fewest in (1, 1 << 40):
        monkeypatch.setattr(sampling, "_FEWEST", fewest)
        results.append(function())
    return results


def draw(shape, places, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape).astype(dtype)
    return image, (rng.normal(size=(shape[0], *places, len(places))) * 0.7).astype(dtype)


@pytest.mark.parametrize(("shape", "places", "mode"), CASES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_and_gradients(shape, places, mode, padding, align, dtype, monkeypatch):
    operands = [iskra.from_numpy(a).requires_grad_() for a in draw(shape, places, dtype)]

    def run():
        result = F.grid_sample(*operands, mode, padding, align)
        return [result, *grad((result * result).sum(), operands)]

    digits = 1e-10 if dtype == "f8" else 2e-4
    for one, other in zip(*both(monkeypatch, run), strict=True):
        assert one.dtype is other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one.detach(), other.detach(), digits, digits)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_special_places(padding, mode, monkeypatch):
    """NaN, infinities and places far away; elements that are NaN count only beside them."""
    image, places = draw((1, 2, 5, 6), (4, 20), "f4")
    places[0, 0, :7, 0] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, 1.0]
    places[0, 1, :7, 1] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -1.0]
    image[0, 0, 2, 3] = np.nan
    operands = [iskra.from_numpy(a).requires_grad_() for a in (image, places)]

    def run():
        result = F.grid_sample(*operands, mode, padding, True)
        return [result, grad(result[:, 1].sum(), operands[0])[0]]

    one, other = both(monkeypatch, run)
    np.testing.assert_allclose(one[0].detach(), other[0].detach(), 1e-4, 1e-4)
    if mode != "bicubic":  # where the weights themselves are NaN
        np.testing.assert_allclose(one[1], other[1], 1e-4, 1e-4)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_as_pytorch_does(mode, padding, align, monkeypatch):
    """With places on the outermost elements, between elements, and on their edges."""
    torch = pytest.importorskip("torch")
    image, places = draw((2, 5, 6, 9), (7, 8), "f4")
    places[0, 0] = np.linspace(-1.5, 1.5, 16).reshape(8, 2)
    places[0, 1, :4] = [[-1, 1], [1, -1], [0, 0], [-1, 0]]

    def run(module):
        operands = [module.from_numpy(a).requires_grad_() for a in (image, places)]
        result = module.nn.functional.grid_sample(*operands, mode, padding, align)
        g = module.ones(result.shape)
        return [result.detach(), *module.autograd.grad(result, operands, g)]

    expected = run(torch)
    for found in both(monkeypatch, lambda: run(iskra)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), 1e-4, 1e-4)


@pytest.mark.parametrize("how", LAYOUTS)
def test_layouts(how):
    image, places = draw((2, 3, 5, 17), (4, 9))
    for mode in MODES:
        setting = Setting(mode, "border", False, 2)
        expected = sampling.sample(image, places, setting)
        found = sampling.sample(laid_out(image, how), laid_out(places, how), setting)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("shape", "places", "mode", "name"), [
    ((1, 2, 4, 4), (2, 3), "bilinear", "GridSampler2DBackward0"),
    ((1, 2, 4, 4), (2, 3), "bicubic", "GridSampler2DBackward0"),
    ((1, 2, 3, 4, 2), (2, 1, 2), "bilinear", "GridSampler3DBackward0")])
def test_derivatives(shape, places, mode, name, monkeypatch):
    monkeypatch.setattr(sampling, "_FEWEST", 1)
    operands = [iskra.from_numpy(a).requires_grad_() for a in draw(shape, places)]

    def run(image, places):
        return F.grid_sample(image, places, mode, align_corners=False)

    assert run(*operands).grad_fn.name() == name
    assert iskra.autograd.gradcheck(run, operands)
    assert iskra.autograd.gradgradcheck(run, operands)
    for number in range(2):
        wanted = [x.detach().requires_grad_(i == number) for i, x in enumerate(operands)]
        (found,) = grad(run(*wanted).sum(), wanted[number])
        np.testing.assert_allclose(found, grad(run(*operands).sum(), operands)[number])


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, monkeypatch):
    serve_small(monkeypatch)
    tasks = check_each_call(monkeypatch, order)
    small = [((1, 5, 9, 9), (1, 2)), *SHAPES[1:4:2], DEEP[1]]
    cases = [(*shapes, mode) for shapes in small for mode in MODES[:4 - len(shapes[1]) + 1]]
    for (shape, places, mode), padding in zip(cases, itertools.cycle(PADDINGS)):
        image, grid = draw(shape, places, "f4")
        setting = Setting(mode, padding, shape[1] > 3, len(places))
        result = sampling.sample(image, grid, setting)
        sampling.gradients(result, image, grid, setting, True, True)
    assert max(tasks) > 1


def test_bits_do_not_depend_on_threads():
    image, places = draw((3, 40, 60, 61), (50, 50), "f4")
    setting = Setting("bilinear", "reflection", False, 2)

    def run():
        result = sampling.sample(image, places, setting)
        return [result, *sampling.gradients(result, image, places, setting, True, True)]

    on_threads(run)


def test_what_is_not_served():
    image, places = draw((3, 8, 20, 20), (20, 20))
    assert sampling.serves(image, places)
    assert not sampling.serves(image, places.astype("f4"))
    assert not sampling.serves(image.astype("f2"), places.astype("f2"))
    assert not sampling.serves(image[:, :, :0], places)
    assert not sampling.serves(image, places[:, :0])
