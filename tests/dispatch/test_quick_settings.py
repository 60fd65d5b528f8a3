"""What a known call is told by, and what its results look like."""

import pytest
from dispatch.test_quick import is_known, learnt

import iskra as torch
from iskra.dispatch.operator import OPERATORS

F = torch.nn.functional
pytestmark = pytest.mark.usefixtures("untaught")


def test_floats_that_are_new_in_each_call_are_not_learnt():
    p, g = torch.zeros(5), torch.ones(5)
    for n in range(1, 100):
        rate = 1 / n
        p.add_(g, alpha=-rate)
        p.addcdiv_(g, g, value=rate)
    assert abs(p).max() < 1e-5
    for name in ("add", "addcdiv"):
        quick = OPERATORS[name].quick
        assert quick.learning and (quick.table is None or not any(quick.table._entries))
    learnt(lambda: torch.add(p, g, alpha=0.25))
    assert is_known("add", p, g, alpha=0.25)
    assert not is_known("add", p, g, alpha=0.5)


def test_floats_that_kernels_are_given_are_part_of_what_is_learnt():
    a = torch.randn(70, 80)
    for name, call in {"add": lambda v: torch.add(a, a, alpha=v),
                       "number": lambda v: torch.add(a, 2.5, alpha=v),
                       "leaky_relu": lambda v: F.leaky_relu(a, v)}.items():
        first = [(v, call(v).numpy()) for v in (0.25, -0.0, 0.0, 3.5)]
        for v, expected in first * 12:
            found = call(v).numpy()
            assert found.tobytes() == expected.tobytes(), (name, v)


@pytest.mark.parametrize("call", [
    lambda x: torch.median(x, 0, keepdim=True).values, lambda x: torch.mode(x, 0, True).indices,
    lambda x: x.sort(0).values, lambda x: x[:1].flip(1), lambda x: x[:, :1].t().exp(),
    lambda x: torch.cat([x[:1], x[:1]], 1), lambda x: x[:, :1].t().contiguous(),
])
def test_strides_are_those_of_the_first_call(call):
    x = torch.randn(4, 3)
    first = call(x).stride()
    assert learnt(call, x).stride() == first
