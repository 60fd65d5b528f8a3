"""Kernels beside NumPy where it is awkward: special values, odd addresses, overlapping memory."""

import numpy as np
import pytest
from graph.test_tiers import POINTWISE, both

import iskra
from iskra import graph
from iskra.dispatch import OPERATORS
from iskra.graph import layout
from iskra.tensor import wrap

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40,
           1e-30, 3e38, -3e38, 88.0, -104.0, 1e10, -7.5]
# Here SciPy has lost the phase, or takes another limit at infinity, than the kernels.
NEAR = {"bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "airy_ai", "zeta"}
ODD = {"sin", "tan", "asin", "atan", "sinh", "asinh", "atanh", "tanh", "erf", "expm1", "log1p",
       "sqrt", "neg", "trunc"}  # of which -0.0 is -0.0 (0.0, for the negative)


def operands(op, dtype):
    """All pairs of special values."""
    grids = np.meshgrid(*[np.array(SPECIAL, dtype)] * min(len(op.operands), 2))
    found = [g.reshape(-1).copy() for g in grids]
    while len(found) < len(op.operands):
        found.append(found[-1][::-1].copy())
    return found


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(name, dtype):
    op = OPERATORS[name]
    given = operands(op, dtype)
    try:
        pair = both(op, tuple(map(wrap, given)), {})
    except RuntimeError:  # values that the operator refuses
        return
    for found, expected in zip(*(pair or ((), ())), strict=True):
        if found.dtype.kind != "f":
            np.testing.assert_array_equal(found, expected)
            continue
        bound = 1e-13 if dtype is np.float64 else 1e-6
        # Where gelu all but vanishes its kernel is good to units of the largest results only.
        small = 1e-12 if name == "gelu" else np.finfo(dtype).tiny
        if name in NEAR:
            near = np.logical_and.reduce([np.absolute(x) < 1e4 for x in given])
            found, expected = found[near], expected[near]
        np.testing.assert_allclose(found, expected, rtol=bound, atol=small)
        if name in ODD:
            zeros = found == 0
            np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("offset", range(1, 5))
@pytest.mark.parametrize("name", ["add", "exp", "sum", "softmax", "amax"])
def test_operands_at_any_address(name, offset):
    op = OPERATORS[name]
    memory = np.random.default_rng(0).standard_normal(offset + 91 * 3).astype(np.float32)
    array = memory[offset:].reshape(91, 3)
    args = {"add": (array, array), "softmax": (array, 1)}.get(name, (array,))
    found, expected = both(op, tuple(wrap(a) if a is array else a for a in args), {})
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 7, 16, 100])
def test_writes_to_overlapping_views(shift):
    values = np.random.default_rng(1).standard_normal((100, 90)).astype(np.float32)
    flat = values.reshape(-1)
    for target, source in ((slice(shift, None), slice(None, -shift)),
                           (slice(None, -shift), slice(shift, None))):
        x = iskra.tensor(flat)
        x[target].add_(x[source])
        expected = flat.copy()
        expected[target] += flat[source]
        np.testing.assert_array_equal(x.numpy(), expected)
    square = iskra.tensor(values[:90])
    square.mul_(square.t())
    np.testing.assert_array_equal(square.numpy(), values[:90] * values[:90].T)


def test_writes_to_strided_views_leave_the_gaps():
    values = np.random.default_rng(2).standard_normal((100, 120)).astype(np.float32)
    x = iskra.tensor(values)
    x[:, ::2].relu_()
    expected = values.copy()
    expected[:, ::2] = np.maximum(expected[:, ::2], 0)
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("shape", [(5000,), (5003,), (70, 96), (70, 97), (3, 40, 48)])
@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64, iskra.bfloat16, iskra.bool])
def test_results_written_past_the_caches(shape, dtype, monkeypatch):
    monkeypatch.setattr(layout, "STREAM", 64)
    for name in ("launches", "direct", "programs"):
        monkeypatch.setattr(OPERATORS["mul"], name, {})
    x = iskra.rand(*shape).to(dtype)
    for other in (x, x[:1], x[..., :1]):
        found = (x * other)._array
        expected = (x._array.astype(np.float64) * other._array.astype(np.float64))
        np.testing.assert_array_equal(found, expected.astype(found.dtype))
    kernels = [k for program, _ in OPERATORS["mul"].programs.values() for k in program.kernels]
    if len(shape) == 1 or shape[-1] % 32 == 0:
        assert any(key[1].streamed for key in kernels)


@pytest.mark.parametrize("columns", [96, 97])
@pytest.mark.parametrize("name", ["softmax", "softmax_backward", "native_layer_norm",
                                  "norm_backward"])
def test_rows_written_past_the_caches(name, columns, monkeypatch):
    op = OPERATORS[name]
    x, g = (np.random.default_rng(n).standard_normal((140, columns)).astype(np.float32)
            for n in (0, 1))
    weight = np.arange(columns, dtype=np.float32)
    arguments = {
        "softmax": (x, 1, 3, None), "softmax_backward": (x, g, 1),
        "native_layer_norm": (x, (columns,), weight, weight, 1e-5),
        "norm_backward": (g, x, weight, None, None, (1,), 1e-5, None, (True, True, True)),
    }[name]
    results = []
    for least in (1 << 40, 64):
        monkeypatch.setattr(layout, "STREAM", least)
        for table in ("launches", "programs"):
            monkeypatch.setattr(op, table, {})
        results.append(graph.run(op, arguments))
        kernels = [k for program, _ in op.programs.values() for k in program.kernels]
        assert any(key[1].streamed for key in kernels) is (least == 64 and columns == 96)
    for plain, streamed in zip(*(r if isinstance(r, tuple) else (r,) for r in results)):
        np.testing.assert_array_equal(plain, streamed)
