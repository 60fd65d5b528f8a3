"""Padding: values, what is refused, and gradients, by hand and against PyTorch."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn.functional import pad


def test_each_mode_by_hand():
    x = torch.tensor([[1, 2, 3]])
    assert pad(x, (1, 2), value=9).tolist() == [[9, 1, 2, 3, 9, 9]]
    assert pad(x, (2, 1), "reflect").tolist() == [[3, 2, 1, 2, 3, 2]]
    assert pad(x, (2, 1), "replicate").tolist() == [[1, 1, 1, 2, 3, 3]]
    assert pad(x, (2, 1), "circular").tolist() == [[2, 3, 1, 2, 3, 1]]


def test_the_last_dimension_comes_first():
    x = torch.ones(2, 3, 4)
    assert pad(x, (1, 2, 3, 4, 5, 6)).shape == (13, 10, 7)
    assert pad(x, (0, 0, 0, 0, 1, 0)).sum(1).tolist() == [[0] * 4, [3] * 4, [3] * 4]


def test_constants_agree_with_numpy():
    x = np.arange(24.0).reshape(2, 3, 4)
    ours = pad(torch.from_numpy(x), (1, 2, 3, 4), value=-1.5)
    theirs = np.pad(x, ((0, 0), (3, 4), (1, 2)), constant_values=-1.5)
    np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("mode, numpys", [
    ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"),
])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_edges_agree_with_numpy(mode, numpys, rank):
    x = np.arange(2.0 * 4**rank).reshape(2, *[4] * rank)
    widths = [(1, 2), (3, 0), (2, 2)][:rank]
    ours = pad(torch.from_numpy(x), tuple(n for w in reversed(widths) for n in w), mode)
    np.testing.assert_array_equal(ours.numpy(), np.pad(x, [(0, 0), *widths], numpys))


def test_negative_numbers_crop():
    x = torch.arange(5).unsqueeze(0)
    for mode in ("constant", "reflect", "replicate", "circular"):
        assert pad(x, (-1, -2), mode).tolist() == [[1, 2]]
    assert pad(x, (-6, 3), "replicate").tolist() == [[4, 4]]
    assert pad(x, (-6, 3), "reflect").tolist() == [[2, 1]]
    assert pad(x, (-2, -3)).shape == (1, 0)
    assert pad(x, (-1, 3), "circular").tolist() == [[1, 2, 3, 4, 1, 2, 3]]


def test_the_result_is_a_copy_of_the_same_dtype():
    x = torch.ones(2, dtype=torch.bool)
    assert pad(x, (0, 0)) is not x and pad(x, ()).data_ptr() != x.data_ptr()
    assert pad(x, (1, 0)).tolist() == [False, True, True]
    for dtype in (torch.bfloat16, torch.complex64, torch.int8):
        for mode in ("constant", "reflect"):
            assert pad(torch.ones(1, 3, dtype=dtype), (1, 1), mode).dtype is dtype
    assert pad(torch.ones(1, dtype=torch.int64), (1, 0), value=1.7).tolist() == [1, 1]


def test_gradients_count_how_often_an_element_shows():
    x = torch.zeros(1, 4, requires_grad=True)
    counts = {"constant": [1, 1, 1, 1], "reflect": [1, 2, 3, 1], "replicate": [3, 1, 1, 2],
              "circular": [2, 1, 2, 2]}
    for mode, expected in counts.items():
        x.grad = None
        pad(x, (2, 1), mode).sum().backward()
        assert x.grad.tolist() == [expected], mode


def test_names_of_nodes():
    x = torch.zeros(2, 3, 3, 3, requires_grad=True)

    def name(*args):
        return type(pad(x, *args).grad_fn).__name__

    assert name((1, 1)) == "ConstantPadNdBackward0"
    assert name((1, 1, 1, 1), "reflect") == "ReflectionPad2DBackward0"
    assert name((1,) * 6, "replicate") == "ReplicationPad3DBackward0"


@pytest.mark.parametrize("shape, sides, mode, error, message", [
    ((3,), (1,), "constant", RuntimeError, "divisible by 2"),
    ((3,), (1, 1, 1, 1), "constant", RuntimeError, "twice the number of dimensions"),
    ((3,), (-2, -2), "constant", RuntimeError, "negative output size"),
    ((3,), (-4, 9), "constant", RuntimeError, "negative output size"),
    ((2, 3), (1, 1), "mirror", NotImplementedError, "mirror"),
    ((3,), (1, 1), "reflect", NotImplementedError, "not supported for 1D"),
    ((1, 1, 2, 3), (1, 1), "circular", NotImplementedError, "padding size = 4"),
    ((2, 3), (3, 0), "reflect", RuntimeError, r"less than .* \(3, 0\) at dimension 1"),
    ((2, 3), (0, 4), "circular", RuntimeError, "wrapping around more than once"),
    ((2, 3), (-2, -1), "replicate", RuntimeError, "too small"),
    ((2, 0), (1, 1), "replicate", RuntimeError, "non-zero dimensions"),
    ((3,), 1, "constant", TypeError, "tuple of ints, not int"),
    ((3,), (1.5, 1), "constant", TypeError, "tuple of ints"),
])
def test_refusals(shape, sides, mode, error, message):
    with pytest.raises(error, match=message):
        pad(torch.ones(shape), sides, mode)


def test_other_refusals():
    with pytest.raises(RuntimeError, match="value argument"):
        pad(torch.ones(1, 3), (1, 1), "reflect", 2.0)
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        pad([1, 2], (1, 1))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("sides", [(1, 2), (0, 1, -1, 2), (2, 1, 1, 0, -1, 1), (-1, -1)])
def test_values_and_gradients_are_pytorchs(mode, sides):
    reference = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, *[4] * (len(sides) // 2)))
    ours = torch.tensor(x, requires_grad=True)
    theirs = reference.tensor(x, requires_grad=True)
    a, b = pad(ours, sides, mode), reference.nn.functional.pad(theirs, sides, mode)
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    (a * a).sum().backward()
    (b * b).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)
