"""Gathers, scatters, joins and bags in machine code: against NumPy, element by element."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra.codegen.kernels import bags, gathers, joins, scatter_kernel, scatters
from iskra.nn import functional as F
from iskra.runtime import native

DTYPES = ["f4", "f8", "i8", "i2", "u1", "?", "c8", "c16", "f2"]
SHAPES = [(7,), (131,), (5, 131), (4, 1, 37), (3, 20, 17), (33, 70), (2, 300)]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    serve_small(monkeypatch)


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def elements(rng, shape, dtype):
    found = rng.normal(size=shape) * 20
    return found.astype(dtype) if dtype != "?" else found > 0


def index_like(rng, array, axis, count, kind, low=0):
    """Indices along an axis, as many as `count`, for each place along the others."""
    shape = array.shape[:axis] + (count,) + array.shape[axis + 1:]
    return rng.integers(low, array.shape[axis], shape).astype(kind)


# Reading


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["i4", "i8"])
def test_take(dtype, kind, rng):
    for shape in SHAPES:
        array = elements(rng, shape, dtype)
        for axis in range(array.ndim):
            for index_shape in [(1,), (40,), (3, 13), ()]:
                index = rng.integers(-shape[axis], shape[axis], index_shape).astype(kind)
                for how in LAYOUTS:
                    found = gathers.take(laid_out(array, how), np.array(index), axis, True)
                    np.testing.assert_array_equal(found, np.take(array, index, axis))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d[0] != "c"])
@pytest.mark.parametrize("kind", ["i4", "i8"])
def test_take_along(dtype, kind, rng):
    for shape in SHAPES:
        array = elements(rng, shape, dtype)
        for axis in range(array.ndim):
            for count in (1, 5, 60):
                index = index_like(rng, array, axis, count, kind)
                for how in LAYOUTS:
                    found = gathers.take_along(laid_out(array, how), laid_out(index, how), axis)
                    np.testing.assert_array_equal(found, np.take_along_axis(array, index, axis))


def test_an_index_that_repeats_a_vector(rng):
    array = elements(rng, (40, 50), "f4")
    index = np.broadcast_to(rng.integers(0, 40, (30, 1)), (30, 50))
    np.testing.assert_array_equal(gathers.take_along(array, index, 0),
                                  np.take_along_axis(array, index, 0))
    target, values = np.zeros((40, 50), "f4"), elements(rng, (30, 50), "f4")
    assert scatters.scatter_along("add", target, index, values, 0)
    expected = np.zeros((40, 50), "f4")
    np.add.at(expected, index[:, 0], values)
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("kind", ["i4", "i8"])
@pytest.mark.parametrize("wrong", [40, -41, -1, 2**31 - 1, -(2**31)])
def test_indices_outside_are_not_served(kind, wrong, rng):
    array = elements(rng, (40, 30), "f4")
    for place in (0, 17, 69):
        index = rng.integers(0, 40, 70).astype(kind)
        index[place] = wrong
        served = wrong == -1
        assert gathers.take(array, index, 0) is None
        assert (gathers.take(array, index, 0, True) is not None) == served
        assert (gathers.take(np.ascontiguousarray(array[:, 0]), index, 0, True) is not None
                ) == served
        spread = np.ascontiguousarray(np.broadcast_to(index[:, None], (70, 30)))
        assert gathers.take_along(array, spread, 0) is None
        assert gathers.take_along(array.T, spread.T, 1) is None
        values = elements(rng, (70, 30), "f4")
        assert not scatters.scatter_rows("add", array.copy(), index, values, 0)
        assert scatters.scatter_rows("add", array.copy(), index, values, 0, True) == served
        assert not scatters.scatter_along("add", array.copy(), spread, values, 0)


def test_what_is_not_served(rng):
    array, index = elements(rng, (40, 30), "f4"), np.zeros(5, np.int64)
    assert gathers.take(array, index.astype("i2"), 0) is None
    assert gathers.take(array.astype(object), index, 0) is None
    assert gathers.take(array.astype(">f4"), index, 0) is None
    assert gathers.take(array[:0], index[:0], 0) is None
    assert gathers.take_along(array, np.zeros((5, 29), np.int64), 0) is None
    half = array.astype("f2")
    assert not scatters.scatter_rows("add", half, index, half[:5], 0)
    assert not scatters.scatter_rows("add", array[:, ::2], index, array[:5, ::2], 0)
    assert joins.join([array, array[:, 1:]], 0) is None
    assert joins.join([array, half], 0) is None
    assert joins.join([array.T, array.T], 0) is None


# Writing


UFUNCS = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def expected_rows(how, target, index, values, axis):
    """One after another."""
    target = np.moveaxis(target.copy(), axis, 0)
    for place, value in zip(index, np.moveaxis(values, axis, 0), strict=True):
        target[place] = value if how == "set" else UFUNCS[how](target[place], value)
    return np.moveaxis(target, 0, axis)


@pytest.mark.parametrize("how", ["set", *UFUNCS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scatter_rows(how, dtype, rng):
    for shape in SHAPES:
        target = elements(rng, shape, dtype)
        for axis in range(target.ndim):
            for count in (1, 50):
                index = rng.integers(-shape[axis], shape[axis], count)
                values = elements(rng, shape[:axis] + (count,) + shape[axis + 1:], dtype)
                found = target.copy()
                done = scatters.scatter_rows(how, found, index, laid_out(values, "columns"), axis,
                                             True)
                assert done == (how == "set" or dtype not in ("c8", "c16", "f2")
                                or how == "add" and dtype[0] == "c")
                if done:
                    with np.errstate(all="ignore"):
                        expected = expected_rows(how, target, index, values, axis)
                    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["i4", "i8"])
@pytest.mark.parametrize("inner", [2, 16, 33, 300])
def test_rows_of_large_targets(kind, inner, rng, monkeypatch):
    monkeypatch.setattr(scatter_kernel, "FAR_ROWS", 1)
    target, index = elements(rng, (50, inner), "f4"), rng.integers(-50, 50, 90).astype(kind)
    for count in (1, 3, 90):
        values, found = elements(rng, (count, inner), "f4"), target.copy()
        assert scatters.scatter_rows("add", found, index[:count], values, 0, True)
        np.testing.assert_array_equal(
            found, expected_rows("add", target, index[:count], values, 0))


def test_elements_of_a_large_target(rng):
    size = scatter_kernel.FAR + 5
    index, values = rng.integers(0, size, 1000), elements(rng, (1000,), "f4")
    index[::3] = size - 1
    for how in ("set", "add"):
        found, target = np.zeros(size, "f4"), np.zeros(size, "f4")
        assert scatters.scatter_rows(how, found, index, values, 0)
        np.testing.assert_array_equal(found, expected_rows(how, target, index, values, 0))


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("shape", [(200, 300), (64, 1030), (3, 70, 515), (64, 256)])
def test_rows_of_many_places(shape, far, rng, monkeypatch):
    if far:
        monkeypatch.setattr(scatter_kernel, "FAR_ROWS", 1)
    axis = len(shape) - 2
    target, index = elements(rng, shape, "f4"), rng.integers(0, shape[axis], 90)
    index[20:50] = 8  # one place for many
    values = elements(rng, (*shape[:axis], 90, shape[-1]), "f4")
    for how in ("add", "set"):
        found = target.copy()
        assert scatters.scatter_rows(how, found, index, values, axis)
        np.testing.assert_array_equal(found, expected_rows(how, target, index, values, axis))
    index[60] = shape[axis]
    assert not scatters.scatter_rows("add", target.copy(), index, values, axis)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8"])
@pytest.mark.parametrize("shape", [(7, 1), (90, 1), (5, 3), (200, 300), (64, 1030)])
def test_sum_rows(dtype, shape, rng):
    index = rng.integers(0, shape[0], 90)
    values = elements(rng, (90, shape[1]), dtype)
    expected = expected_rows("add", np.zeros(shape, dtype), index, values, 0)
    for dropped in (-1, *index[:3], shape[0] - 1):
        if dropped >= 0:
            expected = expected.copy()
            expected[dropped] = 0
        found = scatters.sum_rows(laid_out(values, "columns"), index, shape[0], dropped)
        assert found.tobytes() == expected.tobytes()
        expected = expected_rows("add", np.zeros(shape, dtype), index, values, 0)
    index[-1] = shape[0]
    assert scatters.sum_rows(values, index, shape[0]) is None


@pytest.mark.parametrize("how", ["set", *UFUNCS])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i2", "?"])
@pytest.mark.parametrize("kind", ["i4", "i8"])
def test_scatter_along(how, dtype, kind, rng):
    for shape in SHAPES:
        target = elements(rng, shape, dtype)
        for axis in range(target.ndim):
            index = index_like(rng, target, axis, 30, kind)
            values = elements(rng, index.shape, dtype)
            found = target.copy()
            assert scatters.scatter_along(how, found, laid_out(index, "gaps"),
                                          laid_out(values, "backwards"), axis)
            expected = target.copy()
            for number in range(30):
                place = (*[slice(None)] * axis, slice(number, number + 1))
                before = np.take_along_axis(expected, index[place], axis)
                value = values[place]
                with np.errstate(all="ignore"):
                    value = value if how == "set" else UFUNCS[how](before, value)
                np.put_along_axis(expected, index[place], value, axis)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("how", UFUNCS)
def test_special_values(special, how, rng):
    target, values = elements(rng, (40,), "f4"), elements(rng, (300,), "f4")
    values[::7] = special
    index = rng.integers(0, 40, 300)
    found = target.copy()
    assert scatters.scatter_rows(how, found, index, values, 0)
    with np.errstate(all="ignore"):
        expected = expected_rows(how, target, index, values, 0)
    np.testing.assert_array_equal(found, expected)


# Joining


@pytest.mark.parametrize("dtype", DTYPES)
def test_join(dtype, rng, monkeypatch):
    monkeypatch.setattr(joins, "PIECE", 128)
    joins._listing.cache_clear()
    for shapes, axis in [([(3,), (500,), (1,)], 0), ([(4, 70), (9, 70)], 0),
                         ([(4, 70), (4, 33), (4, 200)], 1),
                         ([(2, 3, 40), (2, 0, 40), (2, 7, 40)], 1),
                         ([(3, 5, 7), (3, 5, 7)], 0), ([(60, 40)] * 3, 1), ([(2, 400)] * 2, 1)]:
        arrays = [elements(rng, s, dtype) for s in shapes]
        found = joins.join(arrays, axis)
        np.testing.assert_array_equal(found, np.concatenate(arrays, axis))
    joins._listing.cache_clear()


def test_narrow_columns_are_left_to_numpy(rng):
    assert joins.join([elements(rng, (500, 1), "f4"), elements(rng, (500, 20), "f4")], 1) is None


@pytest.mark.parametrize("dtype", ["f4", "c16", "i1"])
def test_joined_past_the_caches(dtype, rng, monkeypatch):
    monkeypatch.setattr(joins, "STREAM", 0)
    seen = []
    for axis, widths in ((0, (64, 3)), (1, (64, 128)), (1, (64, 33)), (1, (70, 57))):
        shapes = [(70, w) if axis else (w, 70 - 6) for w in widths]
        arrays = [elements(rng, shape, dtype) for shape in shapes]
        with native.watching(lambda name, source: seen.append(name)):
            found = joins.join(arrays, axis)
        np.testing.assert_array_equal(found, np.concatenate(arrays, axis))
        assert ("past" in seen[-1]) == (axis == 0 or widths[1] == 128)


# Bags


def expected_bags(mode, table, indices, starts, weights):
    results = np.zeros((len(starts) - 1, table.shape[1]), table.dtype)
    chosen = np.full(results.shape, -1)
    for bag, (low, high) in enumerate(zip(starts, starts[1:], strict=False)):
        rows = table[indices[low:high]]
        if mode == "max" and len(rows):
            results[bag] = rows.max(0)
            chosen[bag] = indices[low:high][rows.argmax(0)]
        else:
            for row, weight in zip(rows, np.ones(len(rows)) if weights is None else
                                   weights[low:high], strict=True):
                results[bag] += row * table.dtype.type(weight)
            if mode == "mean":
                results[bag] /= max(high - low, 1)
    return results, chosen


@pytest.mark.parametrize("mode", ["sum", "mean", "max", "weighted"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", ["i4", "i8"])
@pytest.mark.parametrize("far", [False, True])
def test_bags(mode, dtype, kind, far, rng, monkeypatch):
    if far:
        monkeypatch.setattr(bags, "_FAR", 1)
    for columns in (1, 15, 16, 70, 300):
        table = np.round(elements(rng, (20, columns), dtype) / 10)
        table[3, ::5], table[4] = np.nan, -np.inf
        indices = rng.integers(0, 20, 90).astype(kind)
        starts = np.array([0, 0, 1, 30, 30, 90])
        weights = elements(rng, (90,), dtype) if mode == "weighted" else None
        mode = "sum" if mode == "weighted" else mode
        found = bags.reduce_bags(mode, laid_out(table, "columns"), indices, starts, weights)
        results, chosen = expected_bags(mode, table, indices, starts, weights)
        np.testing.assert_array_equal(found[0], results)
        if mode == "max":
            np.testing.assert_array_equal(found[1], chosen)
        else:
            assert found[1] is None


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("columns", [3, 1000])
def test_bags_one_by_one(mode, columns):
    """Offsets out of order, empty bags, padding, entries before and after the bags."""
    table = iskra.randn(9, columns, dtype=iskra.float64, requires_grad=True)
    rows = iskra.tensor([2, 8, 1, 1, 5, 2, 0, 7, 3, 2])
    reduce = {"sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}

    def expected(bounds, padding):
        found = []
        for low, high in zip(bounds, bounds[1:]):
            bag = [r for r in rows.tolist()[low:high] if r != padding]
            found.append(reduce[mode](table[bag]) if bag else table[0] * 0)
        return iskra.stack(found)

    for offsets, bounds, whole in (([0, 3, 3, 4], [0, 3, 3, 4, 10], False),
                                   ([0, 5, 2, 10], [0, 2, 5, 10, 10], False),
                                   ([0, 3, 3, 8], [0, 3, 3, 8], True)):
        for padding in (None, 2, -8):
            found = F.embedding_bag(rows, table, iskra.tensor(offsets), mode=mode,
                                    padding_idx=padding, include_last_offset=whole)
            wanted = expected(bounds, padding if padding is None else padding % 9)
            np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-12, atol=1e-12)
            g = iskra.randn(*found.shape, dtype=iskra.float64)
            for one, other in zip(iskra.autograd.grad(found, table, g),
                                  iskra.autograd.grad(wanted, table, g), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    with pytest.raises(RuntimeError, match="negative"):
        F.embedding_bag(rows, table, iskra.tensor([0, -1, 2]), mode=mode)


def test_bags_of_nothing():
    table = iskra.randn(5, 3, requires_grad=True)
    nothing = iskra.zeros(0, dtype=iskra.int64)
    found = F.embedding_bag(nothing, table, iskra.tensor([0, 0]))
    assert found.tolist() == [[0, 0, 0], [0, 0, 0]]
    found.sum().backward()
    assert not table.grad.any()
    rows = iskra.tensor([1, 2])
    found = F.embedding_bag(rows, table, iskra.tensor([0]), include_last_offset=True)
    assert found.shape == (0, 3)
    found.sum().backward()
    assert F.embedding_bag(rows, table, nothing, include_last_offset=True).shape == (0, 3)


# Tasks


def everything(rng, scale=1):
    """Arrays made by each kernel."""
    m, n = 40 * scale, 50 * scale
    x, vector = elements(rng, (m, n), "f4"), elements(rng, (m * n,), "f4")
    rows, flat = rng.integers(0, m, 2 * m), rng.integers(0, m * n, m * n)
    down, along = rng.integers(0, m, (m, n)), rng.integers(0, n, (m, n)).astype("i4")
    sums = np.zeros((m, n), "f4")
    assert scatters.scatter_rows("add", sums, rows, np.concatenate([x, x]), 0)
    assert scatters.scatter_rows("add", sums, rows[:n] % n, np.ascontiguousarray(x), 1)
    assert scatters.scatter_along("add", sums, down, x, 0)
    assert scatters.scatter_along("add", sums, along, x, 1)
    total = np.zeros(m * n, "f4")
    assert scatters.scatter_rows("add", total, flat, vector, 0)
    starts = np.arange(0, 2 * m + 1, 8)
    values = elements(rng, (2 * m, 260), "f4")  # several kinds of places
    summed = scatters.sum_rows(values, rows * 2, 2 * m, 6)
    return [
        summed,
        sums, total, gathers.take(x, rows, 0), gathers.take(x, rows % n, 1),
        gathers.take(vector, np.tile(flat, 3), 0), gathers.take_along(x, down, 0),
        gathers.take_along(x, along, 1), joins.join([x, x[:7]], 0), joins.join([x, x], 1),
        bags.reduce_bags("mean", x, rows, starts)[0], *bags.reduce_bags("max", x, rows, starts),
    ]


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, rng, monkeypatch):
    monkeypatch.setattr(joins, "PIECE", 256)
    monkeypatch.setattr(scatters, "_NARROWEST", 16)
    joins._listing.cache_clear()
    tasks = check_each_call(monkeypatch, order)
    everything(rng)
    joins._listing.cache_clear()
    assert len(tasks) == 15 and tasks.count(1) == 1  # a single row of sums is one task


def test_bits_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr("iskra.codegen.kernels.sharing.TASK", 1 << 12)
    on_threads(lambda: everything(np.random.default_rng(4), 8))


# The operators, on both tiers


def gradient(function, *tensors):
    tensors = [t.clone().requires_grad_() for t in tensors]
    function(*tensors).square().sum().backward()
    return [t.grad for t in tensors]


def operators(rng):
    """Results of every operator that may take these kernels."""
    def floats(*shape):
        return iskra.tensor(np.round(rng.normal(size=shape) * 8).astype("f4"))

    def indices(high, *shape, low=0):
        return iskra.tensor(rng.integers(low, high, shape))

    x, y, rows, vector = floats(60, 70), floats(60, 70), indices(60, 90), floats(90)
    along, table = indices(60, 60, 70), floats(30, 40)
    picked, offsets = indices(30, 50), iskra.tensor([0, 7, 7, 20])
    half, source = x.bfloat16(), floats(90, 70)
    return [
        x.gather(0, along), x.gather(1, along), x[rows], x[:, rows % 70], x[rows - 60],
        x.index_select(0, rows), x.index_select(1, rows.int()), x.take(rows - 90), half[rows],
        x.take_along_dim(along - 60, 0), x.gather(0, rows[:, None].expand(90, 70)),
        x.scatter(0, along, y), x.scatter(1, along, 2.5), x.scatter(1, along, y, reduce="add"),
        x.scatter_add(0, along, y), x.scatter_add(1, along[:, :40], y),
        half.scatter_add(0, along, half),
        x.index_add(0, rows, source, alpha=2), x.index_add(1, rows[:60], y.t().t()[:, :60]),
        x.index_copy(0, rows, source), x.put(rows, vector, True), x.put(rows - 4200, vector),
        x.index_put((rows,), source, True), x.index_put((rows, rows), vector, True),
        *[x.scatter_reduce(0, along, y, reduce, include_self=own)
          for reduce in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)],
        *[x.index_reduce(0, rows, source, reduce, include_self=own)
          for reduce in ("mean", "amax", "amin") for own in (True, False)],
        iskra.cat([x, y, half]), iskra.cat([x, y], -1), iskra.stack([x, y]), iskra.stack([x, y], 1),
        iskra.cat([x.t(), y.t()]), F.embedding(picked, table), F.embedding(picked.int(), table),
        *[F.embedding_bag(picked, table, offsets, mode=mode) for mode in ("sum", "mean", "max")],
        F.embedding_bag(picked, table, offsets, mode="mean", padding_idx=int(picked[9])),
        F.embedding_bag(picked, table, iskra.tensor([0, 7, 20]), mode="sum",
                        include_last_offset=True, per_sample_weights=floats(50)),
        *gradient(lambda t: F.embedding(picked, t, padding_idx=3, scale_grad_by_freq=True), table),
        *gradient(lambda t: F.embedding_bag(picked, t, offsets, mode="max"), table),
        *gradient(lambda t, w: F.embedding_bag(picked, t, offsets, mode="sum",
                                               per_sample_weights=w), table, floats(50)),
        *gradient(lambda a, b: a.scatter_add(0, along, b)[rows], x, y),
        *gradient(lambda a, b: iskra.cat([a.gather(1, along), b]).cummax(0).values, x, y),
    ]


def reductions(rng, dtype):
    """`scatter_reduce` and kin of a dtype, whose elements may be NaN or infinite."""
    def numbers(*shape):
        found = np.round(rng.normal(size=shape) * 3)
        if dtype.is_floating_point:
            found[::7, ::5], found[::11, ::3] = np.nan, -np.inf
        return iskra.tensor(found).to(dtype)

    x, y, source = numbers(60, 70), numbers(60, 70), numbers(90, 70)
    along, rows = (iskra.tensor(rng.integers(0, 60, s)) for s in [(60, 70), (90,)])
    found = [x.scatter_add(0, along, y), x.scatter(1, along, y), x.index_add(0, rows, source),
             x.index_put((rows,), source, True), x[rows], x.gather(0, along)]
    for own in (True, False):
        found += [x.scatter_reduce(0, along, y, how, include_self=own)
                  for how in ("sum", "prod", "amax", "amin", "mean")
                  if how != "mean" or dtype is not iskra.bool]
        found += [x.index_reduce(0, rows, source, how, include_self=own)
                  for how in ("prod", "amax", "amin")]
    return found


MADE = {"all": operators} | {
    str(kind): (lambda rng, kind=kind: reductions(rng, kind))
    for kind in (iskra.float64, iskra.bfloat16, iskra.int64, iskra.int8, iskra.bool)}


@pytest.mark.parametrize("what", MADE)
def test_operators_on_both_tiers(what, monkeypatch):
    results = []
    for large in (1, 1 << 40):
        monkeypatch.setattr("iskra.graph.LARGE", large)
        results.append(MADE[what](np.random.default_rng(6)))
    for one, other in zip(*results, strict=True):
        assert one.dtype is other.dtype
        iskra.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("bad", [60, -1, -61])
def test_errors_are_the_same_on_both_tiers(bad, monkeypatch):
    x, index = iskra.ones(60, 60), iskra.zeros(50, dtype=iskra.int64)
    index[33] = bad
    spread = index[:, None] * iskra.ones(1, 60, dtype=iskra.int64)
    calls = [
        lambda: x.gather(0, spread), lambda: x.scatter_add(0, spread, x),
        lambda: x.scatter(0, spread, x), lambda: x.index_select(0, index),
        lambda: x.index_add(0, index, x[:50]), lambda: F.embedding(index, x),
        lambda: x.index_copy(0, index, x[:50]), lambda: x.scatter_reduce(0, spread, x, "amax"),
    ]
    if bad != -1:
        calls += [lambda: x[index], lambda: x.index_put((index,), x[:50], True)]
    for call in calls:
        messages = []
        for large in (1, 1 << 40):
            monkeypatch.setattr("iskra.graph.LARGE", large)
            with pytest.raises((RuntimeError, IndexError)) as caught:
                call()
            messages.append((caught.type, str(caught.value)))
        assert messages[0] == messages[1]


# Beside PyTorch, which adds up in the index's order too


def shared(library, rng):
    """What must have the same bits as PyTorch's, whose `index_put` varies from run to run."""
    def floats(*shape):
        return library.from_numpy(rng.normal(size=shape).astype("f4"))

    def indices(high, *shape):
        return library.from_numpy(rng.integers(0, high, shape))

    x, source, rows = floats(200, 130), floats(2000, 130), indices(200, 2000)
    along, vector = indices(200, 2000, 130), floats(20000)
    table = floats(300, 64).requires_grad_()
    function = library.nn.functional
    function.embedding(rows, table).backward(floats(2000, 64))
    starts = library.arange(0, 2000, 40)
    return [
        table.grad, library.zeros(300).index_add(0, indices(300, 20000), vector),
        library.zeros(300).scatter_add(0, indices(300, 20000), vector),
        x.index_add(0, rows, source), x.index_add(1, rows[:90] % 130, source[:200, :90]),
        x.scatter_add(0, along, source), x.scatter_add(1, along[:200] % 130, source[:200]),
        x.scatter(0, along, source),
        *[function.embedding_bag(rows, x, starts, mode=mode) for mode in ("sum", "mean", "max")],
        source.cumsum(0), source.cumsum(1), source.cumprod(1), *source.cummax(0), *source.cummin(1),
    ]


def test_bits_are_pytorchs():
    torch = pytest.importorskip("torch")
    ours, theirs = (shared(library, np.random.default_rng(8)) for library in (iskra, torch))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
