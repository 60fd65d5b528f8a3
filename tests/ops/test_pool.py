"""Pooling: by hand, against PyTorch with every setting, gradients, errors."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn import functional as F

SHAPES = {1: (2, 3, 11), 2: (2, 3, 9, 8), 3: (1, 2, 6, 7, 5)}


def agree(call, *arrays):
    """The same values, indices and gradients from both libraries."""
    reference = pytest.importorskip("torch")
    found = []
    for lib in (torch, reference):
        tensors = [lib.tensor(a) for a in arrays]
        tensors[0].requires_grad_()
        result = call(lib, *tensors)
        parts = result if isinstance(result, tuple) else (result,)
        (parts[0] * parts[0]).sum().backward()
        found.append([p.detach().numpy() for p in parts] + [tensors[0].grad.numpy()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-12)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("settings", [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 1}, {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "dilation": 2},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
])
@pytest.mark.parametrize("indices", [False, True])
def test_max_pool_is_pytorchs(rank, settings, indices):
    def call(lib, x):
        pool = getattr(lib.nn.functional, f"max_pool{rank}d")
        return pool(x, return_indices=indices, **settings)

    agree(call, draw(SHAPES[rank]))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("settings", [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 1}, {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
])
def test_avg_pool_is_pytorchs(rank, settings):
    agree(
        lambda lib, x: getattr(lib.nn.functional, f"avg_pool{rank}d")(x, **settings),
        draw(SHAPES[rank]),
    )


@pytest.mark.parametrize("rank", [2, 3])
def test_a_divisor_takes_the_place_of_the_count(rank):
    agree(
        lambda lib, x: getattr(lib.nn.functional, f"avg_pool{rank}d")(x, 2, divisor_override=3),
        draw(SHAPES[rank]),
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools_are_pytorchs(rank, size, kind):
    agree(
        lambda lib, x: getattr(lib.nn.functional, f"adaptive_{kind}_pool{rank}d")(x, size),
        draw(SHAPES[rank]),
    )


def test_adaptive_pools_keep_sizes_that_are_none():
    x = torch.ones(1, 2, 5, 4)
    assert F.adaptive_avg_pool2d(x, (None, 2)).shape == (1, 2, 5, 2)
    assert F.adaptive_max_pool2d(x, (2, None)).shape == (1, 2, 2, 4)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_lp_pools_are_pytorchs(rank, power):
    agree(
        lambda lib, x: getattr(lib.nn.functional, f"lp_pool{rank}d")(x, power, 2, 2),
        np.abs(draw(SHAPES[rank])) + 0.1,
    )


@pytest.mark.parametrize(("rank", "kernel", "size"), [
    (2, (2, 3), (4, 3)), (2, 2, 3), (3, (2, 3, 2), (3, 3, 2)), (3, 2, 2), (2, 3, (1, 1)),
])
@pytest.mark.parametrize("seed", range(4))
def test_fractional_pools_take_the_same_windows_as_pytorch(rank, kernel, size, seed):
    shape = SHAPES[rank]
    samples = np.random.default_rng(seed).uniform(size=(*shape[:2], rank))

    def call(lib, x, chosen):
        pool = getattr(lib.nn.functional, f"fractional_max_pool{rank}d")
        return pool(x, kernel, output_size=size, return_indices=True, _random_samples=chosen)

    agree(call, draw(shape, seed), samples)


@pytest.mark.parametrize("rank", [2, 3])
def test_fractional_pools_draw_as_pytorch_does(rank):
    def call(lib, x):
        lib.manual_seed(3)
        return getattr(lib.nn.functional, f"fractional_max_pool{rank}d")(
            x, 2, output_ratio=(0.5,) * rank
        )

    agree(call, draw(SHAPES[rank]))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling_puts_maxima_back(rank):
    x = torch.tensor(draw(SHAPES[rank]))
    pool, unpool = getattr(F, f"max_pool{rank}d"), getattr(F, f"max_unpool{rank}d")
    values, places = pool(x, 2, 2, return_indices=True)
    back = unpool(values, places, 2, 2, output_size=x.shape)
    assert back.shape == x.shape and (back != 0).sum() == values.numel()
    assert torch.equal(pool(back, 2, 2).maximum(torch.zeros(())), values.maximum(torch.zeros(())))


def test_maxima_by_hand():
    x = torch.tensor([[[1.0, 5.0, float("nan"), 3.0, 7.0, 7.0]]], requires_grad=True)
    values, places = F.max_pool1d(x, 2, return_indices=True)
    assert values[0, 0, 0] == 5 and values[0, 0, 1].isnan() and places.tolist() == [[[1, 2, 4]]]
    values[0, 0, 2].backward()
    assert x.grad.tolist() == [[[0, 0, 0, 0, 1, 0]]]


def test_means_by_hand():
    x = torch.arange(1.0, 5.0).reshape(1, 1, 4)
    assert F.avg_pool1d(x, 2).tolist() == [[[1.5, 3.5]]]
    assert F.avg_pool1d(x, 3, 2, 1).tolist() == [[[1, 3]]]
    assert F.avg_pool1d(x, 3, 2, 1, count_include_pad=False).tolist() == [[[1.5, 3]]]
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[[1.5, 2.5, 3.5]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_floats(dtype):
    x = torch.tensor(draw((1, 2, 6, 6))).to(dtype)
    assert torch.equal(F.max_pool2d(x, 2), F.max_pool2d(x.float(), 2).to(dtype))
    assert torch.equal(F.avg_pool2d(x, 2), F.avg_pool2d(x.float(), 2).to(dtype))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_layouts_and_batches(name):
    pool = getattr(F, name)
    x = torch.tensor(draw((2, 3, 6, 8)))
    expected = pool(x, 2)
    assert torch.equal(pool(x.transpose(2, 3).contiguous().transpose(2, 3), 2), expected)
    assert torch.equal(pool(x[0], 2), expected[0])
    assert pool(x[:0], 2).shape == (0, 3, 3, 4)


@pytest.mark.parametrize("call, message", [
    (lambda x: F.max_pool2d(x, 9), "too small|smaller|Output size"),
    (lambda x: F.max_pool2d(x, 2, padding=2), "half"), (lambda x: F.avg_pool2d(x, 2, 0),
             "zero|stri"),
    (lambda x: F.max_pool2d(x, 2, dilation=0), "dilation"),
    (lambda x: F.avg_pool2d(x, 2, padding=2), "half"), (lambda x: F.max_pool2d(x, (2, 2, 2)),
             "kern"),
    (lambda x: F.max_pool2d(x[0, 0], 2), "3D|4D|dim"), (lambda x: F.avg_pool3d(x[0], 2),
             "4D|5D|dim"),
    (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor"),
    (lambda x: F.fractional_max_pool2d(x, 5, output_size=4), "too large"),
    (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), "output_size"),
    (lambda x: F.adaptive_avg_pool2d(x, -1), "non-negative|greater"),
])
def test_what_pools_refuse(call, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        call(torch.ones(1, 2, 6, 6))


def test_other_refusals():
    x = torch.ones(1, 2, 6, 6)
    with pytest.raises(ValueError, match="requires specifying"):
        F.fractional_max_pool2d(x, 2)
    for size in (1.5, (2, 2.5)):
        with pytest.raises(TypeError, match="must be int"):
            F.adaptive_avg_pool2d(x, size)
    with pytest.raises(NotImplementedError):
        F.max_pool2d(torch.ones(1, 2, 6, 6, dtype=torch.complex64), 2)
