"""What ``out=`` tensors are refused, and that a refusal leaves them as they were.

Where PyTorch is installed, each case is tried there too.
"""

import numpy as np
import pytest

import iskra

try:
    import torch
except ImportError:
    torch = None

LIBRARIES = [iskra] if torch is None else [iskra, torch]


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def lib(request):
    return request.param


def refused(call, out, *, match):
    """Expect `call(out)` to raise RuntimeError and to write nothing."""
    outs = out if isinstance(out, tuple) else (out,)
    before = [(o.shape, o.clone()) for o in outs]
    with pytest.raises(RuntimeError, match=match):
        call(out)
    if isinstance(outs[0], iskra.Tensor):  # PyTorch resizes first
        for o, (shape, values) in zip(outs, before, strict=True):
            assert o.shape == shape
            np.testing.assert_array_equal(o.numpy(), values.numpy())


EXACT = {
    "neg": lambda t, x, out: t.neg(x, out=out),
    "mm": lambda t, x, out: t.mm(x, x, out=out),
    "gather": lambda t, x, out: t.gather(x, 1, t.zeros(2, 2, dtype=t.int64), out=out),
    "amax": lambda t, x, out: t.amax(x, 1, out=out),
    "sort": lambda t, x, out: t.sort(x, out=(out, t.empty(2, 2, dtype=t.int64))),
    "softmax": lambda t, x, out: t.softmax(x, 1, out=out),
    "t_copy": lambda t, x, out: t.t_copy(x, out=out),
    "cumsum": lambda t, x, out: t.cumsum(x, 0, dtype=t.float32, out=out),
    "take_along_dim": lambda t, x, out: t.take_along_dim(x, t.tensor([[0], [1]]), 1, out=out),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_wider_dtype_is_refused_where_nothing_is_promoted(lib, name):
    x = lib.tensor([[1.0, 2.0], [3.0, 4.0]])
    out = lib.ones(2, 2, dtype=lib.float64)
    refused(lambda out: EXACT[name](lib, x, out), out, match="dtype|self and mat2")


def test_the_message_names_both_dtypes():
    out = iskra.empty(2, dtype=iskra.float64)
    with pytest.raises(RuntimeError, match="ceil: Expected out tensor to have dtype float32, but "
                                           "got float64"):
        iskra.ceil(iskra.ones(2), out=out)


CASTING = {
    "add": lambda t, x, out: t.add(x, x, out=out),
    "exp": lambda t, x, out: t.exp(x, out=out),
    "square": lambda t, x, out: t.square(x, out=out),
    "mean": lambda t, x, out: t.mean(x, 1, keepdim=True, out=out),
    "cat": lambda t, x, out: t.cat([x, x], out=out),
    "std": lambda t, x, out: t.std(x, 1, out=out),
}


@pytest.mark.parametrize("name", CASTING)
def test_a_wider_dtype_is_taken_where_results_are_promoted(lib, name):
    x = lib.tensor([[1.0, 2.0], [3.0, 4.0]])
    out = lib.empty(0, dtype=lib.float64)
    result = CASTING[name](lib, x, out)
    assert result is out
    assert out.dtype is lib.float64
    assert out.sum() > 0


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
@pytest.mark.parametrize("kind", ["int16", "int32", "float64"])
def test_out_tells_the_dtype_to_compute_in(lib, name, kind):
    out = lib.empty(0, dtype=getattr(lib, kind))
    getattr(lib, name)(lib.tensor([100, 100, 3], dtype=lib.int8), 0, out=out)
    expected = getattr(np, name)(np.array([100, 100, 3], dtype=kind), 0, dtype=kind)
    np.testing.assert_array_equal(out.numpy(), expected)


def test_out_of_integers_converts_before_the_sum(lib):
    out = lib.empty(0, dtype=lib.int64)
    assert lib.sum(lib.tensor([1.5, 2.5]), 0, out=out).item() == 3


def apart(lib, call, operands, match="single memory location"):
    """Expect overlap of `out` with any operand to be refused."""
    for number in range(len(operands)):
        changed = list(operands)
        flat = changed[number].reshape(-1)
        memory = lib.cat([flat, flat[:1]])
        changed[number] = memory[:-1].view(operands[number].shape)
        refused(lambda out, args=changed: call(args, out),
                memory[1:].view(operands[number].shape), match=match)


ALIGNED = {
    "add": lambda t, xs, out: t.add(xs[0], xs[1], out=out),
    "sin": lambda t, xs, out: t.sin(xs[0], out=out),
    "addcmul": lambda t, xs, out: t.addcmul(xs[0], xs[1], xs[1], out=out),
    "maximum": lambda t, xs, out: t.maximum(xs[0], xs[1], out=out),
    "cumsum": lambda t, xs, out: t.cumsum(xs[0], 0, out=out),
    "clamp": lambda t, xs, out: t.clamp(xs[0], xs[1], out=out),
}


@pytest.mark.parametrize("name", ALIGNED)
def test_an_operand_may_be_written_but_not_in_part(lib, name):
    call = ALIGNED[name]
    count = 1 if name in ("sin", "cumsum") else 2
    values = [lib.arange(4.0).view(2, 2), lib.arange(4.0, 8.0).view(2, 2)]
    expected = call(lib, values, lib.empty(0)).clone()
    apart(lib, lambda args, out: call(lib, [*args, values[1]], out), values[:count])
    for number in range(count):
        operands = [v.clone() for v in values]
        result = call(lib, operands, operands[number])
        assert result is operands[number]
        np.testing.assert_array_equal(result.numpy(), expected.numpy())


def test_interleaved_memory_is_no_overlap(lib):
    memory = lib.arange(6.0)
    lib.neg(memory[::2], out=memory[1::2])
    assert memory.tolist() == [0, 0, 2, -2, 4, -4]


APART = {
    "gather": lambda t, x, out: t.gather(x, 0, t.tensor([0, 1]), out=out),
    "take": lambda t, x, out: t.take(x, t.tensor([0, 1]), out=out),
    "index_select": lambda t, x, out: t.index_select(x, 0, t.tensor([0, 1]), out=out),
    "masked_select": lambda t, x, out: t.masked_select(x, t.tensor([True, True]), out=out),
    "cat": lambda t, x, out: t.cat([x], out=out),
    "kthvalue": lambda t, x, out: t.kthvalue(
        x.view(1, 2), 1, 0, out=(out, t.empty(2, dtype=t.int64))),
}


@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("start", [0, 1])
def test_operands_that_are_read_in_any_order_may_not_be_written(lib, name, start):
    memory = lib.arange(3.0)
    refused(lambda out: APART[name](lib, memory[:2], out), memory[start : start + 2],
            match="single memory location")


def test_an_operand_that_would_have_to_be_resized_is_an_overlap(lib):
    x, y = lib.empty(0), lib.ones(4, 6)
    refused(lambda out: lib.cat([x, y], out=out), x, match="single memory location")
    refused(lambda out: lib.cat([y, y[:1]], out=out), y[:2], match="single memory location")


def test_scatter_may_write_its_input_and_not_its_source(lib):
    index, x, source = lib.tensor([1, 0]), lib.zeros(2), lib.tensor([1.0, 2.0])
    assert lib.scatter(x, 0, index, source, out=x).tolist() == [2, 1]
    refused(lambda out: lib.scatter(x, 0, index, source, out=out), source,
            match="single memory location")


def test_memory_of_an_array_cannot_grow(lib):
    array = np.zeros(3, np.float32)
    for out in (lib.from_numpy(array), lib.as_tensor(array), lib.from_numpy(array)[1:],
                lib.frombuffer(bytearray(12), dtype=lib.float32)):
        refused(lambda out: lib.add(lib.ones(4), 1, out=out), out,
                match="resize storage that is not resizable")
    with pytest.raises(RuntimeError, match="not resizable"):
        lib.from_numpy(array).resize_(4)


def test_memory_of_an_array_may_be_used_where_it_suffices(lib):
    array = np.zeros(3, np.float32)
    out = lib.from_numpy(array)
    with pytest.warns(UserWarning, match="was resized"):
        lib.add(lib.ones(2), 1, out=out)
    assert array.tolist() == [2, 2, 0]
    assert out.shape == (2,)
    assert lib.from_numpy(array).resize_(2, 1).shape == (2, 1)
    assert lib.from_numpy(array).clone().resize_(4).shape == (4,)


def test_nothing_is_written_where_the_second_result_does_not_fit(lib):
    x = lib.tensor([[3.0, 1.0], [2.0, 4.0]])
    outs = lib.zeros(2), lib.zeros(2, dtype=lib.int32)
    refused(lambda outs: lib.max(x, 1, out=outs), outs, match="dtype|self and mat2")


def test_storages_tell_whether_they_can_grow(lib):
    assert lib.ones(2).untyped_storage().resizable()
    lent = lib.from_numpy(np.ones(2))
    assert not lent.untyped_storage().resizable()
    assert not lent[1:].untyped_storage().resizable()
