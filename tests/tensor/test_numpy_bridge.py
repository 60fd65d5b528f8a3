"""Tensors and NumPy: shared memory, protocols in both directions, operators with arrays."""

import numpy as np
import pytest

import iskra as torch


@pytest.mark.parametrize("array", [
    np.arange(6).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.arange(6)[::2],
    np.array(3), np.array([True]), np.zeros((2, 3), np.complex64), np.ones(3, np.uint16),
    np.broadcast_to(np.ones(2), (3, 2)).copy(),
])
def test_from_numpy_shares_memory_and_strides(array):
    tensor = torch.from_numpy(array)
    assert tensor.shape == array.shape and tensor.numpy().dtype == array.dtype
    assert tensor.stride() == tuple(s // array.itemsize for s in array.strides)
    array[...] = 1
    assert (tensor.numpy() == array).all() and np.shares_memory(tensor.numpy(), array)


@pytest.mark.parametrize("source, error, message", [
    (np.arange(6)[::-1], ValueError, "stride"), (np.array(["a"]), TypeError, "np.ndarray of type"),
    (np.array([None]), TypeError, "np.ndarray of type"),
    (np.array([1, 2], ">i4"), ValueError, "byte order"),
    (np.array([1], np.longdouble), TypeError, "np.ndarray of type"),
    (np.array(["2020"], "datetime64[s]"), TypeError, "np.ndarray of type"),
    (np.float32(1), TypeError, "expected np.ndarray"), ([1], TypeError, "expected np.ndarray"),
])
def test_from_numpy_refuses(source, error, message):
    with pytest.raises(error, match=message):
        torch.from_numpy(source)


def test_from_numpy_warns_of_read_only_memory():
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(array)


def test_numpy_gives_the_memory():
    tensor = torch.ones(2, 3).t()
    array = tensor.numpy()
    array[0, 0] = 5
    assert tensor[0, 0] == 5 and array.strides == (4, 12)
    assert torch.tensor(5).numpy().shape == ()


def test_numpy_refuses_what_would_mislead():
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        leaf.numpy()
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(leaf)
    assert leaf.numpy(force=True).tolist() == leaf.detach().numpy().tolist() == [1, 1]
    with pytest.raises(TypeError, match="BFloat16"):
        torch.ones(2, dtype=torch.bfloat16).numpy()
    with pytest.raises(TypeError, match="no data|meta"):
        torch.ones(2, device="meta").numpy()


def test_array_protocol_converts():
    assert np.asarray(torch.ones(2)).dtype == np.float32
    assert np.array(torch.ones(2), dtype=np.int8).tolist() == [1, 1]
    assert torch.ones(2).__array__(np.float64).dtype == np.float64
    assert np.array([torch.tensor(1), torch.tensor(2)]).tolist() == [1, 2]


@pytest.mark.parametrize("call, dtype, values", [
    (lambda: torch.ones(2) + np.ones(2), torch.float64, [2, 2]),
    (lambda: torch.tensor([1, 2]) - np.array([1, 1]), torch.int64, [0, 1]),
    (lambda: torch.ones(2) * np.float64(2), torch.float32, [2, 2]),
    (lambda: np.float64(2) * torch.ones(2), torch.float32, [2, 2]),
    (lambda: np.add(torch.ones(2), 1), torch.float32, [2, 2]),
    (lambda: np.sin(torch.zeros(2)), torch.float32, [0, 0]),
    (lambda: np.maximum(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])), torch.float32, [2, 2]),
    (lambda: np.isnan(torch.tensor([np.nan, 1])), torch.uint8, [1, 0]),
])
def test_operators_and_ufuncs_give_tensors(call, dtype, values):
    result = call()
    assert isinstance(result, torch.Tensor)
    assert result.dtype is dtype and result.tolist() == values


@pytest.mark.parametrize("compare, values", [
    (lambda t, a: t == a, [True, False]), (lambda t, a: t != a, [False, True]),
    (lambda t, a: t < a, [False, True]), (lambda t, a: t <= a, [True, True]),
    (lambda t, a: t > a, [False, False]), (lambda t, a: t >= a, [True, False]),
    (lambda t, a: a == t, [True, False]),
])
def test_comparisons_with_arrays(compare, values):
    result = compare(torch.tensor([1, 2]), np.array([1, 3]))
    assert isinstance(result, torch.Tensor) and result.tolist() == values


def test_an_array_does_not_take_a_tensor_as_its_right_operand():
    with pytest.raises(TypeError):
        np.array([1, 2]) * torch.tensor(3)


def test_comparisons_with_arrays_broadcast_or_fail():
    assert (torch.ones(2, 1) == np.array([1, 0])).tolist() == [[True, False]] * 2
    with pytest.raises(RuntimeError, match="size of tensor a"):
        torch.tensor([1, 2]) == np.array([1, 2, 3])  # noqa: B015


@pytest.mark.parametrize("other", [None, [1, 2], (1, 2), "a", object()])
def test_comparisons_with_what_is_no_number(other):
    tensor = torch.tensor([1, 2])
    assert (tensor == other) is False
    assert (tensor != other) is True
    with pytest.raises(TypeError):
        tensor < other  # noqa: B015


def test_numbers_of_numpy_are_numbers():
    assert (torch.tensor([1, 2]) == np.int64(1)).tolist() == [True, False]
    assert (np.int64(1) == torch.tensor([1, 2])).tolist() == [True, False]
    assert (torch.tensor(2) ** np.int64(3)).item() == 8
    assert torch.tensor([np.float32(1), 2]).dtype is torch.float32
    assert torch.tensor(np.bool_(True)).dtype is torch.bool
    assert torch.tensor([np.int8(1), np.int16(2)]).dtype in (torch.int64, torch.int16)


def test_dlpack_shares_memory():
    tensor = torch.arange(3)
    torch.from_dlpack(tensor)[0] = 8
    np.from_dlpack(tensor)[1:].tolist()
    assert tensor.tolist() == [8, 1, 2]
    array = np.arange(3)
    torch.from_dlpack(array)[0] = 9
    assert array[0] == 9
    assert tuple(tensor.__dlpack_device__()) == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(1, requires_grad=True).__dlpack__()
    with pytest.raises(TypeError, match="does not export DLPack"):
        torch.from_dlpack([1])


def test_conversions_to_python():
    assert int(torch.tensor([3.7])) == 3 and float(torch.tensor(True)) == 1.0
    assert complex(torch.tensor(1.0)) == 1 + 0j and hex(torch.tensor(10)) == "0xa"
    assert [1, 2, 3][torch.tensor(1)] == 2 and list(range(torch.tensor(2))) == [0, 1]
    assert not torch.tensor([0.0]) and torch.tensor([[2]])
    assert f"{torch.tensor(1.5):.3f}" == "1.500" and f"{torch.tensor(3)}" == "3"
    assert 2 in torch.tensor([1, 2]) and 5 not in torch.tensor([1, 2])


@pytest.mark.parametrize("call, error", [
    (lambda: int(torch.tensor([1, 2])), ValueError), (lambda: [1][torch.tensor(0.0)], TypeError),
    (lambda: bool(torch.tensor([1, 2])), RuntimeError), (lambda: len(torch.tensor(1)), TypeError),
    (lambda: list(torch.tensor(1)), TypeError), (lambda: "a" in torch.tensor([1]), RuntimeError),
    (lambda: torch.tensor([1, 2]).item(), RuntimeError), (lambda: ~torch.tensor([1.0]), TypeError),
    (lambda: torch.tensor([1]) + "a", TypeError), (lambda: torch.tensor([1]) + None, TypeError),
    (lambda: [1] + torch.tensor([1]), TypeError), (lambda: -torch.tensor([True]), RuntimeError),
])
def test_conversions_that_fail(call, error):
    with pytest.raises(error):
        call()
