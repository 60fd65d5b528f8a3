"""Recurrent layers against their equations, packed sequences against single ones, and refusals."""

import numpy as np
import pytest

import iskra as torch
from iskra import nn
from iskra.nn.utils import rnn

LENGTHS = (3, 5, 2, 5)


def sequences(*lengths, features=4):
    random = np.random.RandomState(0)
    return [torch.from_numpy(random.randn(n, features).astype(np.float32)) for n in lengths]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_follows_its_equations():
    layer = nn.LSTM(4, 3)
    w_ih, w_hh, b_ih, b_hh = (w.detach().numpy() for w in layer.all_weights[0])
    (x,) = sequences(4)
    h, c = np.zeros(3), np.zeros(3)
    for step in x.numpy():
        i, f, g, o = np.split(w_ih @ step + b_ih + w_hh @ h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    output, (last_h, last_c) = layer(x)
    np.testing.assert_allclose(output[-1].detach().numpy(), h, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(last_h[0].detach().numpy(), h, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(last_c[0].detach().numpy(), c, rtol=1e-4, atol=1e-6)


def test_gru_follows_its_equations():
    layer = nn.GRU(4, 3)
    w_ih, w_hh, b_ih, b_hh = (w.detach().numpy() for w in layer.all_weights[0])
    (x,) = sequences(4)
    h = np.zeros(3)
    for step in x.numpy():
        xr, xz, xn = np.split(w_ih @ step + b_ih, 3)
        hr, hz, hn = np.split(w_hh @ h + b_hh, 3)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        h = (1 - z) * np.tanh(xn + r * hn) + z * h
    output, last = layer(x)
    np.testing.assert_allclose(last[0].detach().numpy(), h, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_cells_are_single_steps(kind):
    layer = kind(4, 3)
    cell = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}[kind](4, 3)
    cell.load_state_dict({
        name.removesuffix("_l0"): tensor for name, tensor in layer.state_dict().items()
    })
    (x,) = sequences(5)
    expected, state = layer(x)[0], None
    for step, wanted in zip(x, expected):
        state = cell(step, state)
        seen = state[0] if kind is nn.LSTM else state
        np.testing.assert_allclose(
            seen.detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_packed_sequences_are_run_each_by_itself(kind):
    layer = kind(4, 3, num_layers=2, bidirectional=True)
    pieces = sequences(*LENGTHS)
    packed, state = layer(rnn.pack_sequence(pieces, enforce_sorted=False))
    state = state if kind is nn.LSTM else (state,)
    outputs = rnn.unpack_sequence(packed)
    for i, piece in enumerate(pieces):
        wanted, wanted_state = layer(piece)
        wanted_state = wanted_state if kind is nn.LSTM else (wanted_state,)
        np.testing.assert_allclose(
            outputs[i].detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6
        )
        for part, wanted_part in zip(state, wanted_state):
            np.testing.assert_allclose(
                part[:, i].detach().numpy(), wanted_part.detach().numpy(), rtol=1e-4, atol=1e-6
            )


def test_packed_initial_state_is_sorted_too():
    layer = nn.GRU(4, 3)
    pieces = sequences(2, 4)
    start = torch.from_numpy(np.random.RandomState(1).randn(1, 2, 3).astype(np.float32))
    packed = rnn.pack_sequence(pieces, enforce_sorted=False)
    outputs = rnn.unpack_sequence(layer(packed, start)[0])
    for i, piece in enumerate(pieces):
        wanted = layer(piece, start[:, i])[0]
        np.testing.assert_allclose(
            outputs[i].detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6
        )


def test_weights_are_shared_with_their_list():
    layer = nn.LSTM(4, 3)
    assert layer._flat_weights[0] is layer.weight_ih_l0
    layer.double()
    assert layer._flat_weights[0].dtype == torch.float64
    layer.flatten_parameters()


def test_refusals():
    layer = nn.LSTM(4, 3)
    with pytest.raises(RuntimeError, match="Expected 4, got 5"):
        layer(torch.ones(2, 1, 5))
    with pytest.raises(ValueError, match="LSTM: Expected input to be 2D or 3D, got 4D"):
        layer(torch.ones(1, 1, 1, 4))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 1, 3\), got \[1, 2, 3"):
        layer(torch.ones(2, 1, 4), (torch.ones(1, 2, 3), torch.ones(1, 2, 3)))
    with pytest.raises(RuntimeError, match="hx and cx should also be 3-D"):
        layer(torch.ones(2, 1, 4), (torch.ones(1, 3), torch.ones(1, 3)))
    with pytest.raises(ValueError, match="does not match weight dtype"):
        layer(torch.ones(2, 1, 4, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        layer(torch.ones(0, 1, 4))
    with pytest.raises(RuntimeError, match="inconsistent input_size: got 5, expected 4"):
        nn.GRUCell(4, 3)(torch.ones(1, 5))


@pytest.mark.parametrize("settings, error", [
    (dict(dropout=1.5), ValueError), (dict(hidden_size=0), ValueError),
    (dict(num_layers=0), ValueError), (dict(bias=1), TypeError), (dict(proj_size=3), ValueError),
    (dict(input_size=2.0), TypeError),
])
def test_wrong_settings(settings, error):
    with pytest.raises(error):
        nn.LSTM(**{"input_size": 4, "hidden_size": 3, **settings})


def test_dropout_of_a_single_layer_warns():
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(4, 3, dropout=0.5)


# ---------------------------------------------------------------- packing


def test_pack_and_unpack():
    pieces = [torch.arange(n) + 10 * n for n in (3, 5, 2)]
    packed = rnn.pack_sequence(pieces, enforce_sorted=False)
    assert packed.data.tolist() == [50, 30, 20, 51, 31, 21, 52, 32, 53, 54]
    assert packed.batch_sizes.tolist() == [3, 3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    assert [p.tolist() for p in rnn.unpack_sequence(packed)] == [p.tolist() for p in pieces]
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[30, 31, 32, -1, -1], [50, 51, 52, 53, 54], [20, 21, -1, -1, -1]]
    assert lengths.tolist() == [3, 5, 2]
    longer, _ = rnn.pad_packed_sequence(packed, total_length=7)
    assert longer.shape == (7, 3)
    with pytest.raises(ValueError, match="total_length=2 and max sequence length being 5"):
        rnn.pad_packed_sequence(packed, total_length=2)


def test_pack_refuses():
    with pytest.raises(RuntimeError, match="must be sorted in decreasing order"):
        rnn.pack_padded_sequence(torch.ones(3, 2), [1, 3])
    with pytest.raises(RuntimeError, match="has to be greater than 0"):
        rnn.pack_padded_sequence(torch.ones(3, 2), [1, 0])
    with pytest.raises(RuntimeError, match="equal to batch_size"):
        rnn.pack_padded_sequence(torch.ones(3, 2), [3])


def test_packed_sequence_conversions():
    packed = rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    assert packed.double().data.dtype == torch.float64
    assert packed.long() is packed and packed.cpu() is packed and not packed.is_cuda


def test_pad_and_unpad():
    pieces = [torch.tensor([1, 2]), torch.tensor([3])]
    assert rnn.pad_sequence(pieces).tolist() == [[1, 3], [2, 0]]
    assert rnn.pad_sequence(pieces, True, 9, "left").tolist() == [[1, 2], [9, 3]]
    padded = rnn.pad_sequence(pieces)
    back = rnn.unpad_sequence(padded, torch.tensor([2, 1]))
    assert [p.tolist() for p in back] == [[1, 2], [3]]
    with pytest.raises(RuntimeError):
        rnn.pad_sequence([])


def test_gradients_flow_through_packing():
    pieces = [piece.requires_grad_() for piece in sequences(2, 3)]
    layer = nn.LSTM(4, 3)
    packed, _ = layer(rnn.pack_sequence(pieces, enforce_sorted=False))
    rnn.pad_packed_sequence(packed)[0].sum().backward()
    assert all(float(piece.grad.abs().sum()) > 0 for piece in pieces)
    assert layer.weight_hh_l0.grad is not None
