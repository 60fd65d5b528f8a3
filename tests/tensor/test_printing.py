"""What tensors look like: literal expectations, then PyTorch's own output as the oracle."""

import random

import numpy as np
import pytest

from iskra.core import (
    bfloat16,
    complex32,
    complex64,
    complex128,
    dtypes,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int32,
    naming,
    uint64,
)
from iskra.tensor import printing
from iskra.tensor.printing import format_tensor, get_printoptions, printoptions, set_printoptions


@pytest.fixture(autouse=True)
def default_options():
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def shown(values, dtype=None, **facts):
    array = np.asarray(values)
    if dtype is None:
        dtype = float32 if array.dtype == np.float64 else dtypes.of_numpy(array.dtype)
    if array.dtype != dtype.numpy:
        array = array.astype(dtype.numpy)
    return format_tensor(array, dtype=dtype, **facts)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (1.5, "tensor(1.5000)"),
        (3, "tensor(3)"),
        (True, "tensor(True)"),
        (-0.0, "tensor(-0.)"),
        (float("nan"), "tensor(nan)"),
        (1e10, "tensor(1.0000e+10)"),
        ([1.0, 2.0, 3.0], "tensor([1., 2., 3.])"),
        ([1.0, float("nan"), float("inf")], "tensor([1., nan, inf])"),
        ([1.0, -float("inf"), 0.5], "tensor([1.0000,   -inf, 0.5000])"),
        ([0.1, 1000.0], "tensor([1.0000e-01, 1.0000e+03])"),
        ([0.5, 500.0], "tensor([  0.5000, 500.0000])"),
        ([0.5, 501.0], "tensor([5.0000e-01, 5.0100e+02])"),
        ([1.0, 1000.0], "tensor([   1., 1000.])"),
        ([1.0, 1001.0], "tensor([1.0000e+00, 1.0010e+03])"),
        ([1e8], "tensor([100000000.])"),
        ([1.5e8], "tensor([1.5000e+08])"),
        ([0.00011], "tensor([0.0001])"),
        ([0.00009], "tensor([9.0000e-05])"),
        ([True, False], "tensor([ True, False])"),
        ([-1, 10, 100], "tensor([ -1,  10, 100])"),
        ([], "tensor([])"),
        (np.zeros((0, 3)), "tensor([], size=(0, 3))"),
        (np.zeros((2, 0), np.int64), "tensor([], size=(2, 0), dtype=iskra.int64)"),
        ([1 + 2j, 0.5j], "tensor([1.+2.0000j, 0.+0.5000j], dtype=iskra.complex128)"),
        (np.complex64(3 - 4j), "tensor(3.-4.j)"),
        ([[1.0, 2.0], [3.0, 4.5]], "tensor([[1.0000, 2.0000],\n        [3.0000, 4.5000]])"),
        (
            [[[1, 2]], [[3, 4]]],
            "tensor([[[1, 2]],\n\n        [[3, 4]]])",
        ),
    ],
)
def test_literal(values, text):
    assert shown(values) == text


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (float32, "tensor([1.5000])"),
        (float64, "tensor([1.5000], dtype=iskra.float64)"),
        (float16, "tensor([1.5000], dtype=iskra.float16)"),
        (bfloat16, "tensor([1.5000], dtype=iskra.bfloat16)"),
        (float8_e4m3fn, "tensor([1.5000], dtype=iskra.float8_e4m3fn)"),
        (float8_e5m2, "tensor([1.5000], dtype=iskra.float8_e5m2)"),
        (int32, "tensor([1], dtype=iskra.int32)"),
        (complex64, "tensor([1.5000+0.j])"),
        (complex128, "tensor([1.5000+0.j], dtype=iskra.complex128)"),
    ],
)
def test_dtype_is_said_unless_it_goes_without_saying(dtype, text):
    assert shown([1.5], dtype) == text


def test_the_default_dtype_and_its_complex_partner_go_without_saying():
    assert shown([1.5], float64, default_dtype=float64) == "tensor([1.5000])"
    assert shown([1.5j], complex128, default_dtype=float64) == "tensor([0.+1.5000j])"
    assert shown([1.5], float32, default_dtype=float64).endswith("dtype=iskra.float32)")


def test_half_complex_comes_as_pairs():
    array = np.array([[1, 2], [0, -1]], np.float16).view("V4").reshape(2)
    text = "tensor([1.+2.j, 0.-1.j], dtype=iskra.complex32)"
    assert format_tensor(array, dtype=complex32) == text


def test_largest_unsigned_integer_is_exact():
    assert shown([2**64 - 1], uint64) == "tensor([18446744073709551615], dtype=iskra.uint64)"


def test_suffixes():
    assert shown([1.0], requires_grad=True) == "tensor([1.], requires_grad=True)"
    text = "tensor([1.], grad_fn=<AddBackward0>)"
    assert shown([1.0], requires_grad=True, grad_fn="AddBackward0") == text
    text = "tensor([1.], device='cuda:0', dtype=iskra.float64, requires_grad=True)"
    assert shown([1.0], float64, device="cuda:0", requires_grad=True) == text
    assert shown([1.0], tangent="tensor([2.])") == "tensor([1.], tangent=tensor([2.]))"
    assert shown([1.0], class_name="Odd") == "Odd([1.])"


def test_the_name_of_a_node_is_asked_of_the_node():
    class Node:
        def name(self):
            return "MulBackward0"

    class Plain:
        pass

    assert shown(1.0, grad_fn=Node()) == "tensor(1., grad_fn=<MulBackward0>)"
    assert shown(1.0, grad_fn=Plain()) == "tensor(1., grad_fn=<Plain>)"


def test_parameter_has_a_line_of_its_own():
    text = "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert shown([1.0], requires_grad=True, is_parameter=True) == text


def test_meta_tensors_have_a_size_and_no_values():
    text = "tensor(..., device='meta', size=(2, 3))"
    assert format_tensor(None, dtype=float32, device="meta", shape=(2, 3)) == text
    text = "tensor(..., device='meta', size=(), dtype=iskra.int32)"
    assert format_tensor(None, dtype=int32, device="meta", shape=()) == text
    text = "tensor(..., device='meta', size=(0,))"
    assert format_tensor(None, dtype=float32, device="meta", shape=(0,)) == text


def test_a_suffix_that_does_not_fit_gets_a_line():
    text = shown(np.linspace(-1, 0.5, 8), float64)
    assert text.splitlines()[-1] == "       dtype=iskra.float64)"
    assert shown(np.linspace(0.1, 0.9, 7), grad_fn="AddBackward0").count("\n") == 1


def test_large_tensors_are_summarised():
    assert shown(np.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert "..." not in shown(np.arange(1000))
    text = (
        "tensor([[   0,    1,    2,  ...,   47,   48,   49],\n"
        "        [  50,   51,   52,  ...,   97,   98,   99],\n"
        "        [ 100,  101,  102,  ...,  147,  148,  149],\n"
        "        ...,\n"
        "        [2350, 2351, 2352,  ..., 2397, 2398, 2399],\n"
        "        [2400, 2401, 2402,  ..., 2447, 2448, 2449],\n"
        "        [2450, 2451, 2452,  ..., 2497, 2498, 2499]])"
    )
    assert shown(np.arange(2500).reshape(50, 50)) == text


def test_a_summary_measures_only_what_it_shows():
    values = np.zeros(5000)
    values[2500] = 1e30
    assert shown(values) == "tensor([0., 0., 0.,  ..., 0., 0., 0.])"


def test_names_follow_the_prefix():
    naming.set_prefix("torch")
    try:
        assert shown([1.0], float64) == "tensor([1.], dtype=torch.float64)"
    finally:
        naming.set_prefix("iskra")


def test_options():
    set_printoptions(precision=2, linewidth=20)
    assert shown([0.123, 0.456, 0.789]) == "tensor([0.12, 0.46,\n        0.79])"
    set_printoptions(profile="short")
    assert get_printoptions() == {
        "precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": None,
    }
    set_printoptions(profile="full")
    assert "..." not in shown(np.arange(3000))
    set_printoptions(sci_mode=True)
    assert shown([1.5]) == "tensor([1.5000e+00])"
    set_printoptions(sci_mode=False)
    assert shown([1.5e-6]) == "tensor([0.0000])"
    set_printoptions(precision=3)
    assert shown([1.5e-6]) == "tensor([1.500e-06])"  # sci_mode went back to None


def test_edgeitems_zero_hides_all_but_the_size():
    set_printoptions(threshold=5, edgeitems=0)
    assert shown(np.arange(6)) == "tensor([...], size=(6,))"
    assert shown(np.arange(3)) == "tensor([0, 1, 2], size=(3,))"


def test_unknown_profile():
    with pytest.raises(ValueError, match="'long'.*'default', 'short', 'full'"):
        set_printoptions(profile="long")


def test_options_come_back_after_the_block_even_after_an_error():
    before = get_printoptions()
    with pytest.raises(RuntimeError), printoptions(precision=1, sci_mode=True):
        assert shown([1.25]) == "tensor([1.2e+00])"
        raise RuntimeError
    assert get_printoptions() == before


def test_only_the_shown_part_of_a_gpu_array_is_fetched():
    class FarArray(np.ndarray):
        def get(self):
            fetched.append(self.size)
            return np.asarray(self)

    fetched = []
    array = np.arange(10**6).reshape(1000, 1000).view(FarArray)
    format_tensor(array, dtype=dtypes.int64, device="cuda:0")
    assert fetched == [36]


# --- against PyTorch

FLOATS = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]
SPECIAL = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0]


def random_array(rng):
    """Random shape, dtype and magnitude, with odd values strewn in: (array, dtype name)."""
    rank = rng.choice([0, 1, 1, 2, 2, 3, 4, 5])
    shape = [rng.choice([1, 2, 3, 5, 7, 12, 30]) for _ in range(rank)]
    if rank in (1, 2) and rng.random() < 0.3:
        shape[-1] = rng.choice([0, 100, 1200])
    noise = np.random.default_rng(rng.randrange(2**32))
    name = rng.choice(FLOATS * 2 + INTEGERS + ["bool", "complex64", "complex128"] * 2)
    if name == "bool":
        return np.asarray(noise.random(shape) > 0.5), name
    if name in INTEGERS:
        top = rng.choice([4, 100, np.iinfo(name).max])
        return np.asarray(noise.integers(0 if name[0] == "u" else -top, top, shape, name)), name
    values = random_floats(rng, noise, shape)
    if name.startswith("complex"):
        values = np.asarray(values + 1j * random_floats(rng, noise, shape))
    with np.errstate(over="ignore"):
        return values.astype(dtypes.named(name).numpy), name


def random_floats(rng, noise, shape):
    values = np.asarray(noise.standard_normal(shape) * 10.0 ** rng.choice([-9, -4, -1, 0, 2, 5, 9]))
    if rng.random() < 0.3:
        values = values.round()
    if rng.random() < 0.3:
        values = values * noise.lognormal(0, 3, shape)
    if rng.random() < 0.3 and values.size:
        values.flat[noise.integers(0, values.size, 3)] = noise.choice(SPECIAL, 3)
    return np.asarray(values)


def random_options(rng):
    if rng.random() < 0.5:
        return {}
    return {
        "precision": rng.choice([None, 0, 2, 8]),
        "threshold": rng.choice([None, 10]),
        "edgeitems": rng.choice([None, 0, 1, 2, 5]),
        "linewidth": rng.choice([None, 20, 40, 120]),
        "sci_mode": rng.choice([None, True, False]),
    }


def to_torch(torch, array, name):
    kind = getattr(torch, name)
    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        plain = array.view(f"u{array.itemsize}")
        return torch.from_numpy(plain).view(kind)
    return torch.from_numpy(array)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("seed", range(8))
def test_as_pytorch_prints(seed):
    torch = pytest.importorskip("torch")
    rng = random.Random(seed)
    try:
        for _ in range(60):
            array, name = random_array(rng)
            if array.ndim > 1 and rng.random() < 0.2:
                array = np.ascontiguousarray(array).swapaxes(0, 1)
            tensor = to_torch(torch, array, name)
            if name in ("float32", "complex128") and rng.random() < 0.3:
                tensor = tensor.requires_grad_()
                if rng.random() < 0.5:
                    tensor = tensor + 0
                    array = tensor.detach().numpy()
            options = random_options(rng)
            for reset in (torch.set_printoptions, printing.set_printoptions):
                reset(profile="default")
                reset(**options)
            naming.set_prefix("torch")  # the lengths of names decide where lines break
            ours = format_tensor(
                array,
                dtype=dtypes.named(name),
                requires_grad=tensor.requires_grad,
                grad_fn=tensor.grad_fn,
            )
            assert ours == repr(tensor), (options, name, array.shape)
    finally:
        naming.set_prefix("iskra")
        torch.set_printoptions(profile="default")
