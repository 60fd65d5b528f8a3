"""Initialisers: literal values from PyTorch 2.13 with seed 0, and what they promise."""

import math

import numpy as np
import pytest

import iskra as torch
from iskra.nn import Linear, init

ROOT5 = math.sqrt(5)

# (name, args, kwargs, shape, the first six values)
VALUES = [
    ("uniform_", (), {}, (2, 3), [
        0.49625658988952637, 0.7682217955589294, 0.08847743272781372, 0.13203048706054688,
        0.30742281675338745, 0.6340786814689636]),
    ("uniform_", (-2.0, 3.0), {}, (2, 3), [
        0.48128294944763184, 1.841109037399292, -1.5576128959655762, -1.3398475646972656,
        -0.46288591623306274, 1.170393466949463]),
    ("normal_", (), {}, (2, 3), [
        1.5409960746765137, -0.293428897857666, -2.1787893772125244, 0.5684312582015991,
        -1.0845223665237427, -1.3985954523086548]),
    ("normal_", (1.0, 0.5), {}, (4, 5), [
        0.4370800852775574, 0.423819899559021, 0.8747106790542603, 0.783060610294342,
        1.2994197607040405, 0.22245246171951294]),
    ("trunc_normal_", (), {}, (2, 3), [
        1.5409960746765137, -0.293428897857666, -0.7192575931549072, 0.5684312582015991,
        -1.0845223665237427, -1.3985954523086548]),
    ("trunc_normal_", (0.0, 1.0, 2.0, 3.0), {}, (2, 3), [
        2.0223257541656494, 2.1688590049743652, 2.088477373123169, 2.132030487060547,
        2.3074228763580322, 2.373417377471924]),
    ("xavier_uniform_", (), {}, (2, 3), [
        -0.008201400749385357, 0.5876445174217224, -0.9016007781028748, -0.8061808347702026,
        -0.4219154715538025, 0.29375168681144714]),
    ("xavier_uniform_", (2.0,), {}, (2, 3), [
        -0.016402801498770714, 1.1752890348434448, -1.8032015562057495, -1.6123616695404053,
        -0.843830943107605, 0.5875033736228943]),
    ("xavier_normal_", (), {}, (2, 3), [
        0.9746115207672119, -0.18558073043823242, -1.3779873847961426, 0.3595075011253357,
        -0.6859121322631836, -0.8845493793487549]),
    ("kaiming_uniform_", (), {}, (2, 3), [
        -0.010587962344288826, 0.75864577293396, -1.1639615297317505, -1.040774941444397,
        -0.5446904897689819, 0.3792317807674408]),
    ("kaiming_uniform_", (), {"a": ROOT5}, (2, 3), [
        -0.004322517663240433, 0.3097158372402191, -0.4751853346824646, -0.4248946011066437,
        -0.2223689705133438, 0.15482072532176971]),
    ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}, (2, 3, 2), [
        -0.009169445373117924, 0.657006561756134, -1.0080204010009766, -0.9013375639915466,
        -0.4717158377170563, 0.3284243643283844]),
    ("kaiming_normal_", (), {"mode": "fan_out", "nonlinearity": "tanh"}, (2, 3), [
        1.8160812854766846, -0.34580928087234497, -2.56772780418396, 0.6699026823043823,
        -1.278121829032898, -1.648260474205017]),
    ("sparse_", (0.5,), {}, (4, 2), [
        0.0, -0.002934289164841175, 0.0, 0.0, -0.010845223441720009, -0.013985954225063324]),
]


@pytest.mark.parametrize("name, args, kwargs, shape, values", VALUES)
def test_literal_values(name, args, kwargs, shape, values):
    torch.manual_seed(0)
    tensor = torch.empty(shape)
    assert getattr(init, name)(tensor, *args, **kwargs) is tensor
    np.testing.assert_array_equal(
        tensor.numpy().reshape(-1)[:6], np.array(values, dtype=np.float32)
    )


def test_linear_draws_weight_then_bias():
    torch.manual_seed(0)
    layer = Linear(3, 2)
    expected = [-0.004322517663240433, 0.3097158372402191, -0.4751853346824646]
    np.testing.assert_array_equal(
        layer.weight.detach().numpy()[0], np.array(expected, dtype=np.float32)
    )
    assert [round(v, 4) for v in layer.bias.tolist()] == [-0.0114, 0.4578]


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape):
    matrix = init.orthogonal_(torch.empty(shape), gain=2.0).numpy().reshape(shape[0], -1)
    rows, columns = matrix.shape
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(min(rows, columns)), atol=1e-5)


def test_orthogonal_literal():
    torch.manual_seed(0)
    expected = [[0.5739809, -0.1092946, -0.8115422], [-0.3454151, -0.9308827, -0.1189355]]
    np.testing.assert_allclose(init.orthogonal_(torch.empty(2, 3)).numpy(), expected, atol=1e-6)


def test_constants():
    assert init.constant_(torch.empty(2), 0.3).tolist() == pytest.approx([0.3, 0.3])
    assert init.ones_(torch.empty(2)).tolist() == [1, 1]
    assert init.zeros_(torch.ones(2)).tolist() == [0, 0]
    np.testing.assert_array_equal(init.eye_(torch.empty(2, 3)).numpy(), np.eye(2, 3))
    with pytest.raises(ValueError, match="Only tensors with 2 dimensions"):
        init.eye_(torch.empty(3))


def test_dirac_passes_channels_on():
    weight = init.dirac_(torch.empty(4, 2, 3, 3), groups=2).numpy()
    expected = np.zeros((4, 2, 3, 3))
    for channel in range(4):
        expected[channel, channel % 2, 1, 1] = 1
    np.testing.assert_array_equal(weight, expected)
    assert init.dirac_(torch.empty(1, 1, 4)).tolist() == [[[0, 0, 1, 0]]]
    for shape, groups in (((2, 2), 1), ((3, 1, 3), 2)):
        with pytest.raises(ValueError):
            init.dirac_(torch.empty(shape), groups)


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("conv_transpose2d") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 1) == 1
    with pytest.raises(ValueError, match="Unsupported nonlinearity swish"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        init.calculate_gain("leaky_relu", True)


def test_trunc_normal_stays_inside_and_warns():
    for a, b in ((-2.0, 2.0), (-0.1, 0.1), (1.5, 4.0)):
        values = init.trunc_normal_(torch.empty(500), a=a, b=b).numpy()
        assert values.min() >= a and values.max() <= b and values.std() > 0
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(torch.empty(5), mean=9.0)


def test_sparse():
    weight = init.sparse_(torch.empty(10, 4), 0.25).numpy()
    assert ((weight == 0).sum(axis=0) == 3).all()
    with pytest.raises(ValueError):
        init.sparse_(torch.empty(3), 0.1)


def test_wrong_modes_and_shapes():
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(torch.empty(3))
    with pytest.raises(ValueError, match="Mode fan_middle not supported"):
        init.kaiming_normal_(torch.empty(2, 2), mode="fan_middle")
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        init.kaiming_uniform_(torch.empty(0, 2))


def test_outside_autograd():
    weight = torch.empty(2, 2, requires_grad=True)
    for name in ("uniform_", "normal_", "xavier_normal_", "kaiming_uniform_", "orthogonal_",
                 "zeros_", "eye_", "trunc_normal_"):
        assert getattr(init, name)(weight) is weight
        assert weight.requires_grad and weight.is_leaf


def test_old_names():
    with pytest.warns(FutureWarning, match="`nn.init.constant` is now deprecated"):
        assert init.constant(torch.empty(1), 3.0).tolist() == [3]


def test_generator():
    generator = torch.Generator()
    generator.manual_seed(5)
    first = init.uniform_(torch.empty(3), generator=generator)
    generator.manual_seed(5)
    assert torch.equal(first, init.uniform_(torch.empty(3), generator=generator))
