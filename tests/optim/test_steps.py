"""The steps of all optimizers: against numbers from PyTorch 2.13, and against PyTorch itself."""

import math

import numpy as np
import pytest
from optim.steps import ELEMENTWISE, IDS, RESULTS, START, gradient

import iskra
from iskra.optim.update import BLOCK


def parameter(array, lib=iskra):
    return lib.nn.Parameter(lib.tensor(array))


@pytest.mark.parametrize("name, options, expected", RESULTS, ids=IDS)
def test_known_results(name, options, expected):
    p = parameter(START)
    optimizer = getattr(iskra.optim, name)([p], **options)
    for t in range(20):
        p.grad = iskra.tensor(gradient(t))
        optimizer.step()
    assert p.tolist() == pytest.approx(expected, rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("name, options, expected", RESULTS, ids=IDS)
def test_small_parameters_together(name, options, expected):
    # Several small parameters are computed as one vector: bit for bit what each gives alone.
    alone = [parameter(START) for _ in range(2)]
    together = [parameter([x]) for x in START] + [parameter(np.float32(START[0]))]
    first = getattr(iskra.optim, name)(alone, **options)
    second = getattr(iskra.optim, name)(together, **options)
    for t in range(6):
        g = np.array(gradient(t), np.float32)
        for p in alone:
            p.grad = iskra.tensor(g)
        for i, p in enumerate(together):
            p.grad = iskra.tensor(g[i % 3].reshape(p.shape))
        first.step()
        second.step()
    if name != "Adafactor":  # which looks at a parameter as a whole
        assert [p.item() for p in together] == [*alone[0].tolist(), alone[0][0].item()]
        assert alone[0].tolist() == alone[1].tolist()


def test_a_changing_set_of_small_parameters():
    # The vectors are made anew when other parameters have gradients, without forgetting anything.
    def run(separately):
        params = [parameter(START) for _ in range(4)]
        if separately:
            optimizers = [iskra.optim.Adam([p], lr=0.1) for p in params]
        else:
            optimizers = [iskra.optim.Adam(params, lr=0.1)]
        for t in range(8):
            for i, p in enumerate(params):
                wanted = (t >> (i % 3)) & 1 or i == 0
                p.grad = iskra.tensor(gradient(t + i)) if wanted else None
            if t == 5:  # as a user who resets the state may do
                state = (optimizers[1] if separately else optimizers[0]).state[params[1]]
                state["exp_avg"] = iskra.zeros(3)
            for optimizer in optimizers:
                optimizer.step()
        return [p.tolist() for p in params]

    assert run(True) == run(False)


def test_state_stays_the_same_tensors():
    params = [parameter(START), parameter(START)]
    optimizer = iskra.optim.Adam(params)
    for p in params:
        p.grad = iskra.ones(3)
    optimizer.step()
    seen = optimizer.state[params[1]]["exp_avg"]
    optimizer.step()
    assert optimizer.state[params[1]]["exp_avg"] is seen
    assert seen.tolist() == pytest.approx([0.19] * 3)
    seen.zero_()
    params[0].grad = params[1].grad = iskra.ones(3)
    optimizer.step()
    assert seen.tolist() == pytest.approx([0.1] * 3)


def test_muon_and_adafactor_on_a_matrix():
    # Numbers from PyTorch 2.13.
    start = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    p, q = parameter(start), parameter(start)
    muon, adafactor = iskra.optim.Muon([p], lr=0.1), iskra.optim.Adafactor([q], lr=0.1)
    for t in range(5):
        g = [[math.sin(0.7 * t + i + 3 * j) for i in range(3)] for j in range(2)]
        p.grad, q.grad = iskra.tensor(g), iskra.tensor(g)
        if t < 3:
            muon.step()
        adafactor.step()
    expected = [[0.75708169, 1.80408919, 2.97707939], [3.7534275, 4.92933607, 6.03420258]]
    np.testing.assert_allclose(p.tolist(), expected, rtol=3e-3)  # computed in bfloat16
    expected = [[-0.77334082, 1.23966181, 3.70124483], [5.22232008, 5.935853, 5.54680920]]
    np.testing.assert_allclose(q.tolist(), expected, rtol=1e-5)


@pytest.mark.parametrize("name, options, _", ELEMENTWISE)
@pytest.mark.parametrize("size", [0, 1025, 2 * BLOCK + 7])
def test_large_and_empty_parameters(name, options, _, size):
    # Block by block is the same as all at once; a few elements of it computed alone.
    base = np.linspace(-1, 1, size, dtype=np.float32)
    large, picks = parameter(base), [0, size // 2, size - 1] if size else []
    few = parameter(base[picks])
    optimizer = getattr(iskra.optim, name)([large, few], **options)
    for t in range(3):
        g = np.sin(np.arange(size) * 0.3 + t).astype(np.float32)
        large.grad, few.grad = iskra.tensor(g), iskra.tensor(g[picks])
        optimizer.step()
    assert large.detach().numpy()[picks].tolist() == few.tolist()


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_strided_parameters_and_gradients(order):
    base = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    p = iskra.nn.Parameter(iskra.tensor(base.transpose(order).copy()).permute(*order))
    q = parameter(base)
    assert p.is_contiguous() == (order == (0, 1))
    g = np.sin(base)
    strided = iskra.tensor(np.repeat(g, 2, axis=1))[:, ::2]
    for _ in range(3):
        for r, grad in ((p, strided), (q, iskra.tensor(g))):
            r.grad = grad
            iskra.optim.Adam([r], lr=0.1).step()
    assert p.tolist() == q.tolist()


def test_bfloat16_is_computed_in_float32_and_rounded_when_stored():
    p = iskra.nn.Parameter(iskra.tensor(START).to(iskra.bfloat16))
    q = parameter(p.detach().float().numpy())
    for r in (p, q):
        optimizer = iskra.optim.SGD([r], lr=0.1)
        r.grad = iskra.tensor(gradient(0)).to(r.dtype)
        optimizer.step()
    assert p.dtype is iskra.bfloat16
    assert p.float().tolist() == pytest.approx(q.tolist(), rel=8e-3)


def test_a_step_counts_as_a_write():
    p = parameter(START)
    loss = (p * p).sum()
    p.grad = iskra.ones(3)
    iskra.optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_infinite_gradients_make_no_warnings():
    p = parameter(START)
    p.grad = iskra.tensor([math.inf, math.nan, 1e30])
    iskra.optim.Adam([p]).step()  # warnings are errors in this suite
    assert math.isnan(p[1].item())


def test_parameters_without_gradient_are_left_alone():
    p, q = parameter(START), parameter(START)
    optimizer = iskra.optim.Adam([p, q])
    p.grad = iskra.ones(3)
    optimizer.step()
    assert q.tolist() == START and q not in optimizer.state


def test_tensor_learning_rates_follow_the_tensor():
    lr = iskra.tensor(0.5)
    p = parameter([1.0])
    optimizer = iskra.optim.SGD([p], lr=lr)
    p.grad = iskra.ones(1)
    optimizer.step()
    lr.fill_(0.25)
    optimizer.step()
    assert p.item() == 0.25


@pytest.mark.parametrize("name, options, _", ELEMENTWISE)
def test_differentiable_steps_are_the_same_steps(name, options, _):
    results = []
    for differentiable in (False, True):
        p = parameter(START)
        used = p.clone() if differentiable else p
        optimizer = getattr(iskra.optim, name)([used], differentiable=differentiable, **options)
        for t in range(4):
            used.grad = iskra.tensor(gradient(t))
            optimizer.step()
        results.append(used.tolist())
        if differentiable:
            used.sum().backward()
            assert p.grad is not None
    assert results[1] == pytest.approx(results[0], rel=1e-6)


def test_the_gradient_of_a_learning_rate():
    # Two steps of SGD with momentum m on f(p) = p * p: p2 is a polynomial in lr.
    lr = iskra.tensor(0.1, dtype=iskra.float64, requires_grad=True)
    p = iskra.tensor(2.0, dtype=iskra.float64, requires_grad=True).clone()
    optimizer = iskra.optim.SGD([p], lr=lr, momentum=0.5, differentiable=True)
    for _ in range(2):
        p.grad = 2 * p.clone()
        optimizer.step()
    p.backward()
    # p1 = 2 - 4 lr; b2 = 2 + 2 p1 = 6 - 8 lr; p2 = p1 - lr b2 = 2 - 10 lr + 8 lr^2
    assert p.item() == pytest.approx(2 - 1 + 0.08)
    assert lr.grad.item() == pytest.approx(-10 + 1.6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("name, options, _", RESULTS, ids=IDS)
def test_against_pytorch(name, options, _, dtype):
    torch = pytest.importorskip("torch")
    if name == "Adafactor" and dtype == "complex64":
        with pytest.raises(RuntimeError, match="complex"):
            p = iskra.nn.Parameter(iskra.ones(1, dtype=iskra.complex64))
            p.grad = iskra.ones(1, dtype=iskra.complex64)
            iskra.optim.Adafactor([p]).step()
        return

    def run(lib):
        random = np.random.default_rng(0)

        def draw(shape):
            a = random.standard_normal(shape)
            if dtype == "complex64":
                a = a + 1j * random.standard_normal(shape)
            return lib.tensor(np.asarray(a).astype(dtype))

        params = [lib.nn.Parameter(draw(s)) for s in ((3, 4), (5,), (), (2, 3, 4))]
        optimizer = getattr(lib.optim, name)(params, **options)
        for _ in range(20):
            for p in params:
                p.grad = draw(tuple(p.shape))
            optimizer.step()
        return params, optimizer.state_dict()

    (ours, our_state), (theirs, their_state) = run(iskra), run(torch)
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), tolerance, tolerance)
    assert our_state["param_groups"] == their_state["param_groups"]
    assert our_state["state"].keys() == their_state["state"].keys()
    for key, entry in their_state["state"].items():
        assert list(our_state["state"][key]) == list(entry)
        for part, value in entry.items():
            mine = our_state["state"][key][part]
            assert str(mine.dtype).split(".")[-1] == str(value.dtype).split(".")[-1]
            np.testing.assert_allclose(mine.numpy(), value.numpy(), tolerance, tolerance)
