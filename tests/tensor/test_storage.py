"""Storages: bytes and typed elements behind tensors, shared by views."""

import copy

import pytest

import iskra as torch


def test_the_block_of_bytes():
    tensor = torch.arange(4.0)
    storage = tensor.untyped_storage()
    assert storage.nbytes() == len(storage) == storage.size() == 16
    assert storage.element_size() == 1 and storage.data_ptr() == tensor.data_ptr()
    assert storage.device == torch.device("cpu") and not storage.is_cuda
    assert tensor[1:].untyped_storage().nbytes() == 16 and tensor[1:].storage_offset() == 1


def test_bytes_can_be_read_and_written():
    tensor = torch.arange(4, dtype=torch.uint8)
    storage = tensor.untyped_storage()
    storage[1] = 9
    assert list(storage) == storage.tolist() == tensor.tolist() == [0, 9, 2, 3]
    assert list(storage[1:3]) == [9, 2] and tensor._version == 1
    with pytest.raises(IndexError):
        storage[99]


def test_copies_of_storages_are_apart():
    tensor = torch.arange(4)
    for twin in (tensor.untyped_storage().clone(), copy.deepcopy(tensor.untyped_storage())):
        assert twin.tolist() == tensor.untyped_storage().tolist()
        assert twin.data_ptr() != tensor.data_ptr() and twin != tensor.untyped_storage()
    tensor.untyped_storage().fill_(0)
    assert tensor.tolist() == [0, 0, 0, 0]
    tensor.untyped_storage().copy_(torch.ones(4, dtype=torch.int64).untyped_storage())
    assert tensor.tolist() == [1, 1, 1, 1]
    with pytest.raises(RuntimeError, match="size mismatch"):
        tensor.untyped_storage().copy_(torch.ones(1).untyped_storage())


def test_new_storages():
    assert torch.UntypedStorage(4).nbytes() == 4 and torch.UntypedStorage().nbytes() == 0
    assert torch.UntypedStorage([1, 2, 3]).tolist() == [1, 2, 3]
    assert torch.empty(0).set_(torch.UntypedStorage(8)).shape == (2,)


def test_equality_is_identity_of_memory():
    tensor = torch.ones(3)
    assert tensor.untyped_storage() == tensor[1:].untyped_storage()
    assert tensor.untyped_storage() != torch.ones(3).untyped_storage()


def test_typed_storages():
    tensor = torch.arange(4)
    storage = tensor.storage()
    assert storage.tolist() == [0, 1, 2, 3] and len(storage) == storage.size() == 4
    assert storage.dtype is torch.int64 and storage.type() == "iskra.LongStorage"
    assert storage.element_size() == 8 and storage.nbytes() == 32 and storage.cpu() is storage
    assert storage.untyped().nbytes() == 32 and storage.data_ptr() == tensor.data_ptr()
    storage[1] = 9
    assert tensor.tolist() == [0, 9, 2, 3] and storage[1] == 9 and tensor._version == 1
    assert storage.double().tolist() == [0, 9, 2, 3] and storage.float().dtype is torch.float32
    with pytest.raises(RuntimeError, match="slices"):
        storage[0:2]
    with pytest.raises(IndexError):
        storage[9]


def test_typed_storages_fill_and_copy():
    tensor = torch.arange(4.0)
    twin = tensor.storage().clone()
    tensor.storage().fill_(3)
    assert tensor.tolist() == [3, 3, 3, 3] and twin.tolist() == [0, 1, 2, 3]
    tensor.storage().copy_(twin)
    assert tensor.tolist() == [0, 1, 2, 3]
    assert tensor.storage() == tensor[1:].storage() and tensor.storage() != twin


def test_printed_forms():
    assert repr(torch.arange(2, dtype=torch.uint8).untyped_storage()) == (
        " 0\n 1\n[iskra.storage.UntypedStorage(device=cpu) of size 2]"
    )
    assert repr(torch.ones(1).storage()) == (
        " 1.0\n[iskra.storage.TypedStorage(dtype=iskra.float32, device=cpu) of size 1]"
    )


def test_is_storage():
    tensor = torch.ones(1)
    assert torch.is_storage(tensor.untyped_storage()) and torch.is_storage(tensor.storage())
    assert not torch.is_storage(tensor) and not torch.is_storage(1)


def test_set_takes_over_a_storage():
    source = torch.arange(4.0)
    assert torch.empty(0).set_(source.untyped_storage()).tolist() == [0, 1, 2, 3]
    assert torch.empty(0).set_(source.storage(), 1, (3,), (1,)).tolist() == [1, 2, 3]
    view = torch.empty(0).set_(source.untyped_storage(), 1, (2,), (2,))
    view[0] = 7
    assert source.tolist() == [0, 7, 2, 3] and view.storage_offset() == 1
    assert source.is_set_to(torch.empty(0).set_(source)) and not source.is_set_to(source[1:])
    assert torch.ones(3).set_().shape == (0,)
    with pytest.raises(RuntimeError, match="Float.*Int|Int.*Float"):
        torch.empty(0, dtype=torch.int32).set_(source)
    with pytest.raises(RuntimeError, match="out of bounds for storage of size 16"):
        torch.empty(0).set_(source.untyped_storage(), 0, (9,), (1,))


def test_resize_grows_the_storage():
    tensor = torch.arange(4.0)
    assert tensor.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert tensor.resize_(6)[:4].tolist() == [0, 1, 2, 3]
    assert tensor.untyped_storage().nbytes() == 24
    tensor.resize_(2)
    assert tensor.untyped_storage().nbytes() == 24


def test_shared_memory():
    tensor = torch.ones(3)
    assert not tensor.is_shared() and tensor.share_memory_() is tensor
    assert tensor.is_shared() and tensor.untyped_storage().is_shared()
    assert tensor.tolist() == [1, 1, 1]


def test_addresses():
    tensor = torch.arange(4.0)
    assert tensor.const_data_ptr() == tensor.data_ptr() == tensor[1:].data_ptr() - 4
    assert torch.empty(0).data_ptr() == 0
