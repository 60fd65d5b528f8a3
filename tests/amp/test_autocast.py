"""Autocast: which dtype operators compute in, what is kept, and how blocks nest."""

import threading

import pytest

import iskra as torch
from iskra import nn
from iskra.amp import state
from iskra.core.local import active, local
from iskra.nn import functional as F


def floats(*shape, dtype=torch.float32):
    return torch.linspace(-1, 1, max(1, torch.Size(shape).numel())).reshape(shape).to(dtype)


def test_products_run_low_and_their_gradients_come_back_in_the_operands_dtype():
    x, w = floats(2, 3).requires_grad_(), floats(3, 4).requires_grad_()
    with torch.autocast("cpu"):
        y = x @ w
    assert y.dtype is torch.bfloat16
    expected = (x.bfloat16() @ w.bfloat16()).detach()
    assert torch.equal(y.detach(), expected)
    y.float().sum().backward()
    assert x.grad.dtype is w.grad.dtype is torch.float32


def test_float16_is_the_other_low_dtype():
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.mm(floats(2, 2), floats(2, 2)).dtype is torch.float16


@pytest.mark.parametrize("call", [
    lambda: F.conv1d(floats(1, 2, 5), floats(3, 2, 2)),
    lambda: F.conv2d(floats(1, 2, 5, 5), floats(3, 2, 2, 2), padding=1),
    lambda: F.conv_transpose2d(floats(1, 2, 3, 3), floats(2, 3, 2, 2)),
    lambda: F.linear(floats(2, 3), floats(4, 3), floats(4)),
    lambda: torch.bmm(floats(2, 2, 3), floats(2, 3, 2)),
    lambda: torch.baddbmm(floats(2, 2, 2), floats(2, 2, 3), floats(2, 3, 2)),
    lambda: torch.addmm(floats(2), floats(2, 3), floats(3, 2)),
    lambda: torch.einsum("ij,jk->ik", floats(2, 3), floats(3, 2)),
    lambda: F.scaled_dot_product_attention(*[floats(1, 2, 3, 4)] * 3),
    lambda: nn.Linear(3, 2)(floats(2, 3)),
    lambda: nn.MultiheadAttention(4, 2)(*[floats(3, 2, 4)] * 3)[0],
])
def test_lowered(call):
    assert call().dtype is torch.float32
    with torch.autocast("cpu"):
        assert call().dtype is torch.bfloat16


@pytest.mark.parametrize("call", [
    lambda: F.mse_loss(floats(3, dtype=torch.bfloat16), floats(3, dtype=torch.bfloat16)),
    lambda: F.cross_entropy(floats(2, 3, dtype=torch.bfloat16), torch.tensor([0, 2])),
    lambda: F.binary_cross_entropy_with_logits(
        floats(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16)
    ),
    lambda: torch.prod(floats(3, dtype=torch.bfloat16)),
    lambda: torch.linalg.inv(torch.eye(2, dtype=torch.bfloat16)),
    lambda: torch.cdist(floats(2, 3, dtype=torch.bfloat16), floats(2, 3, dtype=torch.bfloat16)),
])
def test_raised_to_float32(call):
    with torch.autocast("cpu"):
        assert call().dtype is torch.float32


def test_the_widest_dtype_wins_in_joining():
    low, wide = floats(2, dtype=torch.bfloat16), floats(2)
    with torch.autocast("cpu"):
        assert torch.cat([low, wide]).dtype is torch.float32
        assert torch.stack([low, low]).dtype is torch.bfloat16


def test_the_rest_stays_as_it_is():
    with torch.autocast("cpu"):
        assert floats(3).exp().dtype is torch.float32
        assert floats(3, dtype=torch.bfloat16).exp().dtype is torch.bfloat16
        assert F.bilinear(floats(2, 3), floats(2, 4), floats(5, 3, 4)).dtype is torch.float32


def test_float64_integers_and_written_tensors_are_left_alone():
    x = floats(2, 2)
    with torch.autocast("cpu"):
        assert (x.double() @ x.double()).dtype is torch.float64
        assert (x.long() @ x.long()).dtype is torch.int64
        assert torch.mm(x, x, out=torch.empty(2, 2)).dtype is torch.float32
        y = x.clone()
        assert y.addmm_(x, x) is y and y.dtype is torch.float32


def test_calls_inside_composites_and_modules_are_cast():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2))
    with torch.autocast("cpu"):
        out = model(floats(5, 3))
        loss = F.cross_entropy(out, torch.zeros(5, dtype=torch.int64))
    assert out.dtype is torch.bfloat16 and loss.dtype is torch.float32
    loss.backward()
    assert all(p.grad.dtype is torch.float32 for p in model.parameters())


def test_blocks_nest():
    x = floats(2, 2)
    with torch.autocast("cpu"):
        with torch.autocast("cpu", enabled=False):
            assert not torch.is_autocast_enabled("cpu")
            assert (x @ x).dtype is torch.float32
            with torch.autocast("cpu", dtype=torch.float16):
                assert (x @ x).dtype is torch.float16
            assert (x @ x).dtype is torch.float32
        assert (x @ x).dtype is torch.bfloat16
    assert (x @ x).dtype is torch.float32
    assert local.interceptors == () and active.intercepting == 0


def test_a_block_ends_where_an_error_leaves_it():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        with torch.autocast("cpu"):
            torch.mm(floats(2, 3), floats(2, 3))
    assert not torch.is_autocast_enabled("cpu") and active.intercepting == 0
    assert torch.get_autocast_dtype("cpu") is torch.bfloat16


def test_it_decorates_and_one_object_serves_again_inside_itself():
    @torch.autocast("cpu")
    def product(x, depth):
        y = x @ x
        return (y.dtype, *product(x, depth - 1)) if depth else (y.dtype,)

    assert product(floats(2, 2), 1) == (torch.bfloat16, torch.bfloat16)
    assert product.__name__ == "product" and not torch.is_autocast_enabled("cpu")


def test_a_parameters_cast_is_kept_until_the_outermost_block_ends():
    w = torch.eye(2, requires_grad=True)
    x = floats(2, 2)
    with torch.autocast("cpu"):
        with torch.autocast("cpu"):
            torch.mm(x, w)
        torch.mm(x, w)
        assert [entry[0] is w for entry in state.settings.cache.values()] == [True]
        torch.clear_autocast_cache()
        assert not state.settings.cache
        torch.mm(x, w)
    assert not state.settings.cache
    with torch.autocast("cpu", cache_enabled=False):
        assert not torch.is_autocast_cache_enabled()
        torch.mm(x, w)
        assert not state.settings.cache
    assert torch.is_autocast_cache_enabled()


def test_a_kept_cast_cuts_no_gradient_and_is_never_stale():
    w = torch.ones(1, 1, requires_grad=True)
    x = torch.ones(1, 1)
    with torch.autocast("cpu"):
        with torch.no_grad():
            torch.mm(x, w)
        first = torch.mm(x, w)
        assert first.requires_grad
        with torch.no_grad():
            w.mul_(3)
        assert torch.mm(x, w).item() == 3
        w.data = torch.full((1, 1), 5.0)
        assert torch.mm(x, w).item() == 5


def test_each_thread_has_its_own():
    found = []
    with torch.autocast("cpu"):
        thread = threading.Thread(
            target=lambda: found.append(torch.mm(floats(2, 2), floats(2, 2)).dtype)
        )
        thread.start()
        thread.join()
    assert found == [torch.float32]


def test_settings_without_a_block():
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", torch.float16)
    try:
        assert torch.is_autocast_cpu_enabled() and not torch.is_autocast_enabled()
        assert torch.mm(floats(2, 2), floats(2, 2)).dtype is torch.float16
    finally:
        torch.set_autocast_cpu_enabled(False)
        torch.set_autocast_cpu_dtype(torch.bfloat16)
    assert local.interceptors == ()


def test_modes_inside_and_outside_see_the_call_as_it_was_made():
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((func.__name__, args[0].dtype))
            return func(*args, **(kwargs or {}))

    x = floats(2, 2)
    with Watch(), torch.autocast("cpu"):
        inner = x.mm(x)
    with torch.autocast("cpu"), Watch():
        outer = x.mm(x)
    assert inner.dtype is outer.dtype is torch.bfloat16
    assert [s for s in seen if s[0] == "mm"] == [("mm", torch.float32)] * 2


def test_subclasses_are_cast_after_they_had_the_call():
    class Sub(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return super().__torch_function__(func, types, args, kwargs or {})

    x = floats(2, 2).as_subclass(Sub)
    with torch.autocast("cpu"):
        y = x.mm(x)
    assert type(y) is Sub and y.dtype is torch.bfloat16


def test_wrong_settings():
    with pytest.raises(ValueError, match="device_type of type"):
        torch.autocast(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'nonsense'"):
        torch.autocast("nonsense")
    with pytest.warns(UserWarning, match="no CUDA device"):
        assert not torch.autocast("cuda")._enabled
    with pytest.warns(UserWarning, match="not supported"):
        block = torch.autocast("cpu", dtype=torch.float32)
    with block:
        assert torch.mm(floats(2, 2), floats(2, 2)).dtype is torch.float32


class Product(torch.autograd.Function):
    seen = []

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x.mm(w)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        Product.seen.append(torch.is_autocast_enabled("cpu"))
        return g.mm(w.t()), x.t().mm(g)


def test_custom_functions_repeat_autocast_in_backward():
    Product.seen.clear()
    x = floats(2, 2).requires_grad_()
    with torch.autocast("cpu"):
        y = Product.apply(x, x)
    assert y.dtype is torch.bfloat16
    y.sum().backward()
    Product.apply(x, x).sum().backward()
    assert Product.seen == [True, False] and x.grad.dtype is torch.float32


def test_custom_forward_may_ask_for_a_dtype():
    class Wide(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx, x, more):
            assert not torch.is_autocast_enabled("cpu")
            return x.mm(more["w"][0])

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g, None

    x = floats(2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu"):
        assert Wide.apply(x, {"w": [x]}).dtype is torch.float32
    assert Wide.apply(x, {"w": [x]}).dtype is torch.bfloat16


def test_the_older_names():
    from iskra.cuda import amp

    with pytest.warns(UserWarning, match="no CUDA device"):
        with amp.autocast():
            assert torch.mm(floats(2, 2), floats(2, 2)).dtype is torch.float32
    with pytest.warns(UserWarning, match="no CUDA device"):
        assert not amp.GradScaler().is_enabled()

    @amp.custom_fwd
    def forward(ctx, x):
        return x

    assert forward(type("Context", (), {})(), 3) == 3
