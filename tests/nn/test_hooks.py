"""Hooks of modules, in the order in which PyTorch calls them."""

import copy

import pytest

import iskra as torch
from iskra import nn


class Double(nn.Module):
    def forward(self, x, plus=0):
        return x * 2 + plus


def test_forward_pre_hook_changes_arguments():
    layer = Double()
    layer.register_forward_pre_hook(lambda m, args: args[0] + 1)
    layer.register_forward_pre_hook(lambda m, args: (args[0] * 10,))
    layer.register_forward_pre_hook(lambda m, args: None)
    assert layer(torch.ones(1)).tolist() == [40]


def test_forward_hook_changes_the_output():
    layer = Double()
    layer.register_forward_hook(lambda m, args, out: out + args[0])
    layer.register_forward_hook(lambda m, args, out: None)
    assert layer(torch.ones(1)).tolist() == [3]


def test_with_kwargs():
    layer, seen = Double(), []
    layer.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"plus": kwargs["plus"] + 1}), with_kwargs=True
    )
    layer.register_forward_hook(
        lambda m, args, kwargs, out: seen.append((kwargs, out.tolist())), with_kwargs=True
    )
    assert layer(torch.ones(1), plus=3).tolist() == [6]
    assert seen == [({"plus": 4}, [6.0])]


def test_pre_hook_with_kwargs_must_return_a_pair():
    layer = Double()
    layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="None or a tuple of .new_args, new_kwargs."):
        layer(torch.ones(1))


def test_order_prepend_and_removal():
    layer, seen = Double(), []
    handles = [
        layer.register_forward_hook(lambda m, a, o, i=i: seen.append(i), prepend=i == 3)
        for i in range(4)
    ]
    layer(torch.ones(1))
    assert seen == [3, 0, 1, 2]
    handles[1].remove()
    handles[1].remove()
    seen.clear()
    layer(torch.ones(1))
    assert seen == [3, 0, 2]
    with handles[0]:
        pass
    seen.clear()
    layer(torch.ones(1))
    assert seen == [3, 2]


def test_tables_can_be_used_directly():
    layer, seen = Double(), []
    layer._forward_hooks[99] = lambda m, args, out: seen.append(1)
    layer(torch.ones(1))
    layer._forward_hooks.clear()
    layer(torch.ones(1))
    assert seen == [1]


def test_always_call_runs_after_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("broken")

    layer, seen = Broken(), []
    layer.register_forward_hook(lambda m, a, o: seen.append("plain"))
    layer.register_forward_hook(lambda m, a, o: seen.append(o), always_call=True)
    with pytest.raises(KeyError, match="broken"):
        layer(torch.ones(1))
    assert seen == [None]


def test_always_call_runs_once_and_its_errors_are_silenced():
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("broken")

    def fail(m, a, o):
        raise ValueError("second")

    layer = Broken()
    layer.register_forward_hook(fail, always_call=True)
    with pytest.warns(UserWarning, match="always_call=True.*silenced.*second"):
        with pytest.raises(KeyError):
            layer(torch.ones(1))
    layer, seen = Double(), []
    layer.register_forward_hook(lambda m, a, o: seen.append(1), always_call=True)
    layer(torch.ones(1))
    assert seen == [1]


def test_full_backward_hook_sees_and_replaces_gradients():
    layer, seen = Double(), []

    def hook(module, grad_input, grad_output):
        seen.append((module is layer, grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 100,)

    layer.register_full_backward_hook(hook)
    x = torch.ones(2, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [(True, [2.0, 2.0], [1.0, 1.0])]
    assert x.grad.tolist() == [200, 200]


def test_full_backward_pre_hook():
    layer, seen = Double(), []
    layer.register_full_backward_pre_hook(lambda m, grad: (grad[0] * 3,))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = torch.ones(1, requires_grad=True)
    layer(x).sum().backward()
    (((grad_in,), (grad_out,)),) = seen
    assert (grad_in.tolist(), grad_out.tolist()) == ([6.0], [3.0])
    assert x.grad.tolist() == [6]


def test_full_backward_hook_with_several_arguments():
    class Mix(nn.Module):
        def forward(self, a, number, b):
            return a * number, b + 1

    layer, seen = Mix(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    first, second = layer(a, 5, b)
    (first + second * 3).sum().backward()
    ((grad_a, nothing, grad_b), grad_out), = seen
    assert (grad_a.tolist(), nothing, grad_b.tolist()) == ([5.0], None, [3.0])
    assert [g.tolist() for g in grad_out] == [[1.0], [3.0]]


def test_full_backward_hook_with_an_unused_argument():
    class First(nn.Module):
        def forward(self, a, b, c):
            return a * 2

    layer, seen = First(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.extend(gi))
    a, b = torch.ones(1, requires_grad=True), torch.ones(2, requires_grad=True)
    layer(a, b, torch.ones(3)).sum().backward()
    assert [grad.tolist() for grad in seen] == [[2], [0, 0], [0, 0, 0]]
    assert b.grad is None or b.grad.tolist() == [0, 0]


def test_full_backward_hook_without_gradients_of_inputs():
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(torch.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]
    assert layer.weight.grad.tolist() == [[1, 1]]


def test_backward_hook_of_wrong_length():
    layer = Double()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        layer(torch.ones(1, requires_grad=True)).sum().backward()


def test_backward_hooks_under_no_grad_do_nothing():
    layer, seen = Double(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(1))
    with torch.no_grad():
        assert layer(torch.ones(1, requires_grad=True)).tolist() == [2]
    assert seen == []


def test_old_and_full_backward_hooks_do_not_mix():
    layer = Double()
    layer.register_full_backward_hook(lambda m, gi, go: None)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        layer.register_backward_hook(lambda m, gi, go: None)


def test_old_backward_hook():
    layer, seen = nn.ReLU(), []
    layer.register_backward_hook(lambda m, gi, go: seen.append((gi[0].tolist(), go[0].tolist())))
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    layer(x).sum().backward()
    assert seen == [([0.0, 1.0], [1.0, 1.0])]


def test_global_hooks_come_first_and_go_away():
    from iskra.nn.modules import module as global_hooks

    layer, seen = Double(), []
    layer.register_forward_hook(lambda m, a, o: seen.append("own"))
    layer.register_forward_pre_hook(lambda m, a: seen.append("own pre"))
    handles = [
        global_hooks.register_module_forward_hook(lambda m, a, o: seen.append("global")),
        global_hooks.register_module_forward_pre_hook(lambda m, a: seen.append("global pre")),
    ]
    try:
        layer(torch.ones(1))
        Double()(torch.ones(1))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["global pre", "own pre", "global", "own", "global pre", "global"]
    seen.clear()
    Double()(torch.ones(1))
    assert seen == []


def test_global_backward_hooks():
    from iskra.nn.modules import module as global_hooks

    seen = []
    handles = [
        global_hooks.register_module_full_backward_hook(lambda m, gi, go: seen.append("after")),
        global_hooks.register_module_full_backward_pre_hook(lambda m, go: seen.append("before")),
    ]
    try:
        nn.ReLU()(torch.ones(1, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["before", "after"]


def test_registration_hooks():
    from iskra.nn.modules import module as global_hooks

    seen = []
    note = lambda m, name, value: seen.append((type(m).__name__, name))
    handles = [
        global_hooks.register_module_parameter_registration_hook(note),
        global_hooks.register_module_buffer_registration_hook(note),
        global_hooks.register_module_module_registration_hook(note),
    ]
    try:
        layer = nn.BatchNorm1d(2, track_running_stats=False)
        layer.child = nn.ReLU()
        layer.register_buffer("extra", torch.ones(1))
    finally:
        for handle in handles:
            handle.remove()
    assert ("BatchNorm1d", "weight") in seen and ("BatchNorm1d", "bias") in seen
    assert seen[-2:] == [("BatchNorm1d", "child"), ("BatchNorm1d", "extra")]


def test_a_registration_hook_may_replace():
    from iskra.nn.modules import module as global_hooks

    replacement = nn.Parameter(torch.full((1,), 7.0))
    with global_hooks.register_module_parameter_registration_hook(lambda m, n, p: replacement):
        module = nn.Module()
        module.weight = nn.Parameter(torch.ones(1))
    assert module.weight is replacement


def test_hooks_are_copied_with_the_module():
    layer = Double()
    layer.register_forward_hook(lambda m, a, o: o + 1)
    other = copy.deepcopy(layer)
    assert other(torch.ones(1)).tolist() == [3]
    layer._forward_hooks.clear()
    assert layer(torch.ones(1)).tolist() == [2] and other(torch.ones(1)).tolist() == [3]


def test_calls_without_hooks_take_the_fast_path():
    layer = Double()
    layer(torch.ones(1))
    assert "_forward_hooks" not in vars(layer)  # none of the tables has been made
    handle = layer.register_forward_hook(lambda m, a, o: None)
    assert layer._hooked
    handle.remove()
    layer(torch.ones(1))
    assert not layer._hooked
