"""assert_close and make_tensor."""

import pytest

import iskra as torch
from iskra.testing import assert_close, make_tensor


def message(*args, **settings):
    with pytest.raises(AssertionError) as caught:
        assert_close(*args, **settings)
    return str(caught.value)


@pytest.mark.parametrize(("dtype", "inside", "outside"), [
    (torch.float32, 1 + 1e-6, 1 + 3e-5), (torch.float64, 1 + 1e-7, 1 + 3e-7),
    (torch.float16, 1.0009765625, 1.005), (torch.bfloat16, 1.0078125, 1.03),
])
def test_tolerances_by_dtype(dtype, inside, outside):
    one = torch.ones(1, dtype=dtype)
    assert_close(torch.full((1,), inside, dtype=dtype), one)
    assert "not close" in message(torch.full((1,), outside, dtype=dtype), one)


def test_integers_must_be_equal():
    text = message(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 7]))
    assert text == (
        "Tensor-likes are not equal!\n\nMismatched elements: 1 / 3 (33.3%)\n"
        "Greatest absolute difference: 4 at index (2,)\n"
        "Greatest relative difference: 0.5714285969734192 at index (2,)"
    )


def test_what_else_must_agree():
    x = torch.ones(2, 3)
    assert "attribute 'shape' do not match" in message(x, torch.ones(3, 2))
    assert "attribute 'dtype' do not match" in message(x, x.double())
    assert_close(x, x.double(), check_dtype=False)
    other = torch.ones(3, 2).t()
    assert_close(x, other)
    assert "'stride()' do not match: (3, 1) != (1, 2)" in message(x, other, check_stride=True)


def test_nan_and_infinities():
    nan, inf = torch.tensor([torch.nan]), torch.tensor([torch.inf])
    message(nan, nan)
    assert_close(nan, nan, equal_nan=True)
    assert_close(inf, inf)
    message(inf, -inf)
    message(inf, torch.tensor([1.0]), rtol=1.0, atol=torch.inf)


def test_structures_and_numbers():
    assert_close({"a": [1.0, torch.ones(2)]}, {"a": [1.0 + 1e-9, torch.ones(2)]})
    assert message({"a": [1.0, 2.0]}, {"a": [1.0, 3.0]}).endswith(
        "The failure occurred for item ['a'][1]"
    )
    assert "length of the sequences" in message([1], [1, 2])
    assert "keys of the mappings" in message({"a": 1}, {"b": 1})
    assert "None mismatch" in message(None, 1)
    assert "types do not match" in message(1, 1.0)
    with pytest.raises(TypeError, match="no comparison"):
        assert_close("a", "a")


def test_settings():
    with pytest.raises(ValueError, match="both be specified"):
        assert_close(1.0, 1.0, rtol=1e-3)
    assert message(1.0, 2.0, msg="mine") == "mine"
    assert message(1.0, 2.0, msg=lambda m: "Head\n" + m).startswith("Head\nScalars are not close!")
    assert_close(1.0, 1.4, rtol=0.0, atol=0.5)
    x = torch.ones(1, requires_grad=True)
    assert_close(x * 1, x)


CASES = [
    ((1.0, 2.0), {}), ((1, 2), {}), (("t", [1.0, 2.0], [1.0, 2.5]), {}),
    (("t", [[1.0, 0.0]], [[1.0, 3.0]]), {"rtol": 0.1, "atol": 0.1}), (("t", [True], [False]), {}),
    (("t", 1.0, 2.0), {}), (("t", [1, 2], [1, 3]), {}),
]


@pytest.mark.parametrize(("values", "settings"), CASES)
def test_messages_are_as_known(values, settings):
    oracle = pytest.importorskip("torch")

    def words(library):
        args = [library.tensor(v) for v in values[1:]] if values[0] == "t" else values
        with pytest.raises(AssertionError) as caught:
            library.testing.assert_close(*args, **settings)
        return str(caught.value)

    assert words(torch) == words(oracle)


@pytest.mark.parametrize("dtype", [
    torch.float32, torch.bfloat16, torch.complex64, torch.int8, torch.uint8, torch.bool,
])
def test_made_tensors(dtype):
    x = make_tensor(40, 5, dtype=dtype)
    assert x.shape == (40, 5) and x.dtype is dtype and x.is_contiguous()
    assert len(set(x.reshape(-1).tolist())) > 1
    assert not make_tensor((3, 4), dtype=dtype, noncontiguous=True).is_contiguous()
    assert make_tensor((), dtype=dtype).shape == ()
    assert make_tensor((0, 3), dtype=dtype).shape == (0, 3)


def test_bounds_of_made_tensors():
    x = make_tensor((1000,), dtype=torch.float64, low=2, high=3, requires_grad=True)
    assert x.requires_grad and 2 <= x.min() < 2.1 and 2.9 < x.max() < 3
    y = make_tensor((1000,), dtype=torch.int64, low=-1, high=2, exclude_zero=True)
    assert set(y.tolist()) == {-1, 1}
    with pytest.raises(ValueError, match="low must be less"):
        make_tensor((1,), dtype=torch.float32, low=1, high=0)
    with pytest.raises(ValueError, match="requires_grad"):
        make_tensor((1,), dtype=torch.int64, requires_grad=True)
