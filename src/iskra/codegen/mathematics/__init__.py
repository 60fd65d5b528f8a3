"""The vector mathematics of kernels: every function, by name.

Functions of values of the loop IR (kinds f32 and f64, any number of lanes) that append the
instructions which compute them: explicit `fma`, the same bits on every machine, and no branches but
for large arguments of `sin`, `cos`, `tan`, `sinc`, large quotients of the remainders, and forms of
`zeta` and the incomplete gamma functions that take many steps. Operands of two-operand functions
have one type. `docs/mathematics.md` says how accurate each one is.

>>> from iskra.codegen.ir import Function, Type
>>> f = Function("example")
>>> x = f.load(f.slot(0, "ptr"), 0, Type("f32", 16))
>>> FUNCTIONS["exp"](x).type
Type(kind='f32', lanes=16)
"""

from iskra.codegen.mathematics.activations import gelu, gelu_tanh, mish, sigmoid, silu, softplus
from iskra.codegen.mathematics.airy import airy_ai
from iskra.codegen.mathematics.bessel import i0, i0e, i1, i1e, j0, j1, k0, k0e, k1, k1e, y0, y1
from iskra.codegen.mathematics.exponentials import cosh, exp, exp2, expm1, sinh, tanh
from iskra.codegen.mathematics.gamma import digamma, lgamma
from iskra.codegen.mathematics.incomplete_gamma import gammainc, gammaincc
from iskra.codegen.mathematics.inverse_trigonometry import acos, asin, atan, atan2
from iskra.codegen.mathematics.logarithms import (
    acosh,
    asinh,
    atanh,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
)
from iskra.codegen.mathematics.normal import erfcx, log_ndtr, ndtr, ndtri
from iskra.codegen.mathematics.powers import cbrt, hypot, pow, rsqrt
from iskra.codegen.mathematics.remainders import floor_divide, fmod, nextafter, remainder, sign
from iskra.codegen.mathematics.special_functions import erf, erfc, erfinv
from iskra.codegen.mathematics.trigonometry import cos, sin, sinc, tan
from iskra.codegen.mathematics.zeta import trigamma, zeta

FUNCTIONS = {
    function.__name__: function
    for function in (
        acos, acosh, airy_ai, asin, asinh, atan, atan2, atanh, cbrt, cos, cosh, digamma, erf, erfc,
        erfcx, erfinv, exp, exp2, expm1, floor_divide, fmod, gammainc, gammaincc, gelu, gelu_tanh,
        hypot, i0, i0e, i1, i1e, j0, j1, k0, k0e, k1, k1e, lgamma, log, log10, log1p, log2,
        log_ndtr, logaddexp, mish, ndtr, ndtri, nextafter, pow, remainder, rsqrt, sigmoid, sign,
        silu, sin, sinc, sinh, softplus, tan, tanh, trigamma, y0, y1, zeta,
    )
}
