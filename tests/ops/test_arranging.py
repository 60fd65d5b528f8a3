"""Operators that bring elements to other places: called often, of any layout and dtype."""

import numpy as np
import pytest

import iskra
from iskra.nn import functional as F

DTYPES = [iskra.float32, iskra.float64, iskra.bfloat16, iskra.int64, iskra.bool, iskra.complex64]
CALLS = {
    "flip": (lambda x: x.flip(0, -1), lambda x: np.flip(x, (0, -1))),
    "flip, a tuple": (lambda x: x.flip((-1,)), lambda x: np.flip(x, -1)),
    "rot90": (lambda x: x.rot90(), np.rot90),
    "rot90 back": (lambda x: x.rot90(-1, (1, 0)), lambda x: np.rot90(x, -1, (1, 0))),
    "roll": (lambda x: x.roll((2, -1), (0, 1)), lambda x: np.roll(x, (2, -1), (0, 1))),
    "roll twice": (lambda x: x.roll((2, 1), (0, 0)), lambda x: np.roll(x, 3, 0)),
    "roll all": (lambda x: x.roll(5), lambda x: np.roll(x, 5)),
    "tril": (lambda x: x.tril(1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: x.triu(-1), lambda x: np.triu(x, -1)),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3))),
    "repeat nothing": (lambda x: x.repeat(0, 2), lambda x: np.tile(x, (0, 2))),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, 1), lambda x: np.repeat(x, 3, 1)),
    "repeat_interleave all": (lambda x: x.repeat_interleave(2), lambda x: np.repeat(x, 2)),
    "diag_embed": (lambda x: x.diag_embed(1), lambda x: np.stack([np.diag(r, 1) for r in x])),
    "contiguous": (lambda x: x.contiguous(), lambda x: x),
    "clone": (lambda x: x.clone(memory_format=iskra.contiguous_format), lambda x: x),
}
LAYOUTS = {
    "rows": lambda x: x, "columns": lambda x: x.t().contiguous().t(),
    "steps": lambda x: x[::2, 1::3], "one row": lambda x: x[:1].expand(9, -1),
    "empty": lambda x: x[:0],
}


def plain(tensor):
    """The tensor's elements, for NumPy's eyes."""
    return (tensor.float() if tensor.dtype is iskra.bfloat16 else tensor).numpy()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_often_called(name, layout, dtype):
    call, expected = CALLS[name]
    if layout == "empty" and name == "diag_embed":
        pytest.skip("NumPy stacks no matrices")
    for size in (5, 80):
        for seed in range(12):
            whole = iskra.tensor(np.random.default_rng(seed).normal(size=(size, size)) * 3)
            given = LAYOUTS[layout]((whole > 0) if dtype is iskra.bool else whole.to(dtype))
            found = call(given)
            np.testing.assert_array_equal(plain(found), expected(plain(given)))
            assert found.is_contiguous()


@pytest.mark.parametrize("name", [n for n in CALLS if n != "repeat nothing"])
def test_gradients_of_often_called(name):
    call, _ = CALLS[name]
    for seed in range(14):
        x = iskra.tensor(np.random.default_rng(seed).normal(size=(5, 6)), requires_grad=True)
        weight = iskra.tensor(np.random.default_rng(seed).normal(size=call(x).shape))
        (found,) = iskra.autograd.grad(call(x), x, weight)
        moved = call(x.detach() * 0 + iskra.arange(30.0).reshape(5, 6) + 1)  # where each went
        sums = iskra.zeros(31, dtype=iskra.float64).index_add(
            0, moved.reshape(-1).long(), weight.reshape(-1))
        np.testing.assert_allclose(found.numpy().reshape(-1), sums[1:].numpy(), 1e-12, 1e-12)


def test_a_last_dimension_of_one_element():
    """One element seen everywhere is not taken for neighbours in memory."""
    held = iskra.arange(20.0)
    for shape in [(300, 40, 1), (1, 300, 40), (300, 1, 40), (3, 4, 1), (24, 1)]:
        for n in range(12):
            seen = held[n].expand(shape)
            assert (seen * 2.5).eq(iskra.full(shape, 2.5 * n)).all()
            assert (seen + iskra.ones(shape)).eq(iskra.full(shape, n + 1.0)).all()
            assert seen.sum().item() == n * seen.numel()
            assert F.relu(seen).sum(0).eq(n * shape[0]).all()


@pytest.mark.parametrize("size", [6, 90])
def test_writes_across_the_order_of_what_is_read(size):
    """The target's order is kept, whatever the operands'."""
    for seed in range(12):
        values = np.random.default_rng(seed).normal(size=(2, size, size))
        for layout in LAYOUTS:
            if layout in ("one row", "empty"):
                continue
            target, source = iskra.tensor(values[0]), iskra.tensor(values[1])
            seen = LAYOUTS[layout](target)
            shape = seen.shape
            other = source.t()[:shape[0], :shape[1]]
            assert seen.copy_(other) is seen and seen.equal(other)
            seen.mul_(2).add_(other)
            np.testing.assert_allclose(seen.numpy(), other.numpy() * 3)


def test_positive_is_the_tensor_itself():
    x = iskra.ones(3, requires_grad=True)
    assert iskra.positive(x) is x and x.positive() is x and +x is x
    with pytest.raises(RuntimeError, match="bool"):
        iskra.positive(x > 0)


def test_few_and_many_places_of_triangles():
    for rows, columns, offset in [(3, 5, 1), (3, 5, -9), (0, 4, 0), (70, 80, 3)]:
        for name in ("tril_indices", "triu_indices"):
            found = getattr(iskra, name)(rows, columns, offset)
            expected = np.stack(getattr(np, name)(rows, offset, columns))
            np.testing.assert_array_equal(found.numpy(), expected)
            found += 1  # what is kept for the next call is not the caller's
