"""Airy's function Ai, in double precision."""

import math

from iskra.codegen.ir import fma, select, sqrt
from iskra.codegen.mathematics import special_coefficients as table
from iskra.codegen.mathematics.exponentials import exp
from iskra.codegen.mathematics.floats import at_least, at_most, polynomial
from iskra.codegen.mathematics.trigonometry import sin_and_cos

# Where the forms change, as in tools/fit_special.py, and from where on Ai is 0.
DECAYING, TURNING, WAVING, ZERO = 2.0, -1.0, -4.0, 110.0
ROOT_PI = math.sqrt(math.pi)


def _scales(t):
    """(2/3 t^(3/2), t^(1/4))."""
    root = sqrt(t)
    return t * root * (2.0 / 3.0), sqrt(root)


def airy_ai(x):
    """Ai(x); NaN at infinity, as in PyTorch. float32 is computed in float64."""
    if x.type.kind == "f32":
        return airy_ai(x.to("f64")).to("f32")
    near = polynomial(at_most(at_least(x, TURNING), DECAYING) - 0.5, table.AIRY["f64"])
    turning = polynomial(at_most(at_least(x, WAVING), TURNING) + 2.5, table.AIRY_TURNING["f64"])
    zeta, fourth = _scales(at_most(at_least(x, DECAYING), ZERO))
    decaying = exp(-zeta) * polynomial(1.0 / zeta, table.AIRY_FAR["f64"]) / (fourth * 2.0 * ROOT_PI)
    zeta, fourth = _scales(at_least(-x, -WAVING))
    inverse = 1.0 / zeta
    square = inverse * inverse
    even = polynomial(square, table.AIRY_EVEN["f64"])
    odd = polynomial(square, table.AIRY_ODD["f64"]) * inverse
    # Of zeta + pi / 4, times the root of 2.
    sine, cosine = sin_and_cos(zeta)
    waving = fma(even, sine + cosine, odd * (cosine - sine)) / (fourth * (ROOT_PI * math.sqrt(2.0)))
    result = select(x > DECAYING, decaying, near)
    result = select(x < TURNING, select(x < WAVING, waving, turning), result)
    # Infinity minus itself is NaN, and nothing else is changed.
    return result + (x - x)
