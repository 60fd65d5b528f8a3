"""Averaging weights: `AveragedModel`, its averaging functions, `update_bn`."""

import copy

import pytest

import iskra
from iskra import nn
from iskra.optim import swa_utils


def model_with(value):
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(model[0].weight, value)
    model[1].running_mean.fill_(value)
    return model


@pytest.mark.parametrize("options, expected", [
    ({}, 3.0),
    ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, 3.0),
    ({"avg_fn": swa_utils.get_ema_avg_fn(0.75)}, 2.75),
    ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75)}, 2.75),
    ({"avg_fn": lambda average, new, count: average + new + count}, 2 + 2 + 1 + 5 + 2),
])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages(options, expected, use_buffers):
    model = model_with(2.0)
    averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers, **options)
    for value in (2.0, 2.0, 5.0):
        nn.init.constant_(model[0].weight, value)
        model[1].running_mean.fill_(value)
        averaged.update_parameters(model)
    assert averaged.n_averaged.item() == 3
    assert averaged.module[0].weight.item() == pytest.approx(expected)
    buffer = averaged.module[1].running_mean.item()
    assert buffer == pytest.approx(expected if use_buffers else 5.0)


def test_it_is_a_module_of_its_own():
    model = model_with(2.0).eval()
    averaged = swa_utils.AveragedModel(model)
    assert isinstance(averaged, nn.Module)
    nn.init.constant_(model[0].weight, 9.0)
    x = iskra.tensor([[1.0]])
    assert averaged.module[0](x).item() == 2.0 and averaged(x).shape == (1, 1)
    names = set(averaged.state_dict())
    assert {"n_averaged", "module.0.weight", "module.1.running_mean"} <= names
    twin = copy.deepcopy(averaged)
    twin.load_state_dict(averaged.state_dict())


def test_update_bn():
    model = model_with(1.0)
    model[1].momentum = 0.3
    model.eval()
    batches = [(iskra.tensor([[1.0], [3.0]]), "label"), (iskra.tensor([[5.0], [11.0]]), "label")]
    swa_utils.update_bn(batches, model)
    assert model[1].running_mean.item() == 5.0
    assert model[1].running_var.item() == pytest.approx((2 + 18) / 2)
    assert model[1].momentum == 0.3 and not model.training
    swa_utils.update_bn(batches, nn.Linear(1, 1))  # nothing to do


def test_update_bn_restores_momentum_when_a_batch_fails():
    model = model_with(1.0)
    with pytest.raises(ValueError):
        swa_utils.update_bn(broken(), model)
    assert model[1].momentum == 0.1


def broken():
    raise ValueError
    yield


def test_errors():
    with pytest.raises(AssertionError, match="Only one of"):
        swa_utils.AveragedModel(nn.Linear(1, 1), avg_fn=abs, multi_avg_fn=abs)
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value 2"):
            make(2)


def test_integers_are_averaged_too():
    average = [iskra.tensor([4]), iskra.tensor([2.0])]
    new = [iskra.tensor([8]), iskra.tensor([4.0])]
    swa_utils.get_swa_multi_avg_fn()(average, new, 1)
    assert average[1].item() == 3.0 and average[0].item() == 6
    swa_utils.get_ema_multi_avg_fn(0.5)(average, new, 1)
    assert average[1].item() == 3.5
