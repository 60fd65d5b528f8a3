"""Masks by kernels: against NumPy's indexing."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small
from codegen.test_sorts import DTYPES, elements

from iskra.codegen.kernels import masks

SHAPES = [(1,), (16,), (17,), (500,), (3, 5), (7, 100), (100, 1), (2, 3, 40), (4, 1, 9, 5)]


def mask_of(shape, share):
    return np.random.default_rng(6).random(shape) < share


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(masks, "PIECE", 64)
    serve_small(monkeypatch)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_masks(share, small_pieces):
    for shape in SHAPES:
        mask = mask_of(shape, share)
        for how in LAYOUTS:
            found = masks.places(laid_out(mask, how))
            assert found.dtype == np.int64 and found.flags.c_contiguous
            np.testing.assert_array_equal(found, np.argwhere(mask))
        for name in DTYPES:
            array = elements(shape, name)
            for how in LAYOUTS:
                found = masks.elements(laid_out(array, how), laid_out(mask, how))
                assert found.dtype == array.dtype
                assert found.tobytes() == array[mask].tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_places_of_numbers(name, small_pieces):
    """NaN is not zero; -0 is."""
    for shape in SHAPES:
        array = elements(shape, name)
        array[~mask_of(shape, 0.5)] = 0
        np.testing.assert_array_equal(masks.places(array), np.argwhere(array))


def test_interpreter_agrees(small_pieces, monkeypatch):
    seen = check_each_call(monkeypatch)
    for share in (0, 0.1, 0.9):
        masks.places(mask_of((9, 21), share))
        masks.elements(elements((300,), "f4"), mask_of(300, share))
    masks.places(elements((3, 4, 20), "bfloat16"))
    assert max(seen) > 1


def test_threads_change_nothing(small_pieces):
    mask, array = mask_of((60, 70), 0.3), elements((60, 70), "f8")
    on_threads(lambda: [masks.places(mask), masks.elements(array, mask)])


def test_what_is_not_served():
    assert masks.places(np.zeros(5, complex)) is None
    assert masks.places(np.array(1)) is None
    assert masks.elements(np.zeros((2, 3)), np.zeros(2, bool)) is None
    assert masks.elements(np.zeros(0), np.zeros(0, bool)) is None
