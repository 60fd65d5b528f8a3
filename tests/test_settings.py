"""Settings of the process, and functions of the top namespace that nn.functional has too."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn import functional as F


@pytest.fixture(autouse=True)
def restored():
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.set_warn_always(False)
    torch.set_default_dtype(torch.float32)


def test_determinism():
    assert not torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_deterministic_debug_mode() == 2
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_deterministic_debug_mode("default")
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("call, error", [
    (lambda: torch.use_deterministic_algorithms(1), TypeError),
    (lambda: torch.set_deterministic_debug_mode("x"), RuntimeError),
    (lambda: torch.set_deterministic_debug_mode(3), RuntimeError),
    (lambda: torch.set_deterministic_debug_mode(None), TypeError),
    (lambda: torch.set_float32_matmul_precision("low"), RuntimeError),
    (lambda: torch.set_warn_always(1), TypeError),
    (lambda: torch.set_num_interop_threads(0), RuntimeError),
    (lambda: torch.set_num_interop_threads(1.5), TypeError),
    (lambda: torch.set_default_tensor_type(torch.LongTensor), TypeError),
    (lambda: torch.set_default_tensor_type("torch.cuda.FloatTensor"), RuntimeError),
    (lambda: torch.set_default_tensor_type(3), TypeError),
])
def test_settings_are_checked(call, error):
    with pytest.raises(error):
        call()


def test_what_is_remembered():
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("medium")
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_warn_always(True)
    assert torch.is_warn_always_enabled()
    assert torch.set_flush_denormal(True) is False
    torch.set_num_interop_threads(2)
    assert torch.get_num_interop_threads() == 1


def test_default_tensor_type():
    torch.set_default_tensor_type("torch.DoubleTensor")
    assert torch.zeros(1).dtype is torch.float64
    torch.set_default_tensor_type(torch.HalfTensor)
    assert torch.zeros(1).dtype is torch.float16


def test_functions_with_another_order_of_arguments():
    x = torch.arange(6.0).reshape(3, 2)
    mean, var = torch.zeros(2), torch.ones(2)
    weight, bias = torch.tensor([2.0, 3.0]), torch.tensor([1.0, 1.0])
    for training in (True, False):
        ours = torch.batch_norm(x, weight, bias, mean.clone(), var.clone(), training, 0.1, 1e-5)
        theirs = F.batch_norm(x, mean.clone(), var.clone(), weight, bias, training, 0.1, 1e-5)
        assert torch.equal(ours, theirs)
    images = x.reshape(1, 3, 2)
    assert torch.equal(
        torch.instance_norm(images, None, None, None, None, True, 0.1, 1e-5, False),
        F.instance_norm(images),
    )
    table, places = torch.arange(6.0).reshape(3, 2), torch.tensor([2, 0])
    assert torch.equal(torch.embedding(table, places), F.embedding(places, table))
    assert torch.bilinear is F.bilinear


def test_embedding_of_the_top_namespace_skips_the_gradient_of_padding():
    table = torch.ones(3, 2, requires_grad=True)
    torch.embedding(table, torch.tensor([0, 1]), padding_idx=1).sum().backward()
    assert table.grad.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_embedding_renorm_shrinks_only_what_is_looked_up():
    table = torch.tensor([[3.0, 4.0], [30.0, 40.0]])
    assert torch.embedding_renorm_(table, torch.tensor([0]), 1.0) is table
    np.testing.assert_allclose(table.numpy(), [[0.6, 0.8], [30, 40]], rtol=1e-6)


def test_functions_in_place():
    x = torch.ones(2)
    assert torch.zero_(x) is x and x.tolist() == [0, 0]
    y = torch.ones(1, requires_grad=True) * 2
    assert torch.detach(y).grad_fn is None and y.requires_grad
    assert torch.detach_(y) is y and not y.requires_grad


def test_from_file_shares_or_copies(tmp_path):
    path = str(tmp_path / "numbers")
    with pytest.raises(RuntimeError, match="unable to open file"):
        torch.from_file(path, size=2)
    shared = torch.from_file(path, shared=True, size=3, dtype=torch.int32)
    shared[1] = 7
    own = torch.from_file(path, shared=False, size=3, dtype=torch.int32)
    own[0] = 9
    assert own.tolist() == [9, 7, 0]
    assert torch.from_file(path, size=3, dtype=torch.int32).tolist() == [0, 7, 0]
    assert torch.from_file(path, size=2).dtype is torch.float32
    with pytest.raises(RuntimeError):
        torch.from_file(path, size=300)


@pytest.mark.parametrize("name", ["GradScaler", "TypedStorage", "to_dlpack", "OutOfMemoryError"])
def test_names_that_live_elsewhere(name):
    assert callable(getattr(torch, name))
    assert issubclass(torch.AcceleratorError, RuntimeError) and torch.chalf is torch.complex32
