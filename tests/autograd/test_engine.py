"""The backward pass: accumulation, ordering, retained graphs, deep chains, prompt release."""

import gc
import threading
import weakref

import numpy as np
import pytest

import iskra as torch
from iskra.tensor import wrap


def leaf(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def test_gradients_accumulate_over_backward_calls():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    for expected in (0.5, 1.0):
        (x * 2).mean().backward()
        assert x.grad.tolist() == [expected] * 4


def test_paths_that_meet_add_up():
    x = leaf(3.0)
    y = x * x
    z = y * x + y
    z.sum().backward()
    assert x.grad.tolist() == [3 * 9 + 2 * 3]


def test_a_deep_chain_does_not_overflow_the_stack():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward(torch.ones(1, dtype=torch.float64))
    assert x.grad.item() == 1
    del y  # nor does taking the graph down


def test_second_backward_needs_a_retained_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8
    with pytest.raises(RuntimeError, match="backward through the graph a second time.*'mul'"):
        y.backward()


def test_graphs_that_saved_nothing_run_twice():
    x = leaf(2.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.item() == 2


def test_create_graph_to_any_order():
    x = leaf(2.0)
    derivatives, y = [], (x ** 4).sum()
    for _ in range(5):
        (y,) = torch.autograd.grad(y, x, create_graph=True)
        derivatives.append(y.item())
        y = y.sum()
    assert derivatives == [32.0, 48.0, 48.0, 24.0, 0.0]


def test_backward_with_create_graph_gives_gradients_a_history():
    x = leaf(2.0)
    (x ** 3).sum().backward(create_graph=True)
    assert x.grad.grad_fn is not None
    (second,) = torch.autograd.grad(x.grad.sum(), x)
    assert second.item() == 12


def test_implicit_gradient_only_for_scalars():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="implicitly created only for scalar"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(1).sum().backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(torch.ones(3, dtype=torch.float64))


def test_grad_returns_and_does_not_accumulate():
    x, y = leaf(2.0), leaf(3.0)
    z = (x * y).sum()
    gx, gy = torch.autograd.grad(z, (x, y))
    assert (gx.item(), gy.item()) == (3, 2)
    assert x.grad is None and y.grad is None


def test_grad_of_an_intermediate_value():
    x = leaf(2.0)
    y = x * 3
    z = (y * y).sum()
    gy, gx = torch.autograd.grad(z, (y, x))
    assert (gy.item(), gx.item()) == (12, 36)


def test_grad_of_unused_inputs():
    x, unused = leaf(2.0), leaf(1.0)
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match="allow_unused"):
        torch.autograd.grad(y, (x, unused), retain_graph=True)
    assert torch.autograd.grad(y, unused, allow_unused=True, retain_graph=True) == (None,)
    (zero,) = torch.autograd.grad(y, unused, materialize_grads=True, retain_graph=True)
    assert zero.tolist() == [0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(y, torch.ones(1))


def test_backward_with_inputs_reaches_only_those():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.item() == 3 and y.grad is None
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * y).sum().backward(inputs=[])


def test_batched_gradients():
    x = leaf(1.0, 2.0)
    (rows,) = torch.autograd.grad(
        x * x, x, torch.eye(2, dtype=torch.float64), is_grads_batched=True
    )
    assert rows.tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_leaf_rules():
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf and not y.is_leaf and torch.ones(1).is_leaf
    with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point and complex"):
        torch.tensor([1]).requires_grad_()
    assert not y.detach().requires_grad


def test_grad_is_checked_when_assigned():
    x = leaf(1.0, 2.0)
    x.grad = torch.ones(2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="size"):
        x.grad = torch.ones(3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="dtype"):
        x.grad = torch.ones(2)
    with pytest.raises(TypeError):
        x.grad = 3
    assert x.grad.tolist() == [1, 1]
    x.grad = None
    assert x.grad is None


def test_leaves_do_not_share_gradient_memory():
    x, y = leaf(1.0), leaf(1.0)
    seed = torch.ones(1, dtype=torch.float64)
    (x + y).backward(seed)
    x.grad.add_(5)
    assert y.grad.item() == 1 and seed.item() == 1


def test_a_saved_value_does_not_become_a_gradient():
    x, weight = leaf(1.0), torch.tensor([3.0], dtype=torch.float64)
    (x * weight).sum().backward()
    x.grad.add_(1)
    assert weight.item() == 3


def test_graph_is_freed_without_the_garbage_collector():
    def step():
        x = leaf(1.0, 2.0)
        hidden = (x.exp() * x).tanh()
        loss = (hidden * hidden).sum()
        loss.backward()
        return [weakref.ref(t) for t in (x, hidden, loss, loss.grad_fn, hidden.grad_fn)]

    gc.collect()
    gc.disable()
    try:
        assert [reference() for reference in step()] == [None] * 5
        x = leaf(1.0)
        y = x.exp()  # saves its own output
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_modes():
    x = leaf(1.0)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()

    @torch.no_grad()
    def evaluate():
        return (x * 2).requires_grad

    assert evaluate() is False and torch.is_grad_enabled()

    @torch.no_grad()
    def rows():
        yield (x * 2).requires_grad
        yield torch.is_grad_enabled()

    assert list(rows()) == [False, False]


def test_modes_belong_to_the_thread():
    seen = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_inference_mode():
    x = leaf(1.0)
    with torch.inference_mode():
        y = x * 2
        y.add_(1)
    assert y.is_inference() and not y.requires_grad
    with pytest.raises(RuntimeError, match="[Ii]nference"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="[Ii]nference"):
        y.requires_grad_()


def test_backward_in_several_threads():
    x = leaf(*[1.0] * 1000)
    results = []

    def work():
        y = (x * 2).exp().sum()
        results.append(torch.autograd.grad(y, x)[0].sum().item())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(set(results)) == 1


def test_node_names_and_next_functions():
    x = leaf(1.0)
    y = x * 2 + 1
    assert y.grad_fn.name() == "AddBackward0"
    ((node, number),) = [f for f in y.grad_fn.next_functions if f[0] is not None]
    assert (node.name(), number) == ("MulBackward0", 0)
    accumulate = node.next_functions[0][0]
    assert accumulate.name() == "AccumulateGrad" and accumulate.variable is x


@pytest.mark.parametrize(("kept", "shape_of", "taken"), [
    (False, lambda a: a, True),
    (False, lambda a: a.reshape(2, 3), True),
    (False, lambda a: a.reshape(3, 2).T, True),
    (True, lambda a: a.reshape(2, 3), False),
    (False, lambda a: np.broadcast_to(a[:1], (2, 3)), False),
    (False, lambda a: a[:4], False),
    (False, lambda a: np.lib.stride_tricks.as_strided(a, (2, 3), (8, 8)), False),
])
def test_leaves_take_gradients_over_that_nobody_else_sees(kept, shape_of, taken):
    address, held = [], []

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            array = np.array([1.0, 2, 3, 4, 5, 6])
            address.append(array.ctypes.data)
            held.extend([array] * kept)
            return wrap(shape_of(array))

    x = torch.zeros(shape_of(np.zeros(6)).shape, dtype=torch.float64, requires_grad=True)
    Own.apply(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), shape_of(np.arange(1.0, 7)))
    assert (x.grad.data_ptr() in address) == taken
    x.grad.add_(1)
    np.testing.assert_array_equal(x.grad.numpy(), shape_of(np.arange(1.0, 7)) + 1)


def test_integer_results_have_no_history():
    x = leaf(3.0, 1.0)
    assert not x.argmax().requires_grad
    assert not (x > 2).requires_grad
    values, indices = x.sort()
    assert values.requires_grad and not indices.requires_grad
