"""Lazy layers and uninitialized parameters."""

import copy

import pytest

import iskra as torch
from iskra import nn
from iskra.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy


def test_nothing_is_drawn_before_the_first_input():
    torch.manual_seed(0)
    layer = nn.LazyLinear(3)
    layer(torch.ones(2, 5))
    torch.manual_seed(0)
    assert torch.equal(nn.Linear(5, 3).weight, layer.weight)


def test_becomes_the_eager_layer():
    layer = nn.LazyConv2d(4, 3)
    parameters = list(layer.parameters())
    assert all(is_lazy(p) for p in parameters) and layer.has_uninitialized_params()
    layer(torch.ones(1, 2, 5, 5))
    assert type(layer) is nn.Conv2d and layer.in_channels == 2
    assert list(layer.parameters())[0] is parameters[0]  # an optimizer may hold it already
    assert type(parameters[0]) is nn.Parameter and parameters[0].shape == (4, 2, 3, 3)
    assert not layer._hooked or layer(torch.ones(1, 2, 5, 5)) is not None


def test_uninitialized_parameters_refuse():
    param = UninitializedParameter()
    assert repr(param) == "<UninitializedParameter>" and isinstance(param, nn.Parameter)
    with pytest.raises(RuntimeError, match="has no shape yet"):
        param.shape  # noqa: B018
    with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter in"):
        param + 1
    with pytest.raises(RuntimeError, match="no memory to share"):
        param.share_memory_()


def test_materialize():
    param = UninitializedParameter(dtype=torch.float64)
    param.materialize((2, 3))
    assert type(param) is nn.Parameter and param.shape == (2, 3) and param.requires_grad
    assert param.dtype == torch.float64
    buffer = UninitializedBuffer()
    buffer.materialize((2,), dtype=torch.float16)
    assert type(buffer) is torch.Tensor and buffer.dtype == torch.float16
    assert not buffer.requires_grad


def test_conversion_before_the_first_input():
    layer = nn.LazyLinear(3).double()
    assert is_lazy(layer.weight)
    assert layer(torch.ones(2, 5, dtype=torch.float64)).dtype == torch.float64


def test_copies_stay_lazy():
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    other = copy.deepcopy(model)
    model(torch.ones(2, 5))
    assert is_lazy(other[0].weight) and is_lazy(other[1].running_mean)
    other(torch.ones(2, 4))
    assert model[0].in_features == 5 and other[0].in_features == 4


def test_a_loaded_state_gives_the_shapes():
    ready = nn.Conv1d(2, 3, 2)
    lazy = nn.LazyConv1d(3, 2)
    lazy.load_state_dict(ready.state_dict())
    assert torch.equal(lazy.weight, ready.weight)
    eager = nn.Linear(2, 3)
    with pytest.raises(RuntimeError, match="has no shape yet"):
        eager.load_state_dict(nn.LazyLinear(3).state_dict())


def test_wrong_inputs():
    with pytest.raises(RuntimeError, match="Expected 3D .unbatched. or 4D .batched. input"):
        nn.LazyConv2d(4, 3)(torch.ones(5, 5))
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.LazyConv2d(4, 3, groups=2)(torch.ones(1, 3, 5, 5))


def test_a_lazy_layer_must_initialize_all():
    class Forgetful(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = UninitializedParameter()

        def initialize_parameters(self, x):
            pass

    with pytest.raises(RuntimeError, match="Forgetful has not been fully initialized"):
        Forgetful()(torch.ones(1))
