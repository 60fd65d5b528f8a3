"""Bilinear sampling in machine code against its composition of operators."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra.autograd import grad
from iskra.codegen.kernels import sampling
from iskra.nn import functional as F

SHAPES = [((1, 1, 1, 1), (1, 1)), ((2, 3, 5, 4), (3, 7)), ((1, 4, 9, 33), (5, 16)),
          ((3, 2, 2, 2), (6, 6))]
PADDINGS = ["zeros", "border", "reflection"]


def both(monkeypatch, function):
    results = []
    for fewest in (1, 1 << 40):
        monkeypatch.setattr(sampling, "_FEWEST", fewest)
        results.append(function())
    return results


def draw(shape, places, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape).astype(dtype)
    return image, (rng.normal(size=(shape[0], *places, 2)) * 0.7).astype(dtype)


@pytest.mark.parametrize(("shape", "places"), SHAPES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_and_gradients(shape, places, padding, align, dtype, monkeypatch):
    operands = [iskra.from_numpy(a).requires_grad_() for a in draw(shape, places, dtype)]

    def run():
        result = F.grid_sample(*operands, padding_mode=padding, align_corners=align)
        return [result, *grad((result * result).sum(), operands)]

    digits = 1e-10 if dtype == "f8" else 2e-4
    for one, other in zip(*both(monkeypatch, run), strict=True):
        assert one.dtype is other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one.detach(), other.detach(), digits, digits)


@pytest.mark.parametrize("padding", PADDINGS)
def test_special_places(padding, monkeypatch):
    """NaN, infinities and places far away; elements that are NaN count only beside them."""
    image, places = draw((1, 2, 5, 6), (4, 20), "f4")
    places[0, 0, :7, 0] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, 1.0]
    places[0, 1, :7, 1] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -1.0]
    image[0, 0, 2, 3] = np.nan
    operands = [iskra.from_numpy(a).requires_grad_() for a in (image, places)]

    def run():
        result = F.grid_sample(*operands, padding_mode=padding, align_corners=True)
        return [result, *grad(result[:, 1].sum(), operands)]

    for one, other in zip(*both(monkeypatch, run), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), 1e-4, 1e-4)


@pytest.mark.parametrize("how", LAYOUTS)
def test_layouts(how, monkeypatch):
    image, places = draw((2, 3, 5, 17), (4, 9))
    rows, columns = np.ascontiguousarray(places[..., 1]) * 4, places[..., 0] * 9
    expected = sampling.sample(image, rows, np.ascontiguousarray(columns))
    found = sampling.sample(laid_out(image, how), laid_out(rows, how), columns)
    np.testing.assert_array_equal(found, expected)


def test_derivatives(monkeypatch):
    monkeypatch.setattr(sampling, "_FEWEST", 1)
    operands = [iskra.from_numpy(a).requires_grad_() for a in draw((1, 2, 4, 4), (2, 3))]

    def run(image, places):
        return F.grid_sample(image, places, align_corners=False)

    assert run(*operands).grad_fn.name() == "GridSampler2DBackward0"
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
    for shape, places in SHAPES:
        image, grid = draw(shape, places, "f4")
        rows, columns = (np.ascontiguousarray(grid[..., i]) * 5 for i in range(2))
        result = sampling.sample(image, rows, columns)
        sampling.gradients(result, image, rows, columns, True, True)
    assert max(tasks) > 1


def test_bits_do_not_depend_on_threads():
    image, places = draw((3, 8, 60, 61), (50, 50), "f4")
    rows, columns = (np.ascontiguousarray(places[..., i]) * 60 for i in range(2))

    def run():
        result = sampling.sample(image, rows, columns)
        return [result, *sampling.gradients(result, image, rows, columns, True, True)]

    on_threads(run)


def test_what_is_not_served():
    image, places = draw((3, 8, 20, 20), (20, 20))
    rows, columns = places[..., 0], places[..., 1]
    assert sampling.serves(image, rows, columns)
    assert not sampling.serves(image, rows.astype("f4"), columns)
    assert not sampling.serves(image.astype("f2"), rows.astype("f2"), columns.astype("f2"))
    assert not sampling.serves(image[:, :, :0], rows, columns)
