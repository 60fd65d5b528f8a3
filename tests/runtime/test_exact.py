"""Fused multiply-add and exact rounding, against rational arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest

from iskra.runtime.exact import fma32, fma64, libm, settle


def nearest(exact, kind):
    """The float nearest to a Fraction, ties to even, with no rounding on the way."""
    value = kind(float(exact))
    around = [value, np.nextafter(value, kind(-np.inf)), np.nextafter(value, kind(np.inf))]

    def order(x):
        return abs(Fraction(float(x)) - exact), x.view(f"i{x.itemsize}") & 1

    return min(around, key=order)


@pytest.mark.parametrize(("fma", "kind"), [(fma32, np.float32), (fma64, np.float64)])
def test_fused_multiply_add_rounds_once(fma, kind):
    rng = np.random.RandomState(0)
    a, b, c = (rng.standard_normal(400).astype(kind) for _ in range(3))
    c[::2] = -(a * b)[::2]  # what is left is the rounding error of the product
    c[1::4] *= kind(1e-9)
    found = fma(a, b, c)
    assert found.dtype == kind
    for x, y, z, result in zip(a, b, c, found, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        assert result == nearest(exact, kind)


def test_fma32_is_not_misled_by_a_tie_that_float64_only_seems_to_show():
    # 1 + 2**-24 + 2**-60: in float64 the last term is lost and 1 + 2**-24 is a tie, to even 1.
    a = np.array([2.0 ** -30, -(2.0 ** -30), 2.0 ** -30], np.float32)
    b = np.array([2.0 ** -30, 2.0 ** -30, 0.0], np.float32)
    c = np.float64(1 + 2.0 ** -24)
    expected = [1 + 2.0 ** -23, 1.0, 1.0]
    assert fma32(a, b, c).tolist() == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_fma64_is_not_misled_by_a_false_tie(sign):
    # a * b = 2**53 + 1 is half way between two doubles; c tips the balance from far below.
    found = fma64(np.array([2.0 ** 53 + 2]), 1.0, sign * 2.0 ** -80) - 2.0 ** 53
    assert found.tolist() == [2.0]
    a = np.array([3002399751580331.0])  # 3 * a = 2**53 + 1
    assert fma64(a, 3.0, sign * 2.0 ** -80).tolist() == [2.0 ** 53 + (2 if sign > 0 else 0)]


def test_fma_of_zeros():
    assert math.copysign(1, fma64(np.array([-0.0]), 1.0, 0.0)[0]) == 1
    assert fma64(np.zeros(0), 1.0, 2.0).shape == (0,)
    assert fma32(np.zeros(0, np.float32), 1.0, 2.0).shape == (0,)


def test_libm_keeps_the_shape():
    x = np.array([[0.5, 0.25], [2.0, 3.0]])
    assert libm(math.log, x).tolist() == [[math.log(v) for v in row] for row in x.tolist()]


def test_settle_asks_only_in_doubt():
    exact = np.array([1.0, 2.0, 1 + 2.0 ** -24 + 2.0 ** -52])  # the last beside a tie
    wrong = exact * (1 - 2.0 ** -52)
    asked = []

    def compute(indices):
        asked.extend(indices.tolist())
        return exact[indices]

    found = settle(wrong, lambda v: v.astype(np.float32), compute)
    assert found.tolist() == [1.0, 2.0, 1 + 2.0 ** -23]
    assert asked == [2]
