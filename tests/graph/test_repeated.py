"""Kernels on operands that `expand` repeats: what they give is what copies of them give."""

import itertools

import pytest

import iskra as torch

SHAPE = 16, 24, 32


def variants():
    """Operands that broadcast to SHAPE; each axis is there, repeated, or of one place."""
    for kinds in itertools.product("arp", repeat=3):
        real = [n if kind == "a" else 1 for n, kind in zip(SHAPE, kinds, strict=True)]
        shown = [1 if kind == "p" else n for n, kind in zip(SHAPE, kinds, strict=True)]
        yield "".join(kinds), torch.randn(real).expand(shown)


OPERANDS = dict(variants())


@pytest.mark.parametrize("name", OPERANDS)
def test_beside_copies(name):
    x, y = torch.randn(SHAPE), OPERANDS[name]
    copy = y.clone(memory_format=torch.contiguous_format)
    for call in (
        lambda y: x * y,
        lambda y: torch.where(y > 0, x, y),
        lambda y: torch.tanh(y),
        lambda y: torch.addcmul(x, x, y),
        lambda y: torch.nn.functional.mse_loss(x, y.expand(SHAPE), reduction="none"),
        lambda y: torch.softmax(y, -1),
        lambda y: y.expand(SHAPE).sum(1),
        lambda y: torch.lerp(x.transpose(0, 1), y.expand(SHAPE).transpose(0, 1), 0.25),
    ):
        assert torch.equal(call(y), call(copy))


def test_gradients_of_distances_between_many_vectors():
    a, b = torch.randn(64, 64), torch.randn(64, 64)
    a.requires_grad_()
    torch.cdist(a, b).sum().backward()
    away = a.detach().unsqueeze(1) - b
    expected = (away / away.norm(dim=-1, keepdim=True)).sum(1)
    torch.testing.assert_close(a.grad, expected, rtol=1e-4, atol=1e-4)
