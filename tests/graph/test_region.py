"""Recorded graphs: a whole training step, and random operator graphs fused and unfused."""

import numpy as np
import pytest

import iskra
from iskra.dispatch.recorder import Recorder
from iskra.graph.region import Call, Lowered


class Snapshots(Recorder):
    """A recorder that keeps what the inputs held when they were first read."""

    def __init__(self):
        super().__init__()
        self.arrays = []

    def _value(self, tensor):
        count = len(self.region.inputs)
        value = super()._value(tensor)
        if len(self.region.inputs) > count:
            self.arrays.append(tensor._array.copy())
        return value


def lowered(make):
    """``(the lowered region of make()'s results, its inputs, the results' arrays)``."""
    with Snapshots() as recorder:
        outputs = make()
    region = recorder.finish(outputs)
    return Lowered(region), recorder.arrays, [np.array(t.detach()._array) for t in outputs]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_a_training_step_is_one_graph(optimizer):
    iskra.manual_seed(0)
    model = iskra.nn.Sequential(
        iskra.nn.Linear(20, 33), iskra.nn.ReLU(), iskra.nn.Linear(33, 7))
    x, y = iskra.randn(50, 20), iskra.rand(50, 7)
    optimizer = getattr(iskra.optim, optimizer)(model.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        loss = iskra.nn.functional.mse_loss(iskra.softmax(model(x), 1), y)
        loss.backward()
        optimizer.step()
        return [loss, *model.parameters()]

    step()  # so that the state is there
    low, inputs, expected = lowered(step)
    for found, wanted in zip(low.run(inputs), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    # No array comes from nowhere: inputs are data, parameters, state and the root's gradient.
    states = {"SGD": 0, "Adam": 2, "AdamW": 2}[type(optimizer).__name__]
    assert len(inputs) == 2 + 4 + 4 * states + 1
    # Everything but the matrix products and what tells kernels no shapes is fused.
    left = {step.op.name for step in low.steps if isinstance(step, Call)}
    assert left <= {"linear", "linear_backward", "linear_backward_parameters", "mse_loss",
                    "mse_loss_backward"}
    assert len(low.programs) <= 6


def test_other_inputs_than_the_recorded_ones():
    x = iskra.randn(30, 40)
    low, _, _ = lowered(lambda: [(x * 2).softmax(1), x.t().relu()])
    other = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    soft, relu = low.run([other])
    expected = np.exp(other * 2)
    np.testing.assert_allclose(soft, expected / expected.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(relu, np.maximum(other.T, 0))


def test_what_cannot_be_recorded_says_so():
    x = iskra.zeros(4, 4)
    with Recorder(), pytest.raises(RuntimeError, match="write to a view"):
        x[0].add_(1)
    with Recorder(), pytest.raises(RuntimeError, match="out="):
        iskra.exp(x, out=x)


MAPS = [
    lambda r, x, y: x + y, lambda r, x, y: x * y, lambda r, x, y: x - 0.5 * y,
    lambda r, x, y: iskra.maximum(x, y), lambda r, x, y: x.tanh(), lambda r, x, y: x.sigmoid(),
    lambda r, x, y: x.relu() + y, lambda r, x, y: iskra.where(x > y, x, y * 0.5),
    lambda r, x, y: (x * 0.3).exp(), lambda r, x, y: x.abs().sqrt(), lambda r, x, y: -x,
    lambda r, x, y: x.double().float() if r.random() < 0.5 else x.bfloat16().float(),
    lambda r, x, y: x + y[:1] * 0 + y.sum(1, keepdim=True) * 0.1,
    lambda r, x, y: x - x.mean(0, keepdim=True), lambda r, x, y: x / (x.var(1, keepdim=True) + 1),
    lambda r, x, y: x.softmax(int(r.integers(2))), lambda r, x, y: x.log_softmax(1) * 0.1,
    lambda r, x, y: x - x.amax(1).unsqueeze(1), lambda r, x, y: (x.t() + 1).t() * y,
    lambda r, x, y: iskra.nn.functional.layer_norm(x, x.shape[1:]),
    lambda r, x, y: x + y.sum() * 0.01, lambda r, x, y: x.mean(0).expand(x.shape) + x,
]


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_fused_and_unfused(seed):
    random = np.random.default_rng(seed)
    shape = [(6, 19), (33, 5), (17, 16), (1, 40), (40, 1)][seed % 5]
    leaves = [iskra.tensor(random.uniform(-1, 1, shape).astype(np.float32)) for _ in range(2)]

    def make():
        values = list(leaves)
        for _ in range(int(random.integers(3, 12))):
            build = MAPS[random.integers(len(MAPS))]
            x, y = (values[random.integers(len(values))] for _ in range(2))
            values.append(build(random, x, y))
        return [*values[-3:], values[-1].sum(0), values[-1].mean()]

    low, inputs, expected = lowered(make)
    for found, wanted in zip(low.run(inputs), expected, strict=True):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


def test_a_region_is_explained():
    x, w = iskra.rand(70, 80), iskra.rand(80, 80) / 80

    def make():
        y = x.exp() * 2
        return [(y @ w).softmax(1), y.sum(0)]

    low, inputs, expected = lowered(make)
    found = iskra.explain(low.run, inputs)
    for result, wanted in zip(found.result, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-5)
    first, *_, product, last = found.calls
    assert [call.served for call in (first, product, last)] == ["kernels"] * 3
    assert (first.name, first.signature) == ("region", "%2: float32[70, 80] = region of exp, mul")
    assert last.signature.endswith("= region of softmax, sum")
    text = str(found)
    for part in (": 1 kernel\n", "= input 0\n", "exp(", "kernel 1, map: space [s0, s1]",
                 "by hand: product", "kernel 1, rows", "kernel 2, columns"):
        assert part in text, part
    assert found.kernels == [*first.kernels, *product.kernels, *last.kernels]
    for kernel in (first.kernels[0], *last.kernels):
        assert "loop" in kernel.ir and "define void @kernel" in kernel.llvm and kernel.assembly
