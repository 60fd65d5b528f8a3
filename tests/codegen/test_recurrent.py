"""Recurrent layers in machine code against their composition of operators."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call, on_threads, serve_small

import iskra
from iskra import nn
from iskra.autograd import grad
from iskra.codegen.kernels import recurrent
from iskra.nn.utils.rnn import pack_padded_sequence

LAYERS = {
    "RNN_TANH": lambda *a, **k: nn.RNN(*a, **k),
    "RNN_RELU": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "GRU": lambda *a, **k: nn.GRU(*a, **k),
    "LSTM": lambda *a, **k: nn.LSTM(*a, **k),
}
BY_STEPS = recurrent._Cut(1, 2, True)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(recurrent, "_FEWEST", 1)


def draw(*shape, seed=0, dtype=iskra.float64):
    values = np.random.default_rng(seed).normal(size=shape)
    return iskra.from_numpy(values).to(dtype).requires_grad_()


def both(monkeypatch, function):
    """The function's tensors by machine code, and by composition."""
    results = []
    for fewest in (1, 1 << 40):
        monkeypatch.setattr(recurrent, "_FEWEST", fewest)
        results.append(function())
    return results


def start(mode, layer, rows, size, dtype=iskra.float64):
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = (layer.proj_size or size, size)
    states = [draw(count, rows, n, seed=s, dtype=dtype) for s, n in zip((5, 6), widths)]
    return (tuple(states), states) if mode == "LSTM" else (states[0], states[:1])


@pytest.mark.parametrize("mode", LAYERS)
@pytest.mark.parametrize(("steps", "rows", "inputs", "size"), [
    (1, 1, 1, 1), (4, 3, 5, 17), (5, 2, 3, 16), (3, 7, 20, 33)])
@pytest.mark.parametrize("settings", [
    {}, {"bias": False}, {"bidirectional": True, "num_layers": 2, "batch_first": True}])
@pytest.mark.parametrize("dtype", [iskra.float64, iskra.float32])
def test_results_and_gradients(mode, steps, rows, inputs, size, settings, dtype, monkeypatch):
    layer = LAYERS[mode](inputs, size, dtype=dtype, **settings)
    shape = (rows, steps) if layer.batch_first else (steps, rows)
    x = draw(*shape, inputs, dtype=dtype)
    state, states = start(mode, layer, rows, size, dtype)

    def run():
        output, last = layer(x, state)
        last = last if mode == "LSTM" else (last,)
        total = (output * output).sum() + sum((y * y * y).sum() for y in last)
        return [output, *last, *grad(total, [x, *states, *layer.parameters()])]

    digits = 1e-10 if dtype is iskra.float64 else 2e-4
    for one, other in zip(*both(monkeypatch, run), strict=True):
        assert one.dtype is other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one.detach(), other.detach(), digits, digits)


PACKED = {"LSTM": {"proj_size": 11}, "GRU": {}, "RNN_TANH": {"bias": False}, "RNN_RELU": {}}


@pytest.mark.parametrize("mode", LAYERS)
@pytest.mark.parametrize("lengths", [(4, 4, 4), (5, 3, 3, 1), (7,), tuple(range(20, 0, -1))])
@pytest.mark.parametrize("cut", [None, BY_STEPS])
def test_packed_sequences(mode, lengths, cut, monkeypatch):
    """Sequences that end, or begin, at their own steps; in both directions."""
    settings = PACKED[mode]
    if cut is not None:
        settings = {**settings, "proj_size": 0} if mode == "LSTM" else settings
        monkeypatch.setattr(recurrent, "_cut", lambda *_: cut)
    layer = LAYERS[mode](5, 18, num_layers=2, bidirectional=True, dtype=iskra.float64, **settings)
    x = draw(max(lengths), len(lengths), 5)
    state, states = start(mode, layer, len(lengths), 18)

    def run():
        packed, last = layer(pack_padded_sequence(x, list(lengths)), state)
        last = last if mode == "LSTM" else (last,)
        total = (packed.data * packed.data).sum() + sum((y * y * y).sum() for y in last)
        return [packed.data, *last, *grad(total, [x, *states, *layer.parameters()])]

    for one, other in zip(*both(monkeypatch, run), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), 1e-10, 1e-10)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True, "num_layers": 2}])
@pytest.mark.parametrize(("rows", "size", "projected"), [(3, 17, 5), (9, 40, 33)])
def test_projections(settings, rows, size, projected, monkeypatch):
    layer = nn.LSTM(6, size, proj_size=projected, dtype=iskra.float64, **settings)
    x = draw(4, rows, 6)
    state, states = start("LSTM", layer, rows, size)

    def run():
        output, last = layer(x, state)
        total = (output * output).sum() + sum((y * y * y).sum() for y in last)
        return [output, *last, *grad(total, [x, *states, *layer.parameters()])]

    for one, other in zip(*both(monkeypatch, run), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), 1e-10, 1e-10)


@pytest.mark.parametrize("mode", LAYERS)
@pytest.mark.parametrize("rows", [1, 5, 33])
@pytest.mark.parametrize("dtype", [iskra.float64, iskra.float32])
def test_step_by_step_gives_the_same_bits(mode, rows, dtype, monkeypatch):
    """However a layer is shared out."""
    layer = LAYERS[mode](7, 37, dtype=dtype)
    x, results = draw(5, rows, 7, dtype=dtype), []
    for cut in (recurrent._Cut(2, 1, False), recurrent._Cut(2, 3, True), BY_STEPS._replace(
            chunks=2)):
        monkeypatch.setattr(recurrent, "_cut", lambda *_, cut=cut: cut)
        output, _ = layer(x)
        results.append([output, *grad((output * output).sum(), [x, *layer.parameters()])])
    for other in results[1:]:
        for one, first in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(one.detach(), first.detach())


def test_infinite_weights_do_not_touch_the_gradient_of_the_last_step(monkeypatch):
    """Where nothing comes from a later step, nothing is multiplied."""
    layer = nn.RNN(2, 4, nonlinearity="relu", bias=False)
    layer.weight_hh_l0.data[0, 1] = float("inf")
    x = draw(1, 3, 2, dtype=iskra.float32)
    state = iskra.ones(1, 3, 4)
    one, other = both(monkeypatch, lambda: grad(layer(x, state)[0].sum(), x)[0])
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", LAYERS)
def test_only_the_wanted_gradients(mode, monkeypatch):
    """Of the last state alone, of one weight alone; and nothing is kept without gradients."""
    layer = LAYERS[mode](3, 5, dtype=iskra.float64)
    x = draw(4, 2, 3).detach()
    for wanted in layer.parameters():
        for parameter in layer.parameters():
            parameter.requires_grad_(parameter is wanted)

        def run(wanted=wanted):
            last = layer(x)[1]
            last = last[1] if mode == "LSTM" else last
            return grad(last.sum(), wanted, allow_unused=True)

        for one, other in zip(*both(monkeypatch, run), strict=True):
            np.testing.assert_allclose(one, other, 1e-10, 1e-12)
    with iskra.no_grad():
        one, other = both(monkeypatch, lambda: layer(x)[0])
    np.testing.assert_allclose(one, other, 1e-12)


@pytest.mark.parametrize("mode", LAYERS)
def test_derivatives_of_all_orders(mode, always):
    layer = LAYERS[mode](2, 3, dtype=iskra.float64)
    x = draw(3, 2, 2)
    state, states = start(mode, layer, 2, 3)

    def run(x, *parts):
        output, last = layer(x, parts if mode == "LSTM" else parts[0])
        return (output, *last) if mode == "LSTM" else (output, last)

    assert layer(x, state)[0].grad_fn.name() == "StackBackward0"
    assert iskra.autograd.gradcheck(run, (x, *states))
    assert iskra.autograd.gradgradcheck(run, (x, *states))


def test_special_values(monkeypatch):
    """Saturated gates, infinities and NaN pass through as in the composition."""
    for mode, make in LAYERS.items():
        layer = make(2, 4)
        x = draw(3, 6, 2, dtype=iskra.float32).detach()
        x[0, 0, 0], x[1, 1, 1], x[0, 2] = float("nan"), float("inf"), -200.0
        one, other = both(monkeypatch, lambda layer=layer, x=x: layer(x)[0].detach())
        np.testing.assert_allclose(one, other, 1e-5, 1e-6, err_msg=mode)


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, always, monkeypatch):
    serve_small(monkeypatch)
    tasks = check_each_call(monkeypatch, order)
    for make in LAYERS.values():
        layer = make(3, 19)
        output, _ = layer(draw(3, 12, 3, dtype=iskra.float32))
        output.sum().backward()
    for cut in (recurrent._Cut(3, 1, False), BY_STEPS):
        monkeypatch.setattr(recurrent, "_cut", lambda *_, cut=cut: cut)
        for make in LAYERS.values():
            packed = pack_padded_sequence(draw(3, 7, 3, dtype=iskra.float32), [3, 3, 2, 2, 1, 1, 1])
            layer = make(3, 9, bidirectional=True)
            layer(packed)[0].data.sum().backward()
    monkeypatch.setattr(recurrent, "_cut", lambda *_: recurrent._Cut(3, 1, False))
    nn.LSTM(3, 19, proj_size=5)(draw(2, 7, 3, dtype=iskra.float32))[0].sum().backward()
    assert max(tasks) > 1


@pytest.mark.parametrize("mode", LAYERS)
def test_bits_do_not_depend_on_threads(mode):
    layer = LAYERS[mode](20, 600)
    x = draw(3, 130, 20, dtype=iskra.float32)

    def run():
        output, _ = layer(x)
        return [a.detach().numpy() for a in (output, *grad(output.sum(), list(layer.parameters())))]

    on_threads(run)


def test_what_is_not_served(always):
    """Narrow floats, mixed dtypes and nothing are composed."""
    x, h = np.zeros((3, 2, 4)), np.zeros((2, 4))
    assert recurrent.serves(3, [x, h])
    assert not recurrent.serves(3, [x.astype("f2"), h.astype("f2")])
    assert not recurrent.serves(3, [x.astype("f4"), h])
    assert not recurrent.serves(3, [x[:, :0], h[:0]])
