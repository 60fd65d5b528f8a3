"""The meta device: shapes, strides and dtypes without data."""

import copy
import pickle

import pytest

import iskra as torch
from iskra.nn import functional as F


def meta(*shape, **settings):
    return torch.ones(*shape, device="meta", **settings)


@pytest.mark.parametrize("call, shape, dtype", [
    (lambda: meta(2, 3) + 1, (2, 3), torch.float32),
    (lambda: meta(2, 1) * meta(3), (2, 3), torch.float32),
    (lambda: meta(2, 3) @ meta(3, 4), (2, 4), torch.float32),
    (lambda: meta(2, 3).sum(1), (2,), torch.float32),
    (lambda: meta(2, 3, dtype=torch.int8).sum(), (), torch.int64),
    (lambda: meta(2, 3) > 0, (2, 3), torch.bool),
    (lambda: meta(2, 3).argmax(1, keepdim=True), (2, 1), torch.int64),
    (lambda: meta(2, 3).to(torch.float16), (2, 3), torch.float16),
    (lambda: meta(2, 3)[:, 1:], (2, 2), torch.float32),
    (lambda: meta(2, 3)[torch.tensor([0, 1, 0])], (3, 3), torch.float32),
    (lambda: torch.cat([meta(2, 3), meta(1, 3)]), (3, 3), torch.float32),
    (lambda: torch.stack([meta(2), meta(2)], 1), (2, 2), torch.float32),
    (lambda: meta(2, 3).softmax(1), (2, 3), torch.float32),
    (lambda: meta(2, 3).topk(2).values, (2, 2), torch.float32),
    (lambda: meta(2, 3).sort().indices, (2, 3), torch.int64),
    (lambda: torch.einsum("ij,jk->ik", meta(2, 3), meta(3, 4)), (2, 4), torch.float32),
    (lambda: F.conv2d(meta(1, 3, 8, 8), meta(4, 3, 3, 3), padding=1), (1, 4, 8, 8), torch.float32),
    (lambda: F.max_pool2d(meta(1, 3, 8, 8), 2), (1, 3, 4, 4), torch.float32),
    (lambda: F.layer_norm(meta(2, 3), (3,)), (2, 3), torch.float32),
    (lambda: F.scaled_dot_product_attention(*[meta(1, 2, 3, 4)] * 3), (1, 2, 3, 4), torch.float32),
    (lambda: torch.linalg.inv(meta(2, 3, 3)), (2, 3, 3), torch.float32),
    (lambda: torch.linalg.svd(meta(3, 2)).U, (3, 3), torch.float32),
    (lambda: torch.linalg.cholesky(meta(3, 3)), (3, 3), torch.float32),
    (lambda: torch.linalg.lu(meta(2, 3, 3)).U, (2, 3, 3), torch.float32),
    (lambda: torch.linalg.solve(meta(3, 3), meta(3)), (3,), torch.float32),
    (lambda: torch.fft.rfft(meta(5)), (3,), torch.complex64),
    (lambda: torch.arange(3, device="meta"), (3,), torch.int64),
    (lambda: torch.rand(2, 3, device="meta"), (2, 3), torch.float32),
    (lambda: torch.empty_like(torch.ones(2, 3), device="meta"), (2, 3), torch.float32),
    (lambda: meta(2).new_zeros(3), (3,), torch.float32),
    (lambda: torch.ones(2, 3).to("meta"), (2, 3), torch.float32),
    (lambda: torch.nn.Linear(3, 4, device="meta")(meta(2, 3)), (2, 4), torch.float32),
    (lambda: torch.nn.LSTM(3, 4, device="meta")(meta(2, 1, 3))[0], (2, 1, 4), torch.float32),
])
def test_results_have_shapes_and_dtypes(call, shape, dtype):
    result = call()
    assert result.is_meta and result.device.type == "meta"
    assert tuple(result.shape) == shape and result.dtype is dtype


def test_strides_follow_views():
    assert meta(2, 3).t().stride() == (1, 3)
    assert meta(2, 3).expand(4, 2, 3).stride() == (0, 3, 1)
    assert torch.empty_strided((2, 3), (1, 2), device="meta").stride() == (1, 2)
    assert meta(2, 3).untyped_storage().nbytes() == 24
    assert meta(2).data_ptr() == 0 and not meta(2, 3).t().is_contiguous()


@pytest.mark.parametrize("call, error, message", [
    (lambda: meta(1).item(), RuntimeError, "meta"), (lambda: bool(meta(1)), RuntimeError, "meta"),
    (lambda: meta(2).tolist(), NotImplementedError, "no data"),
    (lambda: meta(2).cpu(), NotImplementedError, "no data"),
    (lambda: torch.ones(2).copy_(meta(2)), NotImplementedError, "no data"),
    (lambda: meta(2).nonzero(), NotImplementedError, "depends on the data"),
    (lambda: meta(2).unique(), NotImplementedError, "depends on the data"),
    (lambda: meta(2, 3).view(7), RuntimeError, "invalid for input of size 6"),
    (lambda: meta(2, 3) + meta(4), RuntimeError, "size of tensor a"),
    (lambda: meta(2, 3) @ meta(4, 2), RuntimeError, "shapes"),
    (lambda: torch.cat([meta(2, 3), meta(1, 4)]), RuntimeError, "Sizes of tensors must match"),
])
def test_what_needs_data_or_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gradients_have_shapes():
    x = meta(2, 3, requires_grad=True)
    (x @ meta(3, 2)).relu().sum().backward()
    assert x.grad.is_meta and x.grad.shape == (2, 3)


def test_writes_in_place_change_nothing_but_the_version():
    x = meta(2, 3)
    assert x.add_(1) is x and x._version == 1
    assert x.zero_().is_meta and x.copy_(torch.ones(2, 3)).is_meta


def test_copies_and_printing():
    x = meta(2, 3, dtype=torch.int8)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert y.is_meta and y.shape == x.shape and y.dtype is torch.int8
    assert repr(x) == "tensor(..., device='meta', size=(2, 3), dtype=iskra.int8)"


def test_modules_get_their_data_later():
    layer = torch.nn.Linear(3, 4, device="meta").to_empty(device="cpu")
    assert layer.weight.is_cpu and layer(torch.ones(2, 3)).shape == (2, 4)
    with torch.device("meta"):
        assert torch.nn.Linear(3, 4).weight.is_meta
