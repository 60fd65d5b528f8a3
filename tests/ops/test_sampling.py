"""In-place samplers: `uniform_`, `normal_` and the like. Values: PyTorch 2.13, same seed."""

import numpy as np
import pytest

import iskra
from iskra.core import Generator

FLOATS = [iskra.float32, iskra.float64, iskra.float16, iskra.bfloat16]
SAMPLERS = [
    ("uniform_", ()), ("normal_", ()), ("random_", ()), ("random_", (5,)), ("bernoulli_", ()),
    ("exponential_", ()), ("geometric_", (0.5,)), ("cauchy_", ()), ("log_normal_", ()),
]


def seeded(seed=0):
    return Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "args", "expected"), [
    ("uniform_", (-1, 1), [-0.0074868, 0.5364437, -0.8230452]),
    ("normal_", (), [1.5409961, -0.2934289, -2.1787894]),
    ("normal_", (10, 2), [13.0819922, 9.4131422, 5.6424212]),
    ("random_", (3, 6), [5, 3, 5]),
    ("bernoulli_", (0.8,), [0, 1, 1]),
    ("exponential_", (), [3.5083261, 1.2303848, 0.6150441]),
    ("geometric_", (0.2,), [1, 2, 4]),
    ("cauchy_", (), [10.5977297, 0.7647672, -0.1282993]),
    ("log_normal_", (), [59.2634201, 1.5115600, 0.0348195]),
])
def test_values(name, args, expected):
    t = iskra.zeros(3)
    result = getattr(t, name)(*args, generator=seeded())
    assert result is t
    assert t.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "args"), SAMPLERS)
def test_what_a_write_does(name, args):
    t = iskra.zeros(2, 3)
    version = t._version
    getattr(t, name)(*args)
    assert t._version == version + 1
    leaf = iskra.zeros(3, requires_grad=True)
    state = iskra.get_rng_state().tolist()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        getattr(leaf, name)(*args)
    with pytest.raises(RuntimeError, match="single memory location"):
        getattr(iskra.zeros(3, 1).expand(3, 4), name)(*args)
    assert iskra.get_rng_state().tolist() == state  # nothing was drawn in vain
    with iskra.no_grad():
        getattr(leaf, name)(*args)
    assert leaf.is_leaf and leaf.requires_grad


@pytest.mark.parametrize(("name", "args"), SAMPLERS)
def test_what_was_there_has_a_gradient_of_zero(name, args):
    x = iskra.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 2
    getattr(y[:2], name)(*args)
    y.backward(iskra.ones(4))
    assert x.grad.tolist() == [0, 0, 2, 2]
    z = x * 2
    getattr(z, name)(*args)
    assert type(z.grad_fn).__name__.startswith(name.title().replace("_", ""))
    assert z.requires_grad


@pytest.mark.parametrize(("name", "args"), [s for s in SAMPLERS if s[0] != "normal_"])
def test_tensors_are_filled_along_their_memory(name, args):
    plain = getattr(iskra.zeros(4, 3, 2), name)(*args, generator=seeded())
    turned = iskra.zeros(4, 3, 2).permute(2, 0, 1)
    getattr(turned, name)(*args, generator=seeded())
    assert turned.permute(1, 2, 0).tolist() == plain.tolist()
    gaps = iskra.zeros(8, 3, 4)[::2, :, ::2]
    getattr(gaps, name)(*args, generator=seeded())
    assert gaps.tolist() == plain.tolist()


def test_normal_fills_strided_tensors_pair_by_pair():
    strided = iskra.zeros(40, 2)[:, 0].normal_(generator=seeded()).tolist()
    g = seeded()
    pairs = [iskra.zeros(2).normal_(generator=g).tolist() for _ in range(20)]
    assert strided == [x for pair in pairs for x in pair]
    assert strided != iskra.zeros(40).normal_(generator=seeded()).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_types(dtype):
    for name, args in SAMPLERS:
        t = getattr(iskra.zeros(50, dtype=dtype), name)(*args)
        assert t.dtype is dtype and np.isfinite(t.to(iskra.float64)._array).all()
    uniform = iskra.zeros(3000, dtype=dtype).uniform_().to(iskra.float64)._array
    assert 0 <= uniform.min() and uniform.max() < 1


def test_random_without_bounds_goes_as_far_as_the_type():
    assert set(iskra.zeros(50, dtype=iskra.bool).random_().tolist()) == {True, False}
    small = iskra.zeros(5000, dtype=iskra.int8).random_()._array
    assert (small.min(), small.max()) == (0, 127)
    narrow = iskra.zeros(9000, dtype=iskra.bfloat16).random_().to(iskra.float32)._array
    assert (narrow.min(), narrow.max()) == (0, 256)
    lower = iskra.zeros(1000, dtype=iskra.uint8).random_(250, None)._array
    assert (lower.min(), lower.max()) == (250, 255)
    wide = iskra.zeros(100, dtype=iskra.int64).random_(-(2**63), None)._array
    assert wide.min() < -(2**60) and wide.max() > 2**60


def test_from_is_a_keyword_too():
    a = iskra.zeros(9).random_(**{"from": 2, "to": 5}, generator=seeded())
    assert a.tolist() == iskra.zeros(9).random_(2, 5, generator=seeded()).tolist()
    b = iskra.zeros(9).uniform_(**{"from": 2}, to=5, generator=seeded())
    assert b.tolist() == iskra.zeros(9).uniform_(2, 5, generator=seeded()).tolist()
    assert iskra.zeros(9).random_(to=1).tolist() == [0] * 9


def test_bernoulli_with_a_tensor():
    p = iskra.tensor([0.0, 1.0, 1.0])
    t = iskra.zeros(2, 3, dtype=iskra.int64).bernoulli_(p)
    assert t.tolist() == [[0, 1, 1], [0, 1, 1]]
    turned = iskra.zeros(3, 2).t().bernoulli_(p)
    assert turned.tolist() == [[0, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda t: t.uniform_(2, 1), RuntimeError, "from=2 > to=1"),
    (lambda t: t.uniform_(0, 1e39), RuntimeError, "to is out of bounds"),
    (lambda t: t.uniform_(-3e38, 3e38), RuntimeError, "to-from"),
    (lambda t: t.uniform_("a"), TypeError, "'from' must be float, not str"),
    (lambda t: t.long().uniform_(), NotImplementedError, "Long"),
    (lambda t: t.normal_(0, -1), RuntimeError, "std -1"),
    (lambda t: t.normal_(0, float("nan")), RuntimeError, "std nan"),
    (lambda t: t.long().normal_(), NotImplementedError, "Long"),
    (lambda t: t.random_(5, 3), RuntimeError, "from=5 >= to=3"),
    (lambda t: t.random_(0), RuntimeError, "from=0 >= to=0"),
    (lambda t: t.random_(2**63), ValueError, "Overflow"),
    (lambda t: t.byte().random_(256, 257), RuntimeError, "out of bounds"),
    (lambda t: t.bernoulli_(1.5), RuntimeError, "p=1.5"),
    (lambda t: t.bernoulli_(iskra.tensor(1.5)), RuntimeError, r"\[0, 1\]"),
    (lambda t: t.bernoulli_(iskra.ones(2)), RuntimeError, "expanded"),
    (lambda t: t.bernoulli_(iskra.ones(3, dtype=iskra.int64)), NotImplementedError, "Long"),
    (lambda t: t.exponential_(0), RuntimeError, "lambda=0"),
    (lambda t: t.long().exponential_(), RuntimeError, "floating"),
    (lambda t: t.geometric_(0), RuntimeError, "p=0"),
    (lambda t: t.geometric_(1), RuntimeError, "p=1"),
    (lambda t: t.geometric_(), TypeError, "p"),
    (lambda t: t.cauchy_(0, 0), RuntimeError, "sigma=0"),
    (lambda t: t.log_normal_(0, 0), RuntimeError, "std=0"),
])
def test_refusals_change_nothing(call, error, match):
    t = iskra.ones(3)
    state = iskra.get_rng_state().tolist()
    with pytest.raises(error, match=match):
        call(t)
    assert t.tolist() == [1, 1, 1]
    assert iskra.get_rng_state().tolist() == state


def test_empty_tensors_are_checked_too():
    with pytest.raises(RuntimeError):
        iskra.empty(0).exponential_(0)
    assert iskra.empty(0, 3).normal_().shape == (0, 3)
    assert iskra.empty(0, dtype=iskra.int64).normal_().shape == (0,)


@pytest.mark.parametrize(("name", "args"), [*SAMPLERS, ("uniform_", (-2, 5)), ("normal_", (1, 3))])
@pytest.mark.parametrize("view", ["t", "t.transpose(0, 2)", "t[:, 1:3, ::2]", "t[1]"])
def test_beside_pytorch(name, args, view):
    torch = pytest.importorskip("torch")
    found = []
    for module in (iskra, torch):
        module.manual_seed(5)
        t = module.zeros(3, 4, 5)
        getattr(eval(view, {"t": t}), name)(*args)
        found += [t.tolist(), module.get_rng_state().tolist()]
    assert found[0] == found[2]
    assert found[1] == found[3]
