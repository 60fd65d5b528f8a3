"""Hooks on tensors and nodes, retained gradients, saved-tensor hooks, anomaly mode."""

import warnings

import pytest

import iskra as torch


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_tensor_hooks_see_and_replace_gradients():
    x = leaf(1.0, 2.0)
    seen = []
    y = x * 2
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    assert seen == [[1, 1]] and x.grad.tolist() == [20, 20]
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_leaf_hooks_run_once_on_the_total():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5.0]


def test_hooks_must_keep_the_shape():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="changed the size"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        torch.ones(1).register_hook(print)


def test_post_accumulate_hooks():
    x = leaf(1.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
    (x * 3).sum().backward()
    (x * 3).sum().backward()
    assert seen == [3, 6]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_retain_grad():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3] and x.grad.tolist() == [6]


def test_node_hooks():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.grad_fn.register_prehook(lambda g: seen.append("before"))
    y.grad_fn.register_hook(lambda gi, go: seen.append((gi[0].item(), go[0].item())))
    y.sum().backward()
    assert seen == ["before", (2.0, 1.0)]


def test_multi_grad_hook():
    x, y = leaf(1.0), leaf(2.0)
    a, b = x * 2, y * 3
    seen = []
    torch.autograd.graph.register_multi_grad_hook([a, b], lambda gs: seen.append(len(gs)))
    (a + b).sum().backward(retain_graph=True)
    a.sum().backward()
    assert seen == [2, 2]


def test_saved_tensor_hooks():
    x = leaf(1.0, 2.0)
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    with torch.autograd.graph.saved_tensors_hooks(
        pack, lambda values: torch.tensor(values, dtype=torch.float64)
    ):
        y = (x * x).exp()
    y.sum().backward()
    assert packed[:2] == [[1.0, 2.0]] * 2 and len(packed) == 3
    expected = (2 * x * (x * x).exp()).tolist()
    assert x.grad.tolist() == pytest.approx(expected)


def test_anomaly_mode_shows_the_forward_line():
    x = leaf(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly():
            y = (x * 0).sqrt()  # the line to be shown
            with pytest.raises(RuntimeError, match="SqrtBackward0|MulBackward0") as caught:
                (y * 0).sum().backward()
    assert "the line to be shown" in "".join(caught.value.__notes__)
    assert not torch.is_anomaly_enabled()


def test_saved_values_are_visible_on_the_node():
    x = leaf(2.0)
    y = x * 3
    assert y.grad_fn._saved_other == 3
    with pytest.raises(AttributeError):
        _ = y.grad_fn._saved_nothing
