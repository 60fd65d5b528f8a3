"""Pickles and deep copies: layout, sharing, attributes, classes."""

import copy
import pickle

import pytest

import iskra as torch


def pickled(value):
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("duplicate", [pickled, copy.deepcopy])


@COPIES
@pytest.mark.parametrize("make", [
    lambda: torch.arange(6).reshape(2, 3), lambda: torch.arange(6.0).reshape(2, 3).t(),
    lambda: torch.arange(6)[1::2], lambda: torch.tensor(3), lambda: torch.zeros(0, 3),
    lambda: torch.ones(3).expand(2, 3), lambda: torch.tensor([1 + 2j]),
    lambda: torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    lambda: torch.tensor([True, False]), lambda: torch.tensor([1], dtype=torch.uint16),
])
def test_values_and_layout_survive(duplicate, make):
    tensor = make()
    twin = duplicate(tensor)
    assert torch.allclose(twin.double() if not twin.is_complex() else twin,
                          tensor.double() if not tensor.is_complex() else tensor, equal_nan=True)
    assert twin.dtype is tensor.dtype and twin.shape == tensor.shape
    assert twin.stride() == tensor.stride()
    assert twin.storage_offset() == tensor.storage_offset()
    assert twin.untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
    if tensor.numel():
        assert twin.data_ptr() != tensor.data_ptr()


@COPIES
def test_views_of_one_storage_stay_views_of_one(duplicate):
    base = torch.arange(4)
    whole, part = duplicate((base, base[1:]))
    whole[1] = 7
    assert part.tolist() == [7, 2, 3] and base.tolist() == [0, 1, 2, 3]


@COPIES
def test_one_tensor_twice_stays_one(duplicate):
    tensor = torch.ones(2)
    first, second = duplicate([tensor, tensor])
    assert first is second and first is not tensor


@COPIES
def test_leaves_keep_requires_grad(duplicate):
    leaf = torch.ones(2, requires_grad=True)
    twin = duplicate(leaf)
    assert twin.requires_grad and twin.is_leaf
    twin.sum().backward()
    assert leaf.grad is None


@COPIES
def test_parameters_stay_parameters(duplicate):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = [1, 2]
    twin = duplicate(parameter)
    assert type(twin) is torch.nn.Parameter and twin.requires_grad and twin.tolist() == [1, 1]
    # A deep copy of a parameter is its values only, as in PyTorch.
    assert getattr(twin, "note", None) == ([1, 2] if duplicate is pickled else None)


def test_deepcopy_takes_the_gradient_along():
    leaf = torch.ones(2, requires_grad=True)
    (leaf * 3).sum().backward()
    twin = copy.deepcopy(leaf)
    assert twin.grad.tolist() == [3, 3]
    twin.grad.zero_()
    assert leaf.grad.tolist() == [3, 3]


def test_deepcopy_of_a_computed_tensor_is_refused():
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(torch.ones(2, requires_grad=True) * 2)


def test_a_pickled_computed_tensor_is_a_leaf():
    twin = pickled(torch.ones(2, requires_grad=True) * 2)
    assert twin.requires_grad and twin.grad_fn is None and twin.tolist() == [2, 2]


def test_copy_shares_memory():
    tensor = torch.ones(2)
    twin = copy.copy(tensor)
    twin[0] = 5
    assert twin is not tensor and tensor.tolist() == [5, 1]


class Marked(torch.Tensor):
    pass


@COPIES
def test_subclasses_survive(duplicate):
    tensor = torch.ones(2).as_subclass(Marked)
    tensor.mark = "x"
    twin = duplicate(tensor)
    assert type(twin) is Marked and twin.mark == "x" and twin.tolist() == [1, 1]


@pytest.mark.parametrize("value", [
    torch.float32, torch.bfloat16, torch.strided, torch.channels_last, torch.device("cpu"),
    torch.Size([1, 2]),
])
def test_what_belongs_to_tensors(value):
    assert pickled(value) == value == copy.deepcopy(value)
    assert type(pickled(value)) is type(value)


def test_generators_go_on_from_their_state():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    twin = pickled(generator)
    assert twin.initial_seed() == 3
    assert torch.rand(3, generator=twin).tolist() == torch.rand(3, generator=generator).tolist()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol):
    tensor = torch.arange(3)
    assert pickle.loads(pickle.dumps(tensor, protocol)).tolist() == [0, 1, 2]
