"""Calls that once slipped through, or failed for the wrong reason.

Where PyTorch is installed, it must refuse (or take) the same calls.
"""

import pytest

import iskra
from iskra.nn import functional as F

try:
    import torch
except ImportError:
    torch = None

LIBRARIES = [iskra] if torch is None else [iskra, torch]


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def lib(request):
    return request.param


@pytest.mark.parametrize("make", ["zeros", "ones", "empty", "rand", "randn"])
@pytest.mark.parametrize("device", ["nonsense", "cuda:7"])
def test_factories_refuse_devices_that_are_not_there(lib, make, device):
    with pytest.raises((RuntimeError, AssertionError)):
        getattr(lib, make)(2, device=device)


def test_other_factories_refuse_them_too():
    for call in (lambda d: iskra.full((2,), 1, device=d), lambda d: iskra.arange(3, device=d),
                 lambda d: iskra.eye(2, device=d), lambda d: iskra.tensor(1, device=d),
                 lambda d: iskra.linspace(0, 1, 3, device=d),
                 lambda d: iskra.zeros_like(iskra.ones(2), device=d),
                 lambda d: iskra.ones(2).new_zeros(2, device=d),
                 lambda d: iskra.randperm(3, device=d), lambda d: iskra.ones(1).to(d)):
        with pytest.raises(RuntimeError, match="cuda"):
            call("cuda")


OPERATORS = ["sum", "mean", "prod", "amax", "argmax", "all", "cumsum", "softmax", "exp", "neg",
             "sort", "topk", "gather", "trace", "det", "count_nonzero", "logsumexp"]
REST = {"cumsum": (0,), "softmax": (0,), "topk": (1,), "gather": (0, None), "logsumexp": (0,),
        "prod": (0,)}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("value", [None, "x", 3, [1.0, 2.0]], ids=str)
def test_what_is_no_tensor_is_named(name, value):
    with pytest.raises(TypeError, match=rf"{name}.*(must be|expected) Tensor"):
        getattr(iskra, name)(value, *REST.get(name, ()))


def test_products_of_nothing_have_their_shape(lib):
    assert lib.matmul(lib.ones(1, 5, 0), lib.ones(0, 10)).shape == (1, 5, 10)
    assert lib.matmul(lib.ones(0, 5, 2), lib.ones(2, 3)).shape == (0, 5, 3)
    nothing = lib.nn.functional.linear(lib.ones(2, 3, 0), lib.ones(4, 0))
    assert nothing.tolist() == [[[0.0] * 4] * 3] * 2


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive_maxima_of_an_empty_batch(lib, dims):
    pool = getattr(lib.nn.functional, f"adaptive_max_pool{dims}d")
    values, places = pool(lib.ones(0, 3, *[4] * dims), 2, return_indices=True)
    assert values.shape == places.shape == (0, 3, *[2] * dims)


def test_counts_may_be_tensors(lib):
    pieces = lib.chunk(lib.arange(5), lib.tensor(4))
    assert [p.tolist() for p in pieces] == [[0, 1], [2, 3], [4]]
    assert lib.stack([lib.ones(2), lib.zeros(2)], lib.tensor(1)).tolist() == [[1, 0], [1, 0]]
    rounded = lib.tensor([1.2345]).round(decimals=lib.tensor(2))
    assert rounded.equal(lib.tensor([1.23]))


def test_roll_takes_none_for_no_dims(lib):
    assert lib.roll(lib.tensor([[1, 2], [3, 4]]), 1, None).tolist() == [[4, 1], [2, 3]]


def test_sizes_of_a_transform_may_be_one_int(lib):
    assert lib.fft.fftn(lib.ones(2, 4), s=3).shape == (2, 3)
    with pytest.raises(RuntimeError, match="same length"):
        lib.fft.fft2(lib.ones(4, 4), s=3)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize("count", [-1, 0])
def test_transforms_need_a_point(lib, name, count):
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(-?\d\)"):
        getattr(lib.fft, name)(lib.ones(4), n=count)


def test_reflections_must_fit_their_matrix(lib):
    with pytest.raises(RuntimeError, match=r"tau.shape\[-1\] must be equal to min"):
        lib.ormqr(lib.ones(5, 5), lib.ones(4), lib.ones(5, 2))


@pytest.mark.parametrize("call", [
    lambda t, a, b: t.linalg.cross(a, b), lambda t, a, b: t.cdist(a, b),
])
def test_vectors_have_one_dtype(lib, call):
    with pytest.raises(RuntimeError):
        call(lib, lib.ones(2, 3), lib.ones(2, 3, dtype=lib.float64))


@pytest.mark.parametrize("size, stride", [((2,), (1, 1)), ((2, 1), (1,)), ((-2,), (1,)),
                                          ((2,), (-1,))])
def test_places_to_scatter_into_are_checked(lib, size, stride):
    with pytest.raises(RuntimeError):
        lib.as_strided_scatter(lib.ones(6), lib.ones(2), size, stride)


def test_parts_that_do_not_broadcast(lib):
    with pytest.raises(RuntimeError, match="must match the size"):
        lib.complex(lib.ones(2), lib.ones(3))


def test_negative_sizes_do_not_broadcast(lib):
    with pytest.raises(RuntimeError):
        lib.broadcast_shapes((2,), (-100,))
    with pytest.raises(ValueError, match="negative"):
        lib.broadcast_shapes((-100,), (2,))


def test_masked_functions_run_along_the_first_dimension_of_none():
    x = iskra.tensor([[1.0, 4.0], [2.0, 3.0]])
    masked = iskra.masked
    for call in (masked.cumsum, masked.cumprod, masked.median, masked.softmax,
                 masked.log_softmax, masked.softmin):
        assert call(x, None).equal(call(x, 0))
        if torch is not None:
            other = getattr(torch.masked, call.__name__)(torch.tensor(x.tolist()), None)
            assert iskra.allclose(call(x, None), iskra.tensor(other.tolist()))


def test_what_has_no_gradient_formula_of_its_own_still_names_its_operand():
    with pytest.raises(TypeError, match="linear.*must be Tensor"):
        F.linear([1.0], iskra.ones(1, 1))


def test_losses_over_classes_speak_of_the_function_called():
    with pytest.raises(ValueError, match=r"^Expected input batch_size \(3\) to match target"):
        F.cross_entropy(iskra.ones(3, 4), iskra.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"^Expected input batch_size \(3\) to match target"):
        F.nll_loss(iskra.ones(3, 4), iskra.tensor([0, 1]))
