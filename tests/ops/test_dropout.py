"""Dropout and its relatives, rrelu, Gumbel-softmax. Values: PyTorch 2.13, same seed."""

import math
import types
import warnings

import numpy as np
import pytest

import iskra
from iskra.dispatch.namespaces import functions

F = functions("nn.functional")
dropout = F["dropout"]


def seeded(call, seed=4):
    iskra.manual_seed(seed)
    return call()


def test_values():
    assert seeded(lambda: dropout(iskra.ones(6))).tolist() == [2, 0, 2, 0, 0, 0]
    assert seeded(lambda: F["dropout1d"](iskra.ones(2, 3))).tolist() == [[2, 2, 2], [0, 0, 0]]
    drawn = seeded(lambda: F["alpha_dropout"](iskra.zeros(4), 0.5, True))
    assert drawn.tolist() == pytest.approx([0.7791939, -0.7791939] * 2)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64, iskra.float16, iskra.bfloat16])
def test_kept_elements_are_scaled(p, dtype):
    x = iskra.ones(2000, dtype=dtype)
    result = dropout(x, p)
    assert result.dtype is dtype
    values = set(result.tolist())
    assert values == {0.0, iskra.tensor(np.float32(1) / np.float32(1 - p)).to(dtype).item()} or (
        dtype is iskra.float64 and values == {0.0, 1 / (1 - p)}
    )
    assert np.count_nonzero(result._array) / 2000 == pytest.approx(1 - p, abs=0.05)


def test_gradient_goes_where_elements_were_kept():
    x = iskra.ones(100, requires_grad=True)
    y = dropout(x, 0.3)
    y.backward(iskra.ones(100))
    assert x.grad.tolist() == y.tolist()
    assert type(y.grad_fn).__name__ == "MulBackward0"


def test_nothing_to_do():
    x = iskra.ones(5)
    state = iskra.get_rng_state().tolist()
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, False) is x
    assert iskra.dropout(x, 0.5, train=False) is x
    assert dropout(iskra.empty(0)).shape == (0,)
    assert dropout(x, 1.0).tolist() == [0] * 5
    assert iskra.get_rng_state().tolist() == state
    assert math.isnan(dropout(iskra.tensor([math.inf]), 1.0).item())  # inf * 0, as in PyTorch


def test_dropping_keeps_nan_and_infinity_visible():
    x = iskra.full((200,), math.inf)
    drawn = dropout(x, 0.5)._array
    assert np.isnan(drawn).any() and np.isinf(drawn).any()


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "dropout1d", "feature_alpha_dropout"])
def test_in_place(name):
    x = iskra.rand(3, 4)
    expected = seeded(lambda: F[name](x, 0.4, True))
    y = x.clone()
    result = seeded(lambda: F[name](y, 0.4, True, inplace=True))
    assert result is y
    assert y.tolist() == expected.tolist()


@pytest.mark.parametrize("name", [
    "dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d",
])
@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_probabilities_outside(name, p):
    with pytest.raises(ValueError, match=f"between 0 and 1, but got {p}"):
        F[name](iskra.ones(2, 2, 2, 2), p, True)


def test_integers_cannot_be_scaled():
    x = iskra.ones(3, dtype=iskra.int64)
    assert dropout(x, 0.0) is x
    with pytest.raises(RuntimeError, match="Long"):
        dropout(x)
    with pytest.raises(NotImplementedError):
        dropout(iskra.ones(3, dtype=iskra.complex64))


@pytest.mark.parametrize(("name", "shape"), [
    ("dropout1d", (40, 30, 3)), ("dropout2d", (40, 30, 2, 3)), ("dropout3d", (40, 30, 2, 1, 3)),
])
def test_channels_live_and_die_together(name, shape):
    drawn = F[name](iskra.ones(shape), 0.5)._array.reshape(1200, -1)
    assert (drawn == drawn[:, :1]).all()
    assert set(drawn[:, 0].tolist()) == {0.0, 2.0}
    one = F[name](iskra.ones(shape[1:]), 0.5)._array if name != "dropout2d" else None
    if one is not None:
        assert (one.reshape(30, -1) == one.reshape(30, -1)[:, :1]).all()


def test_ranks():
    with pytest.raises(RuntimeError, match="Expected 2D or 3D input, but received a 1D"):
        F["dropout1d"](iskra.ones(3))
    with pytest.warns(UserWarning, match="2-D input to dropout2d"):
        F["dropout2d"](iskra.ones(2, 3))
    with pytest.warns(UserWarning, match="3D input to dropout2d"):
        F["dropout2d"](iskra.ones(2, 3, 4))
    with pytest.warns(UserWarning, match="3-D input to dropout3d"):
        F["dropout3d"](iskra.ones(2, 3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F["dropout2d"](iskra.ones(2, 3, 4, 5))
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        iskra.feature_dropout(iskra.ones(3), 0.5, True)


def test_alpha_dropout_keeps_mean_and_variance():
    x = iskra.empty(40000).normal_()
    drawn = F["alpha_dropout"](x, 0.3, training=True)._array
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)


def test_masks_follow_the_memory():
    plain = seeded(lambda: dropout(iskra.ones(3, 4)))
    turned = seeded(lambda: dropout(iskra.ones(3, 4).t()))
    assert turned.t().tolist() == plain.tolist()


# rrelu

def test_rrelu_slopes():
    x = iskra.tensor([-1.0, 0.0, 2.0] * 300, requires_grad=True)
    y = F["rrelu"](x, 0.25, 0.5, training=True)
    slopes = -y.detach()._array[::3]
    assert 0.25 <= slopes.min() < 0.27 and 0.48 < slopes.max() < 0.5
    assert y.detach()._array[2::3].tolist() == [2.0] * 300
    y.backward(iskra.ones(900))
    assert x.grad._array[::3].tolist() == slopes.tolist()
    assert (x.grad._array[2::3] == 1).all()
    assert type(y.grad_fn).__name__ == "RreluWithNoiseBackward0"


def test_rrelu_at_rest():
    x = iskra.tensor([-1.0, 0.0, 2.0])
    state = iskra.get_rng_state().tolist()
    assert F["rrelu"](x, 0.25, 0.5).tolist() == [-0.375, 0, 2]
    assert iskra.rrelu_(x, 0.25, 0.5) is x
    assert x.tolist() == [-0.375, 0, 2]
    assert iskra.get_rng_state().tolist() == state


@pytest.mark.parametrize(("bounds", "error"), [
    ((0.5, 0.25), RuntimeError), ((math.inf, math.inf), RuntimeError),
])
def test_rrelu_refuses(bounds, error):
    with pytest.raises(error):
        F["rrelu"](iskra.ones(2), *bounds)
    with pytest.raises(NotImplementedError):
        F["rrelu"](iskra.ones(2, dtype=iskra.int64))


def test_gumbel_softmax():
    logits = iskra.zeros(500, 3, requires_grad=True)
    soft = F["gumbel_softmax"](logits, tau=0.5)
    assert np.allclose(soft.detach()._array.sum(-1), 1, atol=1e-5)
    hard = seeded(lambda: F["gumbel_softmax"](logits, hard=True))
    again = seeded(lambda: F["gumbel_softmax"](logits))
    chosen = hard.detach()._array.round()
    assert np.allclose(hard.detach()._array, chosen, atol=1e-6)
    assert (chosen.argmax(-1) == again.detach()._array.argmax(-1)).all()
    hard[:, 0].sum().backward()
    assert logits.grad._array.any()


@pytest.mark.parametrize("call", [
    "F.dropout(x, 0.3)", "F.dropout(x.transpose(0, 2), 0.3)", "F.dropout(x.half(), 0.3)",
    "F.dropout(x.bfloat16(), 0.3)", "F.dropout(x.double(), 0.3)", "F.dropout(x[:, 1:], 0.7)",
    "F.alpha_dropout(x, 0.3, True)", "F.alpha_dropout(x.half(), 0.3, True)",
    "F.alpha_dropout(x.bfloat16(), 0.3, True)", "F.alpha_dropout(x.double(), 0.3, True)",
    "F.feature_alpha_dropout(x, 0.3, True)", "F.dropout1d(x, 0.3)", "F.dropout1d(x[0], 0.3)",
    "F.dropout2d(x[None], 0.3)", "F.dropout3d(x[None], 0.3)", "F.rrelu(x, 0.1, 0.37, True)",
    "F.rrelu(x.double(), 0.1, 0.37, True)", "F.rrelu(x.bfloat16(), 0.1, 0.37, True)",
    "F.rrelu(x.transpose(0, 2), 0.1, 0.37, True)", "F.rrelu(x, 0.1, 0.37)",
])
def test_beside_pytorch(call):
    torch = pytest.importorskip("torch")

    ours = types.SimpleNamespace(**F)
    data = np.linspace(-0.4, 0.6, 60, dtype=np.float32).reshape(3, 4, 5)
    found = []
    for module, namespace in ((iskra, ours), (torch, torch.nn.functional)):
        module.manual_seed(21)
        x = module.from_numpy(data.copy())
        found += [eval(call, {"F": namespace, "x": x}), module.get_rng_state()]
    ours, state, theirs, their_state = found
    assert ours.tolist() == theirs.tolist()
    assert state.tolist() == their_state.tolist()
