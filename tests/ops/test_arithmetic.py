"""Pointwise arithmetic at its edges: numbers first, bools, narrow floats, integer powers."""

import math

import numpy as np
import pytest
from literal import check

import iskra as torch

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("compute, dtypes, values", [
    (lambda: torch.isclose(torch.tensor([1.0, 2]), torch.tensor([1.000001, 2.1])),
     "bool", [True, False]),
    (lambda: torch.isclose(torch.tensor([NAN, INF]), torch.tensor([NAN, INF])),
     "bool", [False, True]),
    (lambda: torch.isclose(torch.tensor([NAN]), torch.tensor([NAN]), equal_nan=True),
     "bool", [True]),
    (lambda: torch.isclose(torch.tensor([1]), torch.tensor([1])), "bool", [True]),
    (lambda: torch.heaviside(torch.tensor([-1.0, 0.0, 2.0, NAN]), torch.tensor(0.5)),
     "float32", [0.0, 0.5, 1.0, 0.0]),
    (lambda: torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])), "float32", [1.0000001]),
    (lambda: torch.nextafter(torch.tensor([1.0], dtype=torch.bfloat16),
             torch.tensor([2.0], dtype=torch.bfloat16)),
     "bfloat16", [1.0078125]),
    (lambda: torch.nextafter(torch.tensor([1.0], dtype=torch.float16),
             torch.tensor([0.0], dtype=torch.float16)),
     "float16", [0.9995]),
    (lambda: torch.nextafter(torch.tensor([0.0]), torch.tensor([-1.0])), "float32", [-1e-45]),
    (lambda: torch.nextafter(torch.tensor([NAN, INF]), torch.tensor([1.0, 0.0])),
     "float32", [NAN, 3.4028235e+38]),
    (lambda: torch.nan_to_num(torch.tensor([NAN, INF, -INF, 2.0])),
     "float32", [0.0, 3.4028235e+38, -3.4028235e+38, 2.0]),
    (lambda: torch.nan_to_num(torch.tensor([NAN, INF, -INF]), 1.0, 2.0, 3.0),
     "float32", [1.0, 2.0, 3.0]),
    (lambda: torch.nan_to_num(torch.tensor([NAN, INF, -INF], dtype=torch.bfloat16)),
     "bfloat16", [0.0, 3.3895314e+38, -3.3895314e+38]),
    (lambda: torch.nan_to_num(torch.tensor([NAN, INF, -INF], dtype=torch.float16)),
     "float16", [0.0, 65500.0, -65500.0]),
    (lambda: torch.nan_to_num(torch.tensor([1, 2])), "int64", [1, 2]),
    (lambda: torch.nan_to_num(torch.tensor([complex(NAN, INF)])),
     "complex64", [3.4028234663852886e+38j]),
    (lambda: torch.add(2, torch.tensor([1.0, 2])), "float32", [3.0, 4.0]),
    (lambda: torch.sub(5, torch.tensor([1, 2])), "int64", [4, 3]),
    (lambda: torch.mul(2.5, torch.tensor([1, 2])), "float32", [2.5, 5.0]),
    (lambda: torch.div(6, torch.tensor([2, 4])), "float32", [3.0, 1.5]),
    (lambda: torch.floor_divide(7, torch.tensor([2, 3])), "int64", [3, 2]),
    (lambda: torch.remainder(7, torch.tensor([2, -3])), "int64", [1, -2]),
    (lambda: torch.bitwise_and(6, torch.tensor([3, 5])), "int64", [2, 4]),
    (lambda: torch.bitwise_left_shift(1, torch.tensor([2, 3])), "int64", [4, 8]),
    (lambda: torch.add(torch.tensor([1], dtype=torch.uint8),
             torch.tensor([1], dtype=torch.uint8), alpha=-3),
     "uint8", [254]),
    (lambda: torch.remainder(torch.tensor([True]), torch.tensor([2])), "int64", [1]),
    (lambda: torch.gcd(torch.tensor([4]), torch.tensor([True])), "int64", [1]),
    (lambda: torch.logaddexp(torch.tensor([1]), torch.tensor([1.0])), "float32", [1.6931472]),
    (lambda: torch.hypot(torch.tensor([3]), torch.tensor([4.0])), "float32", [5.0]),
    (lambda: torch.pow(torch.tensor([2, -1]), torch.tensor(-2)), "int64", [0, 1]),
    (lambda: torch.pow(2, torch.tensor([-1, 3])), "int64", [0, 8]),
    (lambda: torch.tensor([5, 7]).__rmod__(torch.tensor([12, 13])), "int64", [2, 6]),
    (lambda: torch.tensor([2, -1]).__rpow__(torch.tensor([3, 1])), "int64", [9, 1]),
    (lambda: torch.tensor([2.0, 4]).__rdiv__(3), "float32", [1.5, 0.75]),
    (lambda: torch.tensor([2, 4]).__rfloordiv__(torch.tensor([9, 9])), "int64", [4, 2]),
    (lambda: torch.unravel_index(torch.tensor([5, 11]), (3, 4)), "int64+int64", [[1, 2], [1, 3]]),
    (lambda: torch.unravel_index(torch.tensor([5], dtype=torch.int32), 6), "int64", [[5]]),
    (lambda: torch.unravel_index(torch.tensor(-1), (3, 4)), "int64+int64", [2, 3]),
    (lambda: torch.tensordot(torch.ones(2, 1, dtype=torch.int32),
             torch.arange(3, dtype=torch.int32).reshape(3, 1), dims=1),
     "int32", [[3], [3]]),
    (lambda: torch.vander(torch.tensor([1, 2], dtype=torch.uint8)), "int64", [[1, 1], [2, 1]]),
    (lambda: torch.linalg.vander(torch.tensor([1, 2], dtype=torch.uint8)),
     "int64", [[1, 1], [1, 2]]),
    (lambda: torch.arange(0.5, 2.9, 1, dtype=torch.int32), "int32", [0, 1, 2]),
    (lambda: torch.arange(0.5, 2.9, 1, dtype=torch.int64), "int64", [0, 1]),
    (lambda: torch.scatter_add(torch.tensor(1.0), 0, torch.tensor(0), torch.tensor([2.0, 3])),
     "float32", 3.0),
])
def test_values_and_dtypes(compute, dtypes, values):
    check(compute(), dtypes, values)


@pytest.mark.parametrize("compute, error, message", [
    (lambda: torch.isclose(torch.tensor([1.0]), torch.tensor([1])),
     RuntimeError, "isclose: Float did not match Long"),
    (lambda: torch.isclose(torch.tensor([1.0]), torch.tensor([1.0]), rtol=-1.0),
     RuntimeError, "isclose: rtol and atol must be at least ze"),
    (lambda: torch.heaviside(torch.tensor([1.0]), torch.tensor([1])),
     RuntimeError, "heaviside: not implemented for tensors of"),
    (lambda: torch.nextafter(torch.tensor([1.0]), 2.0),
     TypeError, "nextafter..: argument 'other' must be Tens"),
    (lambda: torch.nextafter(torch.tensor([1]), torch.tensor([2])),
     NotImplementedError, '"next_number" not implemented for \'Long\''),
    (lambda: torch.sub(torch.tensor([True]), torch.tensor([1])),
     RuntimeError, "Subtraction, the `-` operator, with a bool"),
    (lambda: torch.tensor([True]) - torch.tensor(True),
     RuntimeError, "with two bool tensors is not supported. Use the `\\^` or `logical_xor"),
    (lambda: torch.sub(torch.tensor([1]), True),
     RuntimeError, "Subtraction, the `-` operator, with a bool"),
    (lambda: torch.rsub(torch.tensor([1]), torch.tensor([True])),
     RuntimeError, "Subtraction, the `-` operator, with a bool"),
    (lambda: torch.tensor([1.0]) - torch.tensor([True]),
     RuntimeError, "Subtraction, the `-` operator, with a bool"),
    (lambda: torch.remainder(torch.tensor([True]), torch.tensor([True])),
     NotImplementedError, '"remainder" not implemented for \'Bool\''),
    (lambda: torch.gcd(torch.tensor([True]), torch.tensor([True])),
     NotImplementedError, '"gcd" not implemented for \'Bool\''),
    (lambda: torch.logaddexp(torch.tensor([1]), torch.tensor([1])),
     NotImplementedError, '"logaddexp" not implemented for \'Long\''),
    (lambda: torch.hypot(torch.tensor([3]), torch.tensor([4])),
     NotImplementedError, '"hypot" not implemented for \'Long\''),
    (lambda: torch.pow(torch.tensor([2, -1]), -2),
     RuntimeError, "Integers to negative integer powers are no"),
    (lambda: torch.unravel_index(torch.tensor([1.0]), (3, 4)),
     TypeError, "unravel_index: expected 'indices' to be in"),
    (lambda: torch.unravel_index(torch.tensor([1]), (-3, 4)),
     ValueError, "unravel_index: 'shape' cannot have negativ"),
    (lambda: torch.unravel_index(torch.tensor([1]), ("a",)),
     TypeError, "unravel_index: expected 'shape' sequence t"),
    (lambda: torch.tril(torch.ones(2, 2), 1.5),
     TypeError, "tril..: argument 'diagonal' must be int, n"),
    (lambda: torch.roll(torch.tensor([1, 2]), 1.5),
     TypeError, "roll..: argument 'shifts' must be int, not"),
    (lambda: torch.rot90(torch.ones(2, 2), 1.5),
     TypeError, "rot90..: argument 'k' must be int, not flo"),
    (lambda: torch.repeat_interleave(torch.tensor([1]), 1.5),
     TypeError, "repeat_interleave..: argument 'repeats' mu"),
    (lambda: torch.polygamma(1.5, torch.tensor([1.0])),
     TypeError, "polygamma..: argument 'n' must be int, not"),
    (lambda: torch.cov(torch.ones(2, 2), correction=1.5),
     TypeError, "cov..: argument 'correction' must be int,"),
])
def test_refusals(compute, error, message):
    with pytest.raises(error, match=message):
        compute()


@pytest.mark.parametrize("operands", [(2, torch.ones(1)), (torch.ones(1), 2), ("a", torch.ones(1))])
def test_ldexp_takes_tensors_only(operands):
    with pytest.raises(TypeError, match="must be Tensor"):
        torch.ldexp(*operands)


def test_complex_logarithms_of_sums_have_gradients_in_range():
    x = torch.tensor([1 + 1j, 2j, -3, 900], dtype=torch.complex128, requires_grad=True)
    y = torch.logcumsumexp(x, 0)
    assert y[-1].real == 900
    y.real.sum().backward()
    assert x.grad.real.isfinite().all() and abs(x.grad[-1] - 1) < 1e-9
    a, b = x.detach().requires_grad_(), torch.ones(4, dtype=torch.complex128, requires_grad=True)
    torch.logaddexp(a, b).real.sum().backward()
    shares = a.grad + b.grad
    np.testing.assert_allclose(shares.numpy(), np.ones(4), rtol=1e-9)


def test_nan_lies_on_no_side_of_zero():
    x = torch.tensor([-2.0, -0.0, NAN, INF], requires_grad=True)
    assert torch.sign(x).tolist() == torch.sgn(x).tolist() == [-1, 0, 0, 1]
    x.abs().sum().backward()
    assert x.grad.tolist() == [-1, 0, 0, 1]
    assert torch.sign(torch.tensor([0, 3], dtype=torch.uint8)).tolist() == [0, 1]


@pytest.mark.parametrize("pair, dtype, values", [
    ((1, 0), torch.int64, [1, 0]), ((1.5, 0), torch.float32, [1.5, 0]),
    ((True, 2), torch.int64, [1, 2]), ((1, 2j), torch.complex64, [1, 2j]),
    ((True, False), torch.bool, [True, False]),
])
def test_where_chooses_between_numbers(pair, dtype, values):
    chosen = torch.where(torch.tensor([True, False]), *pair)
    assert chosen.dtype is dtype and chosen.tolist() == values
    with pytest.raises(TypeError, match="tensors or numbers"):
        torch.where(torch.tensor([True]), None, 1)
