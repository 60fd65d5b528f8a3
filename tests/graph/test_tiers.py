"""Both tiers of every operator that has both: the same calls on NumPy and on kernels."""

import numpy as np
import pytest
from ops.table import Make, has_samples, sampled_operators, samples_of

import iskra
from iskra import graph
from iskra.dispatch import OPERATORS, execute
from iskra.dispatch.operator import NONE, bind
from iskra.tensor import Tensor

COMPUTING = [n for n in sampled_operators() if OPERATORS[n].computes]
SHAPES = [(1,), (15,), (16,), (17,), (70,), (5, 131), (3, 1, 37), (2, 3, 4, 5)]


def both(op, args, kwargs):
    """``(the kernels' results, NumPy's)`` as lists of arrays; None where kernels do not serve."""
    bound = bind(op, args, kwargs)
    if not any(isinstance(v, Tensor) for v in bound):
        return None
    execute.check_operands(op, bound)
    if op.promote is not NONE:
        found, kind = execute._promoted_by_kernels(op, bound)
        arrays, _ = execute.promote(op, bound)
    else:
        found, kind = execute._by_kernels(op, bound)
        arrays, _ = execute.prepare(op, bound)
    if found is graph.UNSERVED:
        return None
    expected = execute.quietly(op.compute, arrays)
    return listed(found), [narrowed(a, kind) for a in listed(expected)]


def listed(result):
    return [a for a in (result if isinstance(result, tuple) else (result,)) if a is not None]


def narrowed(array, kind):
    array = np.asarray(array)
    narrow = kind is not None and kind.is_narrow and array.dtype == np.float32
    return array.astype(kind.numpy) if narrow else array


def assert_equal(found, expected, op):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype.kind in "f" or a.dtype.name == "bfloat16":
            # A sum's rounding depends on its order; maps are within a few units in the last place.
            digits = {8: 1e-11, 4: 3e-6}.get(a.dtype.itemsize, 2e-2)
            if op.hidden and a is not found[0] and found[0].dtype.itemsize < 8:
                digits = 3e-6  # kept in double precision, computed in single
            np.testing.assert_allclose(
                a.astype(np.float64), b.astype(np.float64), rtol=digits, atol=digits)
        else:
            np.testing.assert_array_equal(a, b)


def dtypes_of(op):
    kinds = [iskra.float64, iskra.float32, iskra.bfloat16, iskra.float16, iskra.int64, iskra.int32,
             iskra.uint8, iskra.bool]
    return [k for k in kinds if op.accepts is None or k.category in op.accepts]


@pytest.mark.parametrize("name", COMPUTING)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "gaps"])
def test_samples_agree(name, layout):
    op = OPERATORS[name]
    for dtype in dtypes_of(op):
        try:
            calls = samples_of(op, Make(dtype, layout=layout))
            pairs = [both(op, *call) for call in calls]
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            continue  # the operator refuses this dtype
        for pair in pairs:
            if pair is not None:
                assert_equal(*pair, op)


POINTWISE = [n for n in COMPUTING if OPERATORS[n].kind == "pointwise"
             and OPERATORS[n].samples is None and 2 in (OPERATORS[n].accepts or {2})]


@pytest.mark.parametrize("name", POINTWISE)
def test_lengths_around_the_vector_width(name):
    op = OPERATORS[name]
    low, high = op.domain or (0.5, 2.0)
    count = len(op.operands)
    for dtype in (iskra.float32, iskra.float64):
        make = Make(dtype)
        for shape in SHAPES:
            pair = both(op, tuple(make(shape, low, high) for _ in range(count)), {})
            if pair is not None:
                assert_equal(*pair, op)


REDUCTIONS = ["sum", "mean", "prod", "amax", "amin", "any", "all", "argmax", "argmin", "variance",
              "deviation", "logsumexp", "nansum"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "gaps"])
def test_reductions_over_every_axis(name, layout):
    op = OPERATORS[name]
    several = name not in ("prod", "argmax", "argmin", "any", "all")
    make = Make(iskra.float32, layout=layout)
    for shape in [(70,), (5, 131), (37, 3), (3, 17, 40), (40, 17, 3)]:
        x = make(shape, 0.5, 1.5)
        dims = [*range(len(shape))]
        if several:
            dims += [tuple(range(len(shape))), (0, len(shape) - 1)] if len(shape) > 1 else []
        if name != "logsumexp":
            dims.append(None if name not in ("amax", "amin") else ())
        for dim in dims:
            args = (x, dim) if not name.startswith(("var", "dev")) else (x, dim, 1, False)
            pair = both(op, args, {})
            ordered = layout != "transposed" or not name.startswith("arg") or dim is not None
            assert pair is not None or not ordered, (name, shape, dim)
            if pair is not None:
                assert_equal(*pair, op)


# Calls of operators without samples of their own, whose results are not all differentiable.
OTHERS = {
    "affine_standard": lambda make: [
        ((make((3, 2, 4)), make((3, 1, 1)), make((3, 1, 1)), (1, 2), 1e-5), {}),
        ((make((3, 4)), None, None, (0,), 1e-5), {}),
    ],
    "native_layer_norm": lambda make: [((make((3, 4)), (4,), make((4,)), make((4,))), {})],
    "rms_scaled": lambda make: [
        ((make((3, 4)), None, (1,), 1e-5), {}),
        ((make((2, 3, 4)), make((3, 4)), (1, 2), 1e-5), {}),
    ],
    "batch_norm_training": lambda make: [
        ((make((3, 2, 4)), make((2,)), make((2,))), {}),
        ((make((5, 3)),), {}),
        ((make((2, 3, 4, 5)), make((3,)), make((3,)), 0.1), {}),
    ],
    "from_the_front": lambda make: [((make((3, 4)), 5), {})],
    "gated_half": lambda make: [((make((3, 4)), make((3, 4))), {})],
    "gated_half_backward": lambda make: [((make((3, 4)), make((3, 4)), make((3, 4))), {})],
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "gaps"])
def test_calls_without_samples_agree(name, layout):
    op = OPERATORS[name]
    for dtype in (iskra.float64, iskra.float32, iskra.bfloat16):
        for call in OTHERS[name](Make(dtype, layout=layout)):
            pair = both(op, *call)
            assert pair is not None
            assert_equal(*pair, op)


LARGE = (70, 80)  # enough elements for kernels
functional = iskra.nn.functional


@pytest.mark.parametrize("call, message", [
    (lambda: iskra.ones(LARGE, dtype=iskra.int32) // iskra.zeros(LARGE, dtype=iskra.int32),
     "ZeroDivisionError: integer division by zero"),
    (lambda: iskra.fmod(iskra.ones(LARGE, dtype=iskra.int64), 0),
     "ZeroDivisionError: integer division by zero"),
    (lambda: functional.binary_cross_entropy(iskra.ones(LARGE) * 1.5, iskra.ones(LARGE)),
     "all elements of input should be between 0 and 1"),
    (lambda: functional.cross_entropy(iskra.ones(LARGE), iskra.full((70,), 80)),
     "Target 80 is out of bounds"),
    (lambda: functional.cross_entropy(iskra.ones(LARGE), iskra.full((70,), -1)),
     "Target -1 is out of bounds"),
    (lambda: functional.nll_loss(iskra.ones(LARGE), iskra.full((70,), 80)),
     "Target 80 is out of bounds"),
])
def test_checks_of_values_raise_for_large_operands_too(call, message):
    with pytest.raises((RuntimeError, IndexError), match=message):
        call()


def test_one_bad_element_is_enough_for_a_check():
    probabilities = iskra.full(LARGE, 0.5)
    kernels = OPERATORS["bernoulli_nll"].launches
    kernels.clear()
    functional.binary_cross_entropy(probabilities, probabilities)
    assert all(entry[0] is not None for entry in kernels.values())
    probabilities[69, 79] = float("nan")
    for reduction in ("none", "mean", "sum"):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            functional.binary_cross_entropy(probabilities, probabilities, reduction=reduction)


@pytest.mark.parametrize("shape", [(70, 1), (1, 80), (1, 1)])
@pytest.mark.parametrize("name, settings", [
    ("exp", ()), ("sum", (0,)), ("sum", (1,)), ("sum", (None,)), ("amax", (1,)), ("argmax", (0,)),
    ("softmax", (1,)), ("variance", (0, 1, False)), ("logsumexp", ((0, 1),)),
])
def test_expanded_operands_are_read_as_their_copies_are(name, settings, shape):
    op = OPERATORS[name]
    expanded = Make(iskra.float64)(shape).expand(LARGE)
    assert_equal(both(op, (expanded, *settings), {})[0],
                 both(op, (expanded.contiguous(), *settings), {})[0], op)
    assert_equal(*both(op, (expanded.t(), *settings), {}), op)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [LARGE, (5, 30, 40)])
def test_cross_entropy_is_the_likelihood_of_log_softmax(shape, weighted, reduction):
    make = Make(iskra.float64)
    target = make((shape[0], *shape[2:]), 0, shape[1] - 0.01, dtype=iskra.int64)
    target[::3] = 7  # the ignored class
    settings = {"weight": make((shape[1],), 0.5, 2) if weighted else None, "ignore_index": 7,
                "reduction": reduction}
    scores = make(shape, -9, 9, requires_grad=True)
    losses = functional.cross_entropy(scores, target, **settings)
    expected = functional.nll_loss(functional.log_softmax(scores, 1), target, **settings)
    np.testing.assert_allclose(losses.numpy(force=True), expected.numpy(force=True), rtol=1e-12)
    g = make(losses.shape)
    np.testing.assert_allclose(*(
        iskra.autograd.grad(loss, scores, g)[0].numpy() for loss in (losses, expected)
    ), rtol=1e-11, atol=1e-14)


# Computing operators that kernels do not serve, whatever the call, by what stands in the way.
UNSERVED = {
    "results depend on those before": """cumsum cumprod cummax cummin label_margins named_classes
        ctc_losses ctc_loss_backward""",
    "polynomials of any degree": """chebyshev_polynomial_t chebyshev_polynomial_u
        chebyshev_polynomial_v chebyshev_polynomial_w shifted_chebyshev_polynomial_t
        shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v
        shifted_chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he
        laguerre_polynomial_l legendre_polynomial_p""",
    "as many steps as the integers need": "gcd lcm",
    "bits taken apart": "frexp",
    "complex results": "polar",
    "their parts are served": "glu glu_backward native_group_norm group_norm_backward",
    "products, which have kernels of their own": """mv addmv addbmm linear_backward
        linear_backward_parameters times_adjoint adjoint_times pdist cdist_of
        euclidean_by_product""",
    "windows": """convolution conv_input conv_weight max_windows average_windows average_spread
        adaptive_means adaptive_maxima adaptive_spread fractional_maxima image_to_columns
        columns_to_image unfold_backward edge_fold resample resample_back nearest_back""",
    "elements sent to places": """scatter_add index_add scatter_reduce index_reduce histc put_back
        embedding_backward bags_of_rows""",
    "a shape that no operand has": "mean_backward",
    "random numbers": "rrelu_with_noise",
}


def is_served(name):
    """Whether kernels serve any of an operator's calls on floats, or on integers if it takes those.
    """
    op = OPERATORS[name]
    calls = OTHERS.get(name) or (lambda make: samples_of(op, make) if has_samples(op) else [])
    for dtype in (iskra.float32, iskra.int64):
        try:
            return any(both(op, *call) is not None for call in calls(Make(dtype)))
        except (RuntimeError, NotImplementedError):
            continue  # the operator refuses this dtype
    return False


def test_what_is_not_served_is_listed():
    computing = [name for name, op in OPERATORS.items() if op.computes]
    listed = {name for names in UNSERVED.values() for name in names.split()}
    assert {name for name in computing if not is_served(name)} == listed


@pytest.mark.parametrize("size", [3, 300])
@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss"])
def test_a_body_that_warns_is_run_each_time(loss, size):
    function = getattr(iskra.nn.functional, loss)
    module = {"mse_loss": iskra.nn.MSELoss, "l1_loss": iskra.nn.L1Loss}[loss]()
    column, row = iskra.rand(size, 1), iskra.rand(size)
    expected = function(column.expand(size, size), row.expand(size, size))
    for call in (function, module):
        for _ in range(12):
            with pytest.warns(UserWarning, match=rf"target size \(iskra.Size\(\[{size}\]\)\)") as w:
                assert np.isclose(call(column, row).item(), expected.item(), rtol=1e-5)
            assert w[0].filename == __file__


@pytest.fixture
def fresh(monkeypatch):
    """A function that forgets what the kernel tier knows of an operator, till the test's end."""
    def forget(name):
        op = OPERATORS[name]
        for table in ("launches", "programs", "paths", "direct"):
            monkeypatch.setattr(op, table, {})
        monkeypatch.setattr(op, "fixes_numbers", False)
        return op

    return forget


def test_a_call_that_is_not_traced_fixes_no_numbers_of_others(fresh):
    op, x = fresh("mul"), iskra.rand(5000)
    with iskra.no_grad():
        x * 2j
        x.long() * 2j
        for n in range(20):
            assert graph.run(op, (x._array, np.float32(n + 0.5))) is not graph.UNSERVED
    assert len(programs(op)) == 1


def test_what_is_traced_does_not_hang_on_the_number_that_came_first(fresh):
    for first in (0, 3):
        op, x = fresh("floor_divide"), np.arange(5000)
        for number in (first, 7):
            graph.run(op, (x, np.int64(number)))
        assert graph.run(op, (x, np.int64(7))) is not graph.UNSERVED
        found = graph.run(op, (x.astype(np.float64), np.float64(2.5)))
        np.testing.assert_array_equal(found, x // 2.5)


@pytest.mark.parametrize("order", [(0.0, -0.0), (-0.0, 0.0)])
@pytest.mark.parametrize("name, call, negative", [
    ("add", lambda x, z: iskra.add(-x * 0, x, alpha=z), "-0.0"),
    ("leaky_relu", lambda x, z: functional.leaky_relu(-x, z), "0.0"),
    ("threshold", lambda x, z: functional.threshold(x, 1e9, z), "-0.0"),
    ("masked_fill", lambda x, z: x.masked_fill(x > 0, z), "-0.0"),
    ("floor_divide", lambda x, z: x.long() // z, "-0.0"),
])
def test_zeros_of_both_signs_are_two_numbers(fresh, name, call, negative, order):
    fresh(name)
    x = iskra.arange(1, 5001).float()
    for z in order * 2:
        assert (np.signbit(call(x, z).numpy()) == (str(z) == negative)).all()


def test_a_number_that_programs_hold_for_may_be_nan(fresh):
    op, x = fresh("pow"), iskra.rand(5000)
    for _ in range(3):
        x ** float("nan")
    assert len(programs(op)) == 1


def programs(op):
    """The programs that an operator's body has been traced into."""
    return [found[0] for found in op.programs.values() if isinstance(found, tuple)]


FLOATS_THAT_CHANGE = {
    "add": lambda x, v: iskra.add(x, x, alpha=v),
    "sub": lambda x, v: x.sub(x, alpha=v),
    "addcmul": lambda x, v: x.addcmul(x, x, value=v),
    "addcdiv": lambda x, v: iskra.addcdiv(x, x, x, value=v),
    "fill": lambda x, v: x.clone().fill_(v),
    "full_like": lambda x, v: iskra.full_like(x, v),
    "leaky_relu": lambda x, v: functional.leaky_relu(-x, v),
    "huber_loss": lambda x, v: functional.huber_loss(x, -x, delta=v),
    "masked_fill": lambda x, v: x.masked_fill(x > 1, v),
    "threshold": lambda x, v: functional.threshold(x, v, -v),
    "hardtanh": lambda x, v: functional.hardtanh(x, -v, v),
    "softshrink": lambda x, v: functional.softshrink(x, v),
    "softplus": lambda x, v: functional.softplus(x, v / 100 + 0.5),
    "nan_to_num": lambda x, v: (x / (x > 1)).nan_to_num(posinf=v),
}


@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64, iskra.bfloat16])
@pytest.mark.parametrize("name", FLOATS_THAT_CHANGE)
def test_floats_among_the_settings_are_given_to_one_kernel(fresh, name, dtype):
    x = Make(dtype)((70, 80), 0.5, 2)
    op, call = fresh(name), FLOATS_THAT_CHANGE[name]
    for v in (0.1, 0.3, 1.5, 2.0, 1e-30, 700.0):
        found = call(x, v)
        small = call(x[:3, :4].double(), v).to(dtype) if name != "huber_loss" else (
            functional.huber_loss(x.double(), -x.double(), delta=v).to(dtype))
        assert found.dtype is dtype
        np.testing.assert_allclose(
            (found[:3, :4] if found.dim() else found).double().numpy(), small.double().numpy(),
            rtol={8: 1e-12, 4: 2e-6}.get(x.element_size(), 2e-2))
    # Of this dtype, and of the small operand's.
    assert len(programs(op)) <= 2


def test_numbers_go_the_way_that_the_body_goes_with_them(fresh):
    op, x = fresh("pow"), iskra.linspace(0.1, 3, 5000, dtype=iskra.float64)
    for _ in range(2):
        for exponent in (2.0, 2.25, 0.5, -1.5, 3.0, 7.75, 1e-3):
            np.testing.assert_allclose((x ** exponent).numpy(), x.numpy() ** exponent, rtol=1e-14)
        assert iskra.equal(x ** 2.0, x * x) and iskra.equal(x ** 0.5, x.sqrt())
    assert len(programs(op)) == 4  # squares, roots, cubes, and all others


def test_an_eps_is_given_to_one_kernel(fresh):
    op, x = fresh("native_layer_norm"), iskra.rand(80, 70)
    spread, centred = x.var(1, False, keepdim=True), x - x.mean(1, keepdim=True)
    for eps in (1e-3, 0.25, 7.0):
        iskra.testing.assert_close(
            functional.layer_norm(x, (70,), eps=eps), centred / (spread + eps).sqrt())
    assert len(programs(op)) == 1


def test_what_a_body_refuses_about_a_number_it_refuses_alone(fresh):
    op, x = fresh("hardtanh"), iskra.linspace(-5, 5, 5000)
    for high in (1.5, -2.5, 2.5, -3.5, 1.5):
        if high < -1:
            with pytest.raises(ValueError, match="min_val"):
                functional.hardtanh(x, -1.0, high)
        else:
            assert functional.hardtanh(x, -1.0, high).max().item() == high
    assert len(programs(op)) == 1


def test_a_number_whose_value_a_body_needs_makes_a_program_of_its_own(fresh):
    op, x = fresh("clamp"), np.arange(-3000, 3000)
    for number in (7, 9, 7):
        assert graph.run(op, (x, np.int64(-number), np.int64(number))).max() == number
    assert 1 <= len(programs(op)) <= 2
