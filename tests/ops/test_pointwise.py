"""Type promotion and pointwise operators: literal values and dtypes, casts, errors."""

import math

import numpy as np
import pytest

import iskra as torch

NAN, INF = math.nan, math.inf


def check(result, dtypes, values):
    """The tensors have these dtypes ("int64+int64" for two) and, rounded to them, these values."""
    results = result if isinstance(result, tuple) else (result,)
    values = values if isinstance(result, tuple) else [values]
    assert [r.dtype.name for r in results] == dtypes.split("+")
    for found, expected in zip(results, values, strict=True):
        wanted = np.array(expected)
        assert wanted.size == 0 or wanted.shape == tuple(found.shape)
        tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(found.dtype.name, 3e-6)
        np.testing.assert_allclose(
            np.array(found.tolist()).ravel(), wanted.ravel(), tolerance, tolerance / 3
        )


@pytest.mark.parametrize("compute, dtypes, values", [
    (lambda: torch.tensor([1], dtype=torch.int8)+torch.tensor(1000), "int8", [-23]),
    (lambda: torch.tensor([1], dtype=torch.uint8)+torch.tensor(-1), "uint8", [0]),
    (lambda: torch.tensor([250], dtype=torch.uint8)+10, "uint8", [4]),
    (lambda: torch.tensor([1], dtype=torch.uint8)-2, "uint8", [255]),
    (lambda: torch.tensor([1], dtype=torch.int32)*2.5, "float32", [2.5]),
    (lambda: torch.tensor([1.0], dtype=torch.float16)+1e6, "float16", [INF]),
    (lambda: torch.tensor(1, dtype=torch.int64)+torch.tensor([1.0], dtype=torch.float16),
     "float16", [2.0]),
    (lambda: torch.tensor([1], dtype=torch.int32)/torch.tensor([2], dtype=torch.int32),
     "float32", [0.5]),
    (lambda: torch.tensor([1.0], dtype=torch.float16)+torch.tensor([1.0], dtype=torch.bfloat16),
     "float32", [2.0]),
    (lambda: torch.tensor([1.0], dtype=torch.float16)+torch.tensor(1.0, dtype=torch.float64),
     "float16", [2.0]),
    (lambda: torch.tensor([1], dtype=torch.uint8)+torch.tensor([1], dtype=torch.int8),
     "int16", [2]),
    (lambda: torch.tensor([True])+torch.tensor([True]), "bool", [True]),
    (lambda: torch.tensor([True])*2, "int64", [2]),
    (lambda: torch.tensor([1.0])*1j, "complex64", [1j]),
    (lambda: torch.tensor([1.0], dtype=torch.float64)*1j, "complex128", [1j]),
    (lambda: torch.tensor([1], dtype=torch.int16)+True, "int16", [2]),
    (lambda: torch.tensor(3)//2.5, "float32", 1.0),
    (lambda: torch.cat([torch.tensor([1], dtype=torch.int8),
             torch.tensor([2.5], dtype=torch.float16)]),
     "float16", [1.0, 2.5]),
    (lambda: torch.stack([torch.tensor(1), torch.tensor(2.5)]), "float32", [1.0, 2.5]),
    (lambda: torch.where(torch.tensor([True, False]), torch.tensor([1]), 2.5),
     "float32", [1.0, 2.5]),
    (lambda: torch.where(torch.tensor([True]), torch.tensor([1], dtype=torch.int8),
             torch.tensor(300)),
     "int8", [1]),
    (lambda: torch.clamp(torch.tensor([1, 5]), min=2.5), "float32", [2.5, 5.0]),
    (lambda: torch.clamp(torch.tensor([1.0, NAN, 5]), 2, 3), "float32", [2.0, NAN, 3.0]),
    (lambda: torch.clamp(torch.tensor([1.0, 5]), 3, 2), "float32", [2.0, 2.0]),
    (lambda: torch.div(torch.tensor([7, -7]), 2, rounding_mode="trunc"), "int64", [3, -3]),
    (lambda: torch.div(torch.tensor([7, -7]), 2, rounding_mode="floor"), "int64", [3, -4]),
    (lambda: torch.div(torch.tensor([7.0, -7]), 0.0), "float32", [INF, -INF]),
    (lambda: torch.floor_divide(torch.tensor([7.0, -7]), 0.0), "float32", [INF, -INF]),
    (lambda: torch.remainder(torch.tensor([-3.0, 3, -3]), torch.tensor([2.0, -2, INF])),
     "float32", [1.0, -1.0, INF]),
    (lambda: torch.fmod(torch.tensor([-3.0, 3]), torch.tensor([2.0, -2])), "float32", [-1.0, 1.0]),
    (lambda: torch.frexp(torch.tensor([8.0, 0.3])), "float32+int32", [[0.5, 0.6], [4, -1]]),
    (lambda: torch.signbit(torch.tensor([-0.0, 0.0])), "bool", [True, False]),
    (lambda: torch.copysign(torch.tensor([1.0]), -0.0), "float32", [-1.0]),
    (lambda: torch.round(torch.tensor([2.5, -0.5, 1234.567]), decimals=-2),
     "float32", [0.0, -0.0, 1200.0]),
    (lambda: torch.frac(torch.tensor([-1.5, 2.25])), "float32", [-0.5, 0.25]),
    (lambda: torch.floor(torch.tensor([1, 2])), "int64", [1, 2]),
    (lambda: torch.reciprocal(torch.tensor([2, 0])), "float32", [0.5, INF]),
    (lambda: torch.rsqrt(torch.tensor([4.0, 0, -1])), "float32", [0.5, INF, NAN]),
    (lambda: torch.sqrt(torch.tensor([4, -1])), "float32", [2.0, NAN]),
    (lambda: torch.exp(torch.tensor([1, 2])), "float32", [2.718282, 7.3890557]),
    (lambda: torch.log(torch.tensor([0.0, -1, 1])), "float32", [-INF, NAN, 0.0]),
    (lambda: torch.log2(torch.tensor([8])), "float32", [3.0]),
    (lambda: torch.log1p(torch.tensor([-1.0, 0])), "float32", [-INF, 0.0]),
    (lambda: torch.atan2(torch.tensor([1.0, 0]), torch.tensor([0.0, -1])),
     "float32", [1.5707964, 3.1415927]),
    (lambda: torch.angle(torch.tensor([-1.0, 0, NAN])), "float32", [3.1415927, 0.0, NAN]),
    (lambda: torch.angle(torch.tensor([1j])), "float32", [1.5707964]),
    (lambda: torch.bitwise_not(torch.tensor([1, 0], dtype=torch.uint8)), "uint8", [254, 255]),
    (lambda: torch.bitwise_left_shift(torch.tensor([1]), 70), "int64", [0]),
    (lambda: torch.bitwise_right_shift(torch.tensor([-8]), 70), "int64", [-1]),
    (lambda: torch.logical_xor(torch.tensor([True, False]), torch.tensor([2, 0])),
     "bool", [False, False]),
    (lambda: torch.maximum(torch.tensor([1.0, NAN]), torch.tensor([NAN, 2.0])),
     "float32", [NAN, NAN]),
    (lambda: torch.fmax(torch.tensor([1.0, NAN]), torch.tensor([NAN, 2.0])), "float32", [1.0, 2.0]),
    (lambda: torch.eq(torch.tensor([1, 2]), torch.tensor([1.0, 3])), "bool", [True, False]),
    (lambda: torch.tensor([1, 2])<2.5, "bool", [True, True]),
    (lambda: torch.tensor([1], dtype=torch.uint8)<-1, "bool", [True]),
    (lambda: torch.tensor([1], dtype=torch.uint8)<300, "bool", [True]),
    (lambda: torch.addcdiv(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0]), value=2),
     "float32", [2.0]),
    (lambda: torch.addcmul(torch.tensor([1]), torch.tensor([2]), torch.tensor([3]), value=2),
     "int64", [13]),
    (lambda: torch.lerp(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([0.25])),
     "float32", [1.5]),
    (lambda: torch.sub(torch.tensor([3]), 1, alpha=2), "int64", [1]),
    (lambda: torch.neg(torch.tensor([1], dtype=torch.uint8)), "uint8", [255]),
    (lambda: torch.abs(torch.tensor([-128], dtype=torch.int8)), "int8", [-128]),
    (lambda: torch.square(torch.tensor([-3])), "int64", [9]),
    (lambda: torch.float_power(torch.tensor([2]), -1), "float64", [0.5]),
    (lambda: torch.hypot(torch.tensor([3.0]), torch.tensor([4.0])), "float32", [5.0]),
    (lambda: torch.tensor([1.5]).to(torch.int32), "int32", [1]),
    (lambda: torch.tensor([300.0]).to(torch.uint8), "uint8", [44]),
    (lambda: torch.tensor([-1.0]).to(torch.int8), "int8", [-1]),
    (lambda: torch.tensor([0.0, NAN, 2]).to(torch.bool), "bool", [False, True, True]),
    (lambda: torch.tensor([1+2j]).to(torch.complex128), "complex128", [(1+2j)]),
    (lambda: torch.tensor([1.1]).to(torch.bfloat16), "bfloat16", [1.1015625]),
    (lambda: torch.tensor([1e6]).to(torch.float16), "float16", [INF]),
    (lambda: torch.tensor([5]).char(), "int8", [5]),
    (lambda: torch.tensor([1, 2]).type(torch.float64), "float64", [1.0, 2.0]),
    (lambda: torch.tensor([1, 2]).type("torch.DoubleTensor"), "float64", [1.0, 2.0]),
    (lambda: torch.tensor([1, 2]).to(torch.tensor(1.0)), "float32", [1.0, 2.0]),
])
def test_values_and_dtypes(compute, dtypes, values):
    check(compute(), dtypes, values)


@pytest.mark.parametrize("compute, error, message", [
    (lambda: torch.div(torch.tensor([7]), 0, rounding_mode="floor"),
     RuntimeError, 'floor_divide: ZeroDivisionError: integer d'),
    (lambda: torch.div(torch.tensor([7]), 2, rounding_mode="x"),
     RuntimeError, 'div expected rounding_mode to be one of No'),
    (lambda: torch.remainder(torch.tensor([7]), 0),
     RuntimeError, "remainder: ZeroDivisionError: integer divi"),
    (lambda: torch.round(torch.tensor([1, 2]), decimals=1),
     NotImplementedError, '"round" to decimals is not implemented for'),
    (lambda: torch.round(torch.tensor([1.5]), decimals=1.5),
     TypeError, "round..: argument 'decimals' must be int,"),
    (lambda: torch.bitwise_and(torch.tensor([1.0]), 1),
     NotImplementedError, '"bitwise_and" not implemented for \'Float\''),
    (lambda: torch.maximum(torch.tensor([1j]), torch.tensor([1j])),
     NotImplementedError, '"maximum" not implemented for \'ComplexFloa'),
    (lambda: torch.lt(torch.tensor([1j]), torch.tensor([1j])),
     NotImplementedError, '"lt" not implemented for \'ComplexFloat\''),
    (lambda: torch.addcmul(torch.tensor([1.0]), torch.tensor([2.0]), 3.0),
     TypeError, "addcmul..: argument 'tensor2' .position 3."),
    (lambda: torch.lerp(torch.tensor([1]), torch.tensor([3]), 0.25),
     NotImplementedError, '"lerp" not implemented for \'Long\''),
    (lambda: torch.add(torch.tensor([3]), 1, alpha=1.5),
     RuntimeError, "For integral input tensors, argument alpha"),
    (lambda: torch.neg(torch.tensor([True])),
     RuntimeError, "Negation, the `-` operator, on a bool tens"),
    (lambda: torch.tensor([1, 2]).type("x"), ValueError, "invalid type: 'x'"),
    (lambda: torch.tensor([1, 2]).to("cuda"),
     RuntimeError, 'cannot place a tensor on cuda: no GPU is a'),
    (lambda: torch.tensor([1, 2]).to("x"),
     RuntimeError, 'Expected one of cpu, cuda, meta device typ'),
])
def test_refusals(compute, error, message):
    with pytest.raises(error, match=message):
        compute()
