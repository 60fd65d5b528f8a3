"""`Optimizer`: parameter groups, hooks, state dicts, pickling, and every argument error."""

import copy
import io
import pickle
import warnings

import pytest

import iskra
from iskra.optim import SGD, Adam, AdamW, Optimizer
from iskra.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)

EMPTY_GROUP = {
    "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False,
    "foreach": None, "differentiable": False, "fused": None,
}


def parameter(*values):
    return iskra.nn.Parameter(iskra.tensor(values or (1.0, 2.0)))


@pytest.fixture
def p():
    return parameter()


# Parameter groups


def test_groups_take_defaults_and_their_own_options(p):
    q = parameter()
    optimizer = SGD([{"params": p}, {"params": iter([q]), "lr": 0.5, "extra": "x"}], lr=0.1)
    first, second = optimizer.param_groups
    assert first == {"params": [p], "lr": 0.1, **EMPTY_GROUP}
    assert second == {"params": [q], "lr": 0.5, "extra": "x", **EMPTY_GROUP}
    assert list(first) == ["params", "lr", *EMPTY_GROUP]


def test_named_parameters(p):
    q = parameter()
    optimizer = SGD([("a", p), ("b", q)], lr=0.1)
    group = optimizer.param_groups[0]
    assert group["param_names"] == ["a", "b"] and group["params"] == [p, q]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["a", "b"]
    with pytest.raises(ValueError, match="without names"):
        optimizer.add_param_group({"params": [parameter()]})


def test_a_generator_of_parameters(p):
    assert SGD((q for q in [p]), lr=0.1).param_groups[0]["params"] == [p]


@pytest.mark.parametrize("make, error, match", [
    (lambda p: SGD(p), TypeError, "iterable of tensors"),
    (lambda p: SGD([]), ValueError, "empty parameter list"),
    (lambda p: SGD([{"params": p}, 3]), TypeError, "param_group must be a dict"),
    (lambda p: SGD([{"params": {p}}]), TypeError, "order"),
    (lambda p: SGD([p * 2]), ValueError, "non-leaf"),
    (lambda p: SGD([1]), TypeError, "is int"),
    (lambda p: SGD([{"params": p}, {"params": p}]), ValueError, "more than one parameter group"),
    (lambda p: SGD([("a", p), parameter()]), ValueError, "without a name"),
    (lambda p: SGD([p]).add_param_group([p]), TypeError, "list"),
    (lambda p: Optimizer([p], {"lr": required}), ValueError, "required"),
    (lambda p: Optimizer([p], {}).step(), NotImplementedError, "step"),
    (lambda p: SGD([p], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda p: SGD([p], lr=float("nan")), ValueError, "Invalid learning rate"),
    (lambda p: SGD([p], momentum=-1), ValueError, "Invalid momentum value: -1"),
    (lambda p: SGD([p], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
    (lambda p: SGD([p], nesterov=True), ValueError, "Nesterov momentum requires"),
    (lambda p: SGD([p], nesterov=True, momentum=0.9, dampening=0.1), ValueError, "zero dampening"),
    (lambda p: SGD([p], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
    (lambda p: SGD([p], fused=True, differentiable=True), RuntimeError, "does not support"),
    (lambda p: SGD([p], lr=iskra.ones(2)), ValueError, "1-element"),
    (lambda p: Adam([p], lr=iskra.ones(()), foreach=True), ValueError, "foreach=True"),
    (lambda p: Adam([p], betas=(1.0, 0.9)), ValueError, "beta parameter at index 0: 1.0"),
    (lambda p: Adam([p], betas=(0.9, -0.1)), ValueError, "beta parameter at index 1: -0.1"),
    (lambda p: Adam([p], betas=(iskra.tensor(0.9), 0.99)), ValueError, "both"),
    (lambda p: AdamW([p], eps=-1), ValueError, "Invalid epsilon value: -1"),
    (lambda p: iskra.optim.RMSprop([p], alpha=-1), ValueError, "Invalid alpha value: -1"),
    (lambda p: iskra.optim.Adagrad([p], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
    (lambda p: iskra.optim.Adadelta([p], rho=2), ValueError, "Invalid rho value: 2"),
    (lambda p: iskra.optim.NAdam([p], momentum_decay=-1), ValueError, "momentum_decay value: -1"),
    (lambda p: iskra.optim.Rprop([p], etas=(1.5, 2)), ValueError, "Invalid eta values: 1.5, 2"),
    (lambda p: iskra.optim.Adafactor([p], d=0.5), ValueError, "d should be >= 1"),
    (lambda p: iskra.optim.Adafactor([p], beta2_decay=1), ValueError, "<= 0"),
    (lambda p: iskra.optim.Muon([p]), ValueError, "Muon only supports 2D parameters"),
    (lambda p: iskra.optim.Muon([p], adjust_lr_fn="x"), ValueError, "x is not supported"),
    (lambda p: iskra.optim.SparseAdam([p], lr=0), ValueError, "Invalid learning rate: 0"),
    (lambda p: iskra.optim.LBFGS([{"params": p}, {"params": parameter()}]), ValueError, "groups"),
    (lambda p: iskra.optim.LBFGS([p]).step(), TypeError, "closure"),
    (lambda p: iskra.optim.LBFGS([p], line_search_fn="x").step(lambda: 1), RuntimeError, "strong"),
])
def test_errors(p, make, error, match):
    with pytest.raises(error, match=match):
        make(p)


def test_a_refused_group_leaves_the_optimizer_as_it_was(p):
    optimizer = SGD([p], lr=0.1)
    with pytest.raises(ValueError):
        optimizer.add_param_group({"params": [parameter(), p]})
    assert len(optimizer.param_groups) == 1


def test_duplicates_in_a_group_warn(p):
    with pytest.warns(UserWarning, match="duplicate parameters"):
        SGD([p, p])


def test_sparse_adam_asks_for_adam(p):
    p.grad = iskra.ones(2)
    with pytest.raises(RuntimeError, match="does not support dense gradients.*Adam instead"):
        iskra.optim.SparseAdam([p]).step()


def test_repr(p):
    optimizer = Optimizer([{"params": p}, {"params": parameter(), "a": 3}], {"b": 1, "a": 2})
    assert repr(optimizer) == (
        "Optimizer (\nParameter Group 0\n    a: 2\n    b: 1\n"
        "\nParameter Group 1\n    a: 3\n    b: 1\n)"
    )


def test_zero_grad(p):
    optimizer = SGD([p])
    p.grad = grad = iskra.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad and grad.tolist() == [0, 0]
    (p * p).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.grad_fn is None and p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_closures_record_gradients_even_without_grad(p):
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with iskra.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 5 and p.tolist() == [0, 0]


# Hooks


def test_step_hooks_run_in_order_and_can_change_arguments(p):
    seen = []
    optimizer = SGD([p], lr=0.5)
    with register_optimizer_step_pre_hook(lambda *a: seen.append("global pre")):
        with register_optimizer_step_post_hook(lambda *a: seen.append("global post")):
            optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append((args, kwargs)))
            optimizer.register_step_pre_hook(lambda o, args, kw: ((o, lambda: "changed"), {}))
            optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("post"))
            assert optimizer.step() == "changed"
    assert seen == ["global pre", ((optimizer,), {}), "post", "global post"]
    optimizer.step()
    assert seen[4:] == [((optimizer,), {}), "post"]


def test_a_hook_that_returns_nonsense(p):
    optimizer = SGD([p])
    handle = optimizer.register_step_pre_hook(lambda *a: 3)
    with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
        optimizer.step()
    handle.remove()
    optimizer.step()


def test_hooks_of_a_users_own_optimizer(p):
    class Mine(Optimizer):
        def step(self, closure=None):
            return "stepped"

    seen = []
    optimizer = Mine([p], {})
    optimizer.register_step_post_hook(lambda *a: seen.append(1))
    assert optimizer.step() == "stepped" and seen == [1]


def test_state_dict_hooks(p):
    optimizer, seen = SGD([p], lr=0.1), []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("before it"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1})
    saved = optimizer.state_dict()
    assert saved["more"] == 1 and seen == ["before it", "first"]

    def doubled(o, d):
        groups = [{**group, "lr": group["lr"] * 2} for group in d["param_groups"]]
        return {**d, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(doubled)
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(saved)
    assert seen[-1] == 0.2 and saved["param_groups"][0]["lr"] == 0.1


# State dicts


def trained(lib=iskra, steps=3, make=None, dtype="float32"):
    params = [lib.nn.Parameter(lib.tensor(v, dtype=getattr(lib, dtype)))
              for v in ([1.0, 2.0], [[0.5]])]
    make = make or (lambda lib, params: lib.optim.Adam(params, lr=0.1, amsgrad=True))
    optimizer = make(lib, params)
    advance(lib, optimizer, params, range(steps))
    return optimizer, params


def advance(lib, optimizer, params, steps):
    for t in steps:
        for p in params:
            p.grad = lib.full_like(p, 0.3 * t + 0.1)
        optimizer.step()


def test_state_dict_has_pytorchs_form():
    optimizer, params = trained()
    saved = optimizer.state_dict()
    assert list(saved) == ["state", "param_groups"]
    assert list(saved["state"]) == [0, 1]
    names = ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert list(saved["state"][0]) == names
    assert saved["state"][0]["exp_avg"] is optimizer.state[params[0]]["exp_avg"]
    step = saved["state"][0]["step"]
    assert step.dtype is iskra.float32 and step.shape == () and step.item() == 3
    assert saved["param_groups"] == [{
        "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": True,
        "maximize": False, "foreach": None, "capturable": False, "differentiable": False,
        "fused": None, "decoupled_weight_decay": False, "params": [0, 1],
    }]


def test_sgd_without_momentum_remembers_nothing():
    optimizer, _ = trained(make=lambda lib, params: lib.optim.SGD(params))
    assert optimizer.state_dict()["state"] == {}


def test_a_loaded_optimizer_goes_on_as_the_saved_one_would():
    first, params = trained()
    second, others = trained(steps=0)
    second.load_state_dict(first.state_dict())
    for p, q in zip(others, params):
        p.data.copy_(q.data)
    assert second.state[others[0]]["exp_avg"] is not first.state[params[0]]["exp_avg"]
    advance(iskra, first, params, range(3, 6))
    advance(iskra, second, others, range(3, 6))
    assert [p.tolist() for p in others] == [p.tolist() for p in params]


def test_loaded_state_takes_the_parameters_dtype_but_for_the_step():
    first, _ = trained()
    second, others = trained(steps=0, dtype="float64")
    second.load_state_dict(first.state_dict())
    state = second.state[others[0]]
    assert state["exp_avg"].dtype is iskra.float64 and state["step"].dtype is iskra.float32


def test_loading_renumbers_and_keeps_what_it_does_not_know(p):
    optimizer = SGD([p, parameter()], lr=0.1)
    optimizer.load_state_dict({
        "state": {5: {"x": iskra.ones(2, dtype=iskra.float64), "n": [1, "a"]}, "junk": 3},
        "param_groups": [{"params": [5, 7], "mine": 1}],
    })
    saved = optimizer.state_dict()
    assert saved["state"]["junk"] == 3
    assert saved["state"][0]["x"].dtype is iskra.float32 and saved["state"][0]["n"] == [1, "a"]
    group = saved["param_groups"][0]
    assert group["mine"] == 1 and group["params"] == [0, 1]
    optimizer.step()  # options that old files lack are the defaults


def test_mismatched_state_dicts(p):
    optimizer = SGD([p], lr=0.1)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_step_counts_of_old_files_are_numbers():
    optimizer, params = trained()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0]["step"] = 3
    optimizer.load_state_dict(saved)
    assert optimizer.state[params[0]]["step"].item() == 3


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad", "ASGD", "NAdam", "RMSprop"])
def test_checkpoints_cross_to_pytorch_and_back(name):
    torch = pytest.importorskip("torch")

    def make(lib, params):
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        return getattr(lib.optim, name)(params, lr=0.1, **options)

    def carry(value, lib):
        """The same state dict with the other library's tensors."""
        if isinstance(value, dict):
            return {k: carry(v, lib) for k, v in value.items()}
        if isinstance(value, list):
            return [carry(v, lib) for v in value]
        return lib.tensor(value.detach().numpy()) if hasattr(value, "detach") else value

    (ours, our_params), (theirs, their_params) = trained(make=make), trained(torch, make=make)
    theirs.load_state_dict(carry(ours.state_dict(), torch))
    advance(torch, theirs, their_params, range(3, 5))
    ours.load_state_dict(carry(theirs.state_dict(), iskra))
    for p, q in zip(our_params, their_params):
        p.data.copy_(iskra.tensor(q.detach().numpy()))
    advance(torch, theirs, their_params, range(5, 7))
    advance(iskra, ours, our_params, range(5, 7))
    for p, q in zip(our_params, their_params):
        assert p.flatten().tolist() == pytest.approx(q.flatten().tolist(), rel=1e-5)


@pytest.mark.parametrize("copies", [
    copy.deepcopy,
    lambda pair: pickle.loads(pickle.dumps(pair)),
])
def test_copies_go_on_independently(copies):
    optimizer, params = trained()
    twin, twins = copies((optimizer, params))
    assert twin.param_groups[0]["params"][0] is twins[0]
    advance(iskra, optimizer, params, range(3, 5))
    before = [p.tolist() for p in twins]
    assert before != [p.tolist() for p in params]
    advance(iskra, twin, twins, range(3, 5))
    assert [p.tolist() for p in twins] == [p.tolist() for p in params]
    assert twin.register_step_pre_hook(lambda *a: None)


def test_saving_to_a_file():
    optimizer, _ = trained()
    file = io.BytesIO()
    iskra.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = iskra.load(file)
    saved = optimizer.state_dict()
    assert loaded["param_groups"] == saved["param_groups"]
    for key, value in saved["state"][0].items():
        assert loaded["state"][0][key].tolist() == value.tolist()


def test_every_optimizer_minimises_a_square():
    for name in iskra.optim.__all__:
        cls = getattr(iskra.optim, name)
        if not isinstance(cls, type) or name in ("Optimizer", "SparseAdam"):
            continue
        p = iskra.nn.Parameter(iskra.full((2, 2), 1.0))
        optimizer = cls([p], **({} if name in ("LBFGS", "Adadelta") else {"lr": 0.05}))

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            return loss

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            losses = [optimizer.step(closure).item() for _ in range(20)]
        assert losses[-1] < losses[0], name
