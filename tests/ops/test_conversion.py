"""`to` and the methods named after dtypes, by their short path and by the whole one."""

import numpy as np
import pytest

import iskra as torch

NAMES = {"float": torch.float32, "double": torch.float64, "half": torch.float16,
         "bfloat16": torch.bfloat16, "int": torch.int32, "long": torch.int64, "bool": torch.bool}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (90, 80)])
def test_methods_named_after_dtypes(name, shape):
    kind = NAMES[name]
    for source in (torch.float32, torch.bfloat16, torch.int64):
        x = (torch.arange(int(np.prod(shape))).reshape(shape) % 100 - 50).to(source)
        for _ in range(3):
            results = getattr(x, name)(), x.to(kind), x.to(dtype=kind), x.to("cpu", kind)
            for y in results:
                assert y.dtype is kind and y.shape == x.shape
                assert (y is x) == (kind is source)
                assert y.tolist() == torch.tensor(x.tolist(), dtype=kind).reshape(shape).tolist()


@pytest.mark.parametrize("pick", [lambda x: x.t(), lambda x: x[::2, 1:], lambda x: x[0]])
def test_layouts(pick):
    x = pick(torch.arange(9000.0).reshape(90, 100))
    y = x.half()
    assert np.array_equal(y.numpy(), x.numpy().astype(np.float16))
    assert (y.stride() == x.stride()) == x[..., :].numpy().flags.forc


def test_a_copy_where_one_is_asked_for():
    x = torch.ones(2, 3, 4, 4)
    assert x.to(torch.float32) is x and x.float() is x
    y = x.to(torch.float32, copy=True)
    assert y is not x and torch.equal(x, y)
    z = x.float(memory_format=torch.channels_last)
    assert z.stride() == (48, 1, 12, 3) and z.dtype is torch.float32
    assert x.half(memory_format=torch.channels_last).stride() == (48, 1, 12, 3)


def test_gradients_go_through_conversions():
    x = torch.ones(80, 80, requires_grad=True)
    for convert in (torch.Tensor.double, lambda x: x.to(torch.float64)):
        x.grad = None
        y = convert(x)
        assert type(y.grad_fn).__name__ == "ToCopyBackward0"
        (y * 3).sum().backward()
        assert x.grad.dtype is torch.float32 and (x.grad == 3).all()


def test_conversions_again_and_again():
    x = torch.arange(6000.0).reshape(60, 100) - 3000
    narrow, whole = x.numpy().astype(np.float16), x.numpy().astype(np.int32)
    for turn in range(30):
        y = x.detach().requires_grad_(turn % 2 == 1)
        assert np.array_equal(y.half().detach().numpy(), narrow)
        assert np.array_equal(y.to(torch.int32).numpy(), whole)
        assert y.double().requires_grad == (turn % 2 == 1)
        assert y.t().half().dtype is torch.float16 and y[:0].half().shape == (0, 100)


def test_conversions_can_be_taken_over():
    seen = []

    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = torch.ones(2).as_subclass(Mine)
    assert isinstance(x.to(torch.float64), Mine) and isinstance(x.double(), Mine)
    assert seen[0] == "to" and "double" in seen


def test_without_data():
    x = torch.ones(3, device="meta")
    assert x.half().dtype is torch.float16 and x.to(torch.int64).device.type == "meta"


@pytest.mark.parametrize("call", [
    lambda: torch.ones(1).to(3.5), lambda: torch.ones(1).to(torch.float64, unknown=1),
    lambda: torch.Tensor.to(3, torch.float64), lambda: torch.Tensor.float(3),
])
def test_what_makes_no_sense(call):
    with pytest.raises(TypeError):
        call()
