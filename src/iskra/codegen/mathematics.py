"""The vector mathematics of kernels: every function, by name.

Functions of values of the loop IR (kinds f32 and f64, any number of lanes) that append the
instructions which compute them: no branches, explicit `fma`, the same bits on every machine.
`docs/mathematics.md` says how accurate each one is.

>>> from iskra.codegen.ir import Function, Type
>>> f = Function("example")
>>> x = f.load(f.slot(0, "ptr"), 0, Type("f32", 16))
>>> FUNCTIONS["exp"](x).type
Type(kind='f32', lanes=16)
"""

from iskra.codegen.activations import gelu, gelu_tanh, mish, sigmoid, silu, softplus
from iskra.codegen.exponentials import exp, exp2, expm1, tanh
from iskra.codegen.logarithms import log, log1p, log2, log10
from iskra.codegen.powers import pow, rsqrt
from iskra.codegen.special_functions import erf, erfc
from iskra.codegen.trigonometry import cos, sin, tan

FUNCTIONS = {
    function.__name__: function
    for function in (
        cos, erf, erfc, exp, exp2, expm1, gelu, gelu_tanh, log, log10, log1p, log2, mish, pow,
        rsqrt, sigmoid, silu, sin, softplus, tan, tanh,
    )
}
