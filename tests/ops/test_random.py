"""rand, randn, randint, randperm, their *_like forms, and distributions given by tensors.

Literal values: PyTorch 2.13 on the CPU with the same seed.
"""

import warnings

import numpy as np
import pytest

import iskra
from iskra.core import Generator


def seeded(seed=0):
    return Generator().manual_seed(seed)


def array(t):
    return t._array


def test_known_numbers():
    iskra.manual_seed(0)
    assert iskra.rand(3).tolist() == pytest.approx([0.4962566, 0.7682218, 0.0884774], abs=1e-7)
    iskra.manual_seed(0)
    assert iskra.randint(10, (5,)).tolist() == [4, 9, 3, 0, 3]
    iskra.manual_seed(0)
    assert iskra.randperm(6).tolist() == [2, 5, 3, 0, 1, 4]
    iskra.manual_seed(0)
    assert iskra.randn(3).tolist() == pytest.approx([1.5409961, -0.2934289, -2.1787894], abs=1e-6)


def test_a_generator_leaves_the_default_one_alone():
    iskra.manual_seed(1)
    state = iskra.get_rng_state().tolist()
    iskra.rand(5, generator=seeded())
    iskra.randperm(5, generator=seeded())
    iskra.bernoulli(iskra.rand(3, generator=seeded()), generator=seeded())
    assert iskra.get_rng_state().tolist() == state


@pytest.mark.parametrize("make", [iskra.rand, iskra.randn])
def test_sizes_and_settings(make):
    assert make(2, 3).shape == make((2, 3)).shape == make([2, 3]).shape == (2, 3)
    assert make(()).shape == () and make(0, 4).shape == (0, 4)
    assert make(size=(2,)).dtype is iskra.float32
    assert make(2, dtype=iskra.float64).dtype is iskra.float64
    assert make(2, dtype=iskra.complex64).dtype is iskra.complex64
    assert make(2, requires_grad=True).requires_grad
    assert make(2, requires_grad=True).is_leaf
    meta = make(2, 3, device="meta")
    assert meta.is_meta and meta.shape == (2, 3)


@pytest.mark.parametrize("make", [iskra.rand, iskra.randn])
@pytest.mark.parametrize(("size", "error"), [
    ((3, -1), RuntimeError), (("a",), TypeError), ((2.0,), TypeError), ((True,), TypeError),
    (((2,), (3,)), TypeError), ((), TypeError),
])
def test_bad_sizes_draw_nothing(make, size, error):
    state = iskra.get_rng_state().tolist()
    with pytest.raises(error):
        make(*size)
    assert iskra.get_rng_state().tolist() == state


@pytest.mark.parametrize("dtype", [iskra.int64, iskra.bool, iskra.float8_e5m2])
def test_only_floats_are_uniform_or_normal(dtype):
    for call in (iskra.rand, iskra.randn):
        with pytest.raises(NotImplementedError, match="not implemented for"):
            call(2, dtype=dtype)
    with pytest.raises(TypeError, match="dtype"):
        iskra.rand(2, dtype="float32")


def test_generator_must_be_one():
    with pytest.raises(TypeError, match="generator"):
        iskra.rand(2, generator=3)
    with pytest.raises(TypeError, match="generator"):
        iskra.rand(2).uniform_(generator=3)


def test_drawing_on_meta_draws_nothing():
    state = iskra.get_rng_state().tolist()
    iskra.rand(3, device="meta")
    iskra.randperm(3, device="meta")
    iskra.randn_like(iskra.empty(3, device="meta")).uniform_().bernoulli_()
    assert iskra.bernoulli(iskra.empty(3, device="meta")).is_meta
    assert iskra.multinomial(iskra.empty(3, device="meta"), 2).shape == (2,)
    assert iskra.poisson(iskra.empty(3, device="meta")).is_meta
    assert iskra.normal(iskra.empty(3, device="meta"), 1.0).is_meta
    assert iskra.get_rng_state().tolist() == state


# randint

def test_randint_may_be_called_in_several_ways():
    expected = iskra.randint(0, 7, (4,), generator=seeded()).tolist()
    for args, kwargs in [
        ((7, (4,)), {}), ((7,), dict(size=(4,))), ((), dict(high=7, size=(4,))),
        ((0,), dict(high=7, size=[4])), ((), dict(low=0, high=7, size=(4,))),
    ]:
        assert iskra.randint(*args, generator=seeded(), **kwargs).tolist() == expected
    assert iskra.randint(5, ()).shape == ()


def test_randint_dtypes():
    for dtype in (iskra.uint8, iskra.int32, iskra.float32, iskra.bfloat16, iskra.bool):
        drawn = iskra.randint(0, 2, (50,), dtype=dtype)
        assert drawn.dtype is dtype
        assert set(np.unique(array(drawn.to(iskra.float32))).tolist()) == {0.0, 1.0}
    assert iskra.randint(-(2**63), 2**63 - 1, (2,), generator=seeded()).dtype is iskra.int64


@pytest.mark.parametrize(("args", "kwargs", "error", "match"), [
    ((5, 3, (2,)), {}, RuntimeError, "from=5 >= to=3"),
    ((0, (2,)), {}, RuntimeError, "from=0 >= to=0"),
    ((2.5, (2,)), {}, TypeError, "must be int, not float"),
    ((5,), {}, TypeError, "size"),
    ((5, 2), {}, TypeError, "size"),
    ((0, 300, (2,)), dict(dtype=iskra.uint8), RuntimeError, "to - 1 is out of bounds"),
    ((-1, 3, (2,)), dict(dtype=iskra.uint8), RuntimeError, "from is out of bounds"),
    ((0, 3, (2,)), dict(dtype=iskra.bool), RuntimeError, "out of bounds"),
    ((0, 70000, (2,)), dict(dtype=iskra.float16), RuntimeError, "out of bounds"),
    ((0, 3, (2,)), dict(dtype=iskra.complex64), RuntimeError, "handles only"),
    ((2**63, (2,)), {}, ValueError, "Overflow"),
    ((5, (2,)), dict(requires_grad=True), RuntimeError, "Only Tensors of floating point"),
])
def test_randint_refuses(args, kwargs, error, match):
    state = iskra.get_rng_state().tolist()
    with pytest.raises(error, match=match):
        iskra.randint(*args, **kwargs)
    assert iskra.get_rng_state().tolist() == state


def test_randint_warns_where_a_float_type_skips_integers():
    with pytest.warns(UserWarning, match=r"2\^11"):
        iskra.randint(0, 3000, (2,), dtype=iskra.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iskra.randint(0, 2049, (2,), dtype=iskra.float16)


def test_randperm():
    drawn = iskra.randperm(100, dtype=iskra.int16)
    assert drawn.dtype is iskra.int16
    assert sorted(drawn.tolist()) == list(range(100))
    assert iskra.randperm(0).shape == (0,)
    assert iskra.randperm(256, dtype=iskra.uint8).dtype is iskra.uint8
    for n, dtype in ((257, iskra.uint8), (129, iskra.int8), (2050, iskra.float16)):
        with pytest.raises(RuntimeError, match="cannot be greater"):
            iskra.randperm(n, dtype=dtype)
    with pytest.raises(RuntimeError, match="negative"):
        iskra.randperm(-1)
    with pytest.raises(TypeError):
        iskra.randperm(2.5)
    with pytest.raises(NotImplementedError):
        iskra.randperm(3, dtype=iskra.bool)


def test_like():
    x = iskra.rand(2, 3, 4, generator=seeded()).transpose(0, 2)
    for like, make in ((iskra.rand_like, iskra.rand), (iskra.randint_like, None)):
        args = () if make else (3,)
        result = like(x, *args, generator=seeded(1))
        assert result.shape == x.shape and result.stride() == x.stride()
        assert result.dtype is x.dtype and not result.requires_grad
        plain = like(x.transpose(0, 2), *args, generator=seeded(1))
        assert result.transpose(0, 2).tolist() == plain.tolist()  # drawn along memory
    assert iskra.rand_like(x, memory_format=iskra.contiguous_format).is_contiguous()
    assert iskra.rand_like(iskra.ones(2, dtype=iskra.int64), dtype=iskra.float64).shape == (2,)
    assert iskra.randn_like(x, requires_grad=True).requires_grad
    assert iskra.randint_like(x, 2, 3).tolist() == iskra.ones_like(x).mul(2).tolist()
    image = iskra.rand(2, 3, 4, 5)
    last = iskra.rand_like(image, memory_format=iskra.channels_last, generator=seeded())
    assert last.is_contiguous(iskra.channels_last)
    with pytest.raises(NotImplementedError):
        iskra.rand_like(iskra.ones(2, dtype=iskra.int64))
    with pytest.raises(TypeError, match="must be Tensor"):
        iskra.randn_like([1.0])


# normal, bernoulli, multinomial, poisson, binomial

def test_normal_of_tensors():
    mean, std = iskra.tensor([10.0, 20.0, 30.0]), iskra.tensor([1.0, 0.0, 2.0])
    z = iskra.randn(3, generator=seeded())
    assert iskra.normal(mean, std, generator=seeded()).tolist() == (z * std + mean).tolist()
    assert iskra.normal(mean, 3.0, generator=seeded()).tolist() == (
        iskra.empty(3).normal_(0, 3.0, generator=seeded()) + mean).tolist()
    assert iskra.normal(5.0, std, generator=seeded()).tolist() == (z * std + 5).tolist()
    assert iskra.normal(mean, generator=seeded()).tolist() == (z + mean).tolist()
    assert iskra.normal(mean[:, None], std).shape == (3, 3)
    assert iskra.normal(2, 3, (4, 5)).shape == (4, 5)
    assert iskra.normal(2.0, 1.0, (2,), dtype=iskra.float64).dtype is iskra.float64


@pytest.mark.parametrize(("args", "error"), [
    ((0.0, -1.0, (2,)), RuntimeError), ((0.0, 1.0), TypeError),
    ((iskra.ones(2), -1.0), RuntimeError), ((iskra.ones(2), -iskra.ones(2)), RuntimeError),
    ((iskra.ones(2), iskra.ones(3)), RuntimeError),
    ((iskra.ones(2, dtype=iskra.int64), 1.0), NotImplementedError),
    ((0.0, iskra.ones(2, dtype=iskra.complex64)), RuntimeError),
])
def test_normal_refuses(args, error):
    with pytest.raises(error):
        iskra.normal(*args)


def test_samples_have_a_zero_gradient():
    for sample in (
        iskra.bernoulli, iskra.poisson, lambda p: iskra.normal(p, 1.0),
        lambda p: iskra.normal(1.0, p), lambda p: iskra.normal(p, p),
    ):
        p = iskra.tensor([0.25, 0.5], requires_grad=True)
        sample(p).backward(iskra.ones(2))
        assert p.grad.tolist() == [0, 0]


def test_bernoulli():
    p = iskra.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert iskra.bernoulli(p).tolist() == p.tolist()
    assert p.bernoulli().tolist() == p.tolist()
    assert iskra.bernoulli(p, 1.0).tolist() == [[1, 1], [1, 1]]
    whole = iskra.bernoulli(iskra.ones(3, dtype=iskra.int64), p=0.0)
    assert whole.dtype is iskra.int64 and whole.tolist() == [0, 0, 0]
    for bad in (iskra.tensor([1.5]), iskra.tensor([-0.1]), iskra.tensor([float("nan")])):
        with pytest.raises(RuntimeError):
            iskra.bernoulli(bad)
    with pytest.raises(RuntimeError, match="p=2"):
        iskra.bernoulli(p, 2.0)
    with pytest.raises(NotImplementedError):
        iskra.bernoulli(iskra.ones(3, dtype=iskra.int64))


def test_multinomial():
    weights = iskra.tensor([0.0, 10.0, 3.0, 0.0])
    assert weights.multinomial(4, True, generator=seeded()).tolist() == [2, 1, 1, 2]
    assert set(iskra.multinomial(weights, 2).tolist()) == {1, 2}
    rows = iskra.multinomial(iskra.ones(3, 5), 5)
    assert [sorted(r) for r in rows.tolist()] == [[0, 1, 2, 3, 4]] * 3
    assert rows.dtype is iskra.int64 and not rows.requires_grad
    assert iskra.multinomial(iskra.ones(0, 3), 2).shape == (0, 2)


@pytest.mark.parametrize(("weights", "count", "replacement", "match"), [
    ([1.0, 1.0], 3, False, "without replacement"), ([1.0], 0, True, "n_sample <= 0"),
    ([0.0, 0.0], 1, False, "sum of probabilities"), ([0.0, 0.0], 2, True, "sum of prob"),
    ([-1.0, 2.0], 2, True, "entry < 0"), ([float("inf"), 2.0], 2, True, "infinity"),
    ([-1.0, 2.0], 1, False, "`inf`, `nan` or element < 0"),
    ([[1.0, 0.0], [0.0, 0.0]], 1, False, "sum of probabilities"),
    ([[[1.0]]], 1, False, "1 or 2 dim"), (1.0, 1, False, "1 or 2 dim"),
    ([1, 2], 1, False, "floating-point"), ([], 1, True, "no categories"),
])
def test_multinomial_refuses(weights, count, replacement, match):
    with pytest.raises(RuntimeError, match=match):
        iskra.multinomial(iskra.tensor(weights), count, replacement)


def test_poisson_and_binomial():
    rate = iskra.tensor([0.0, 2.0, 50.0])
    assert iskra.poisson(rate, seeded()).tolist() == [0, 6, 47]
    assert iskra.poisson(rate.to(iskra.float16)).dtype is iskra.float16
    for bad in (-rate, rate * float("nan")):
        with pytest.raises(RuntimeError, match="rate"):
            iskra.poisson(bad)
    with pytest.raises(NotImplementedError):
        iskra.poisson(iskra.ones(2, dtype=iskra.int64))
    count = iskra.tensor([100.0, 10.0])
    assert iskra.binomial(count, iskra.tensor(0.5), seeded()).tolist() == [49, 6]
    with pytest.raises(RuntimeError, match="dtype"):
        iskra.binomial(count, iskra.tensor(0.5, dtype=iskra.float64))
    with pytest.raises(ValueError, match="floating"):
        iskra.binomial(iskra.ones(2, dtype=iskra.int64), iskra.tensor(0.5))


@pytest.mark.parametrize("make", [
    lambda m, **k: m.rand(4, **k), lambda m, **k: m.randn(20, **k),
    lambda m, **k: m.randint(3, (4,), **k), lambda m, **k: m.randperm(5, **k),
    lambda m, **k: m.normal(1.0, 2.0, (3,), **k),
])
def test_out(make):
    out = iskra.empty(0, dtype=iskra.float64)
    result = make(iskra, out=out, generator=seeded())
    assert result is out
    expected = make(iskra, dtype=iskra.float64, generator=seeded())
    assert out.tolist() == expected.tolist()  # drawn in the dtype of `out`


@pytest.mark.parametrize("call", [
    "rand(3, 4, 5, dtype={}.float64)", "randn(17, 3)", "randn(17, 3, dtype={}.bfloat16)",
    "randn(3, 3, dtype={}.complex64)", "randint(-5, 70000, (9,))", "randint(2**40, (3,))",
    "randperm(3001)", "rand(5).bernoulli()", "normal({}.rand(4).half(), {}.rand(4))",
    "normal(0.3, {}.rand(4).bfloat16())", "multinomial({}.rand(100, 7).t(), 5)",
    "multinomial({}.rand(7, 100).double(), 9, True)", "poisson({}.rand(40).t() * 30)",
    "rand_like({}.rand(3, 4, 5)[:, ::2].transpose(0, 1))", "bernoulli({}.rand(3, 4).t())",
])
def test_beside_pytorch(call):
    torch = pytest.importorskip("torch")
    found = []
    for name, module in (("iskra", iskra), ("torch", torch)):
        module.manual_seed(11)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(eval(f"module.{call.replace('{}', name)}"))
        found.append(module.get_rng_state())
    ours, state, theirs, their_state = found
    assert ours.tolist() == theirs.tolist()
    assert ours.stride() == theirs.stride()
    assert str(ours.dtype) == str(theirs.dtype).replace("torch", "iskra")
    assert bytes(array(state)) == bytes(their_state.numpy())
