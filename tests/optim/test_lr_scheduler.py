"""Learning rate schedulers: their sequences in PyTorch 2.13, chaining, saving, warnings, errors."""

import copy
import pickle
import warnings

import pytest

import iskra
from iskra.optim import lr_scheduler as L

SWALR = iskra.optim.swa_utils.SWALR


def optimizer(*rates, cls=iskra.optim.SGD, **options):
    groups = [{"params": [iskra.nn.Parameter(iskra.ones(1))], "lr": r} for r in rates or (0.1,)]
    if cls is iskra.optim.SGD:
        options = {"momentum": 0.9, **options}
    return cls(groups, **options)


def sequence(scheduler, steps=7, key=None):
    """The rates (or another option) of the first group at the beginning and after each step."""
    group = scheduler.optimizer.param_groups[0]
    values = [group[key or "lr"]]
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        values.append(group[key or "lr"])
        assert scheduler.get_last_lr() == [g["lr"] for g in scheduler.optimizer.param_groups]
    return values


# scheduler -> the rates in PyTorch 2.13
RATES = {
    "LambdaLR": (lambda o: L.LambdaLR(o, lambda e: 0.5**e),
                 [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625, 0.00078125]),
    "MultiplicativeLR": (lambda o: L.MultiplicativeLR(o, lambda e: 0.5 + e / 10),
                         [0.1, 0.06, 0.042, 0.0336, 0.03024, 0.03024, 0.033264, 0.0399168]),
    "StepLR": (lambda o: L.StepLR(o, 2, gamma=0.3),
               [0.1, 0.1, 0.03, 0.03, 0.009, 0.009, 0.0027, 0.0027]),
    "MultiStepLR": (lambda o: L.MultiStepLR(o, [3, 1, 3]),
                    [0.1, 0.01, 0.01, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001]),
    "ConstantLR": (lambda o: L.ConstantLR(o, 0.5, 3), [0.05, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1]),
    "LinearLR": (lambda o: L.LinearLR(o, 0.25, 0.75, 4),
                 [0.025, 0.0375, 0.05, 0.0625, 0.075, 0.075, 0.075, 0.075]),
    "ExponentialLR": (lambda o: L.ExponentialLR(o, 0.5),
                      [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625, 0.00078125]),
    "PolynomialLR": (lambda o: L.PolynomialLR(o, 4, 2.0),
                     [0.1, 0.05625, 0.025, 0.00625, 0.0, 0.0, 0.0, 0.0]),
    "CosineAnnealingLR": (lambda o: L.CosineAnnealingLR(o, 3, 0.01),
                          [0.1, 0.0775, 0.0325, 0.01, 0.0325, 0.0775, 0.1, 0.0775]),
    "CosineAnnealingWarmRestarts": (
        lambda o: L.CosineAnnealingWarmRestarts(o, 2, 2, 0.01),
        [0.1, 0.055, 0.1, 0.08681980515, 0.055, 0.02318019485, 0.1, 0.09657457896]),
    "CyclicLR": (lambda o: L.CyclicLR(o, 0.1, 0.2, 2, 3),
                 [0.1, 0.15, 0.2, 0.1666666667, 0.1333333333, 0.1, 0.15, 0.2]),
    "CyclicLR triangular2": (lambda o: L.CyclicLR(o, 0.1, 0.2, 2, 1, mode="triangular2"),
                             [0.1, 0.15, 0.2, 0.1, 0.125, 0.15, 0.1, 0.1125]),
    "CyclicLR exp_range": (lambda o: L.CyclicLR(o, 0.1, 0.2, 2, mode="exp_range", gamma=0.9),
                           [0.1, 0.145, 0.181, 0.13645, 0.1, 0.1295245, 0.1531441, 0.123914845]),
    "OneCycleLR": (lambda o: L.OneCycleLR(o, 0.5, total_steps=8),
                   [0.02, 0.4096375524, 0.4859708887, 0.405872827, 0.2779920071, 0.1415304991,
                    0.03832079692, 2e-06]),
    "OneCycleLR three_phase": (
        lambda o: L.OneCycleLR(o, 0.5, epochs=4, steps_per_epoch=2, three_phase=True,
                               anneal_strategy="linear"),
        [0.02, 0.3628571429, 0.2942857143, 0.01904771429, 0.01428628571, 0.009524857143,
         0.004763428571, 2e-06]),
    "SequentialLR": (
        lambda o: L.SequentialLR(
            o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9), L.StepLR(o, 2)], [2, 5]),
        [0.01, 0.01, 0.1, 0.09, 0.081, 0.1, 0.1, 0.01]),
    "ChainedScheduler": (
        lambda o: L.ChainedScheduler([L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)]),
        [0.01, 0.009, 0.081, 0.0729, 0.06561, 0.059049, 0.0531441, 0.04782969]),
    "SWALR": (lambda o: SWALR(o, 0.05, anneal_epochs=4),
              [0.1, 0.09267766953, 0.075, 0.05732233047, 0.05, 0.05, 0.05, 0.05]),
}
MOMENTA = {
    "CyclicLR": [0.9, 0.85, 0.8, 0.8333333333, 0.8666666667, 0.9, 0.85, 0.8],
    "CyclicLR triangular2": [0.9, 0.85, 0.8, 0.9, 0.875, 0.85, 0.9, 0.8875],
    "OneCycleLR": [0.95, 0.8688255099, 0.8528058335, 0.8688255099, 0.8944017762, 0.921694187,
                   0.94233621, 0.95],
    "OneCycleLR three_phase": [0.95, 0.8785714286, 0.8928571429, 0.95, 0.95, 0.95, 0.95, 0.95],
}


@pytest.mark.parametrize("name", RATES)
def test_sequences(name):
    make, expected = RATES[name]
    assert sequence(make(optimizer())) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", MOMENTA)
def test_momentum_goes_the_other_way(name):
    make = RATES[name][0]
    found = sequence(make(optimizer()), key="momentum")
    assert found == pytest.approx(MOMENTA[name], rel=1e-9)
    found = sequence(make(optimizer(cls=iskra.optim.Adam)), key="betas")
    assert [beta1 for beta1, _ in found] == pytest.approx(MOMENTA[name], rel=1e-9)
    assert {beta2 for _, beta2 in found} == {0.999}


@pytest.mark.parametrize("name", RATES)
def test_saved_in_the_middle(name):
    make, expected = RATES[name]
    first = optimizer()
    scheduler = make(first)
    sequence(scheduler, 3)
    scheduler_state = pickle.loads(pickle.dumps(scheduler.state_dict()))
    optimizer_state = pickle.loads(pickle.dumps(first.state_dict()))
    second = optimizer()
    other = make(second)
    other.load_state_dict(scheduler_state)
    second.load_state_dict(optimizer_state)
    assert sequence(other, 4) == pytest.approx(expected[3:], rel=1e-9, abs=1e-12)
    assert "optimizer" not in scheduler_state


@pytest.mark.parametrize("name", RATES)
def test_rates_that_are_tensors(name):
    make, expected = RATES[name]
    rate = iskra.tensor(0.1)
    group = optimizer(rate).param_groups[0]
    o = optimizer(rate)
    group = o.param_groups[0]
    scheduler = make(o)
    found = [float(rate)]
    for _ in range(7):
        o.step()
        scheduler.step()
        assert group["lr"] is rate or name.startswith("OneCycle")
        found.append(float(group["lr"]))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_closed_forms_agree_with_stepping():
    for name in ("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR",
                 "PolynomialLR", "CosineAnnealingLR"):
        make, expected = RATES[name]
        scheduler = make(optimizer())
        for epoch in (5, 2):
            with pytest.warns(UserWarning):
                scheduler.step(epoch)
            assert scheduler.get_last_lr() == pytest.approx([expected[epoch]], abs=1e-12)
            assert scheduler.last_epoch == epoch


def test_resuming_at_an_epoch():
    o = optimizer()
    sequence(L.ExponentialLR(o, 0.5), 3)
    resumed = L.ExponentialLR(o, 0.5, last_epoch=3)
    assert resumed.last_epoch == 4 and resumed.base_lrs == [0.1]
    assert sequence(resumed, 1) == pytest.approx([0.0125, 0.00625])
    with pytest.raises(KeyError, match="initial_lr.*param_groups\\[0\\]"):
        L.ExponentialLR(optimizer(), 0.5, last_epoch=3)


def test_warm_restarts_at_fractions_of_an_epoch():
    scheduler = L.CosineAnnealingWarmRestarts(optimizer(), 2, 2)
    for epoch, expected in [(0.5, 0.085355339), (1.5, 0.014644661), (2.0, 0.1), (4.0, 0.05),
                            (13.5, 0.000960736), (0, 0.1)]:
        scheduler.step(epoch)
        assert scheduler.get_last_lr() == pytest.approx([expected], rel=1e-6)
    scheduler = L.CosineAnnealingWarmRestarts(optimizer(), 2)
    scheduler.step(5)
    assert (scheduler.T_cur, scheduler.T_i) == (1, 2)


def test_several_groups():
    o = optimizer(0.1, 0.2)
    scheduler = L.LambdaLR(o, [lambda e: 0.5**e, lambda e: 1.0])
    sequence(scheduler, 2)
    assert scheduler.get_last_lr() == [0.025, 0.2]
    o = optimizer(0.1, 0.2)
    L.OneCycleLR(o, [1.0, 2.0], total_steps=10)
    assert [group["lr"] for group in o.param_groups] == pytest.approx([0.04, 0.08])


def test_plateau():
    scheduler = L.ReduceLROnPlateau(optimizer(), factor=0.5, patience=1, cooldown=1, min_lr=0.02)
    rates = []
    for loss in [1, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9]:
        scheduler.step(iskra.tensor(float(loss)))
        rates += scheduler.get_last_lr()
    assert rates == [0.1] * 3 + [0.05] * 3 + [0.025] * 4 + [0.02] * 4  # PyTorch 2.13
    assert scheduler.state_dict() == {
        "factor": 0.5, "default_min_lr": 0.02, "min_lrs": [0.02], "patience": 1, "cooldown": 1,
        "eps": 1e-08, "last_epoch": 14, "_last_lr": [0.02], "mode_worse": float("inf"),
        "mode": "min", "threshold": 0.0001, "threshold_mode": "rel", "best": pytest.approx(0.8),
        "cooldown_counter": 1, "num_bad_epochs": 0,
    }


@pytest.mark.parametrize("mode, threshold_mode, losses", [
    ("min", "rel", [1.0, 0.95]), ("min", "abs", [1.0, 0.95]),
    ("max", "rel", [1.0, 1.05]), ("max", "abs", [1.0, 1.05]),
])
def test_what_counts_as_better(mode, threshold_mode, losses):
    def reduced(threshold):
        scheduler = L.ReduceLROnPlateau(
            optimizer(), mode, patience=0, threshold=threshold, threshold_mode=threshold_mode)
        for loss in losses:
            scheduler.step(loss)
        return scheduler.get_last_lr()[0] < 0.1

    assert reduced(0.06) and not reduced(0.04)


def test_plateau_when_groups_are_added():
    def added(**options):
        o = optimizer()
        scheduler = L.ReduceLROnPlateau(o, patience=0, **options)
        o.add_param_group({"params": [iskra.nn.Parameter(iskra.ones(1))], "lr": 1.0})
        for _ in range(2):
            scheduler.step(1.0)
        return scheduler.get_last_lr()

    assert added() == pytest.approx([0.01, 0.1])
    with pytest.raises(RuntimeError, match="number of parameter groups"):
        added(min_lr=[0.0])


def test_functions_and_objects_in_state_dicts():
    class Decay:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, epoch):
            return self.factor**epoch

    scheduler = L.LambdaLR(optimizer(), Decay(0.5))
    saved = scheduler.state_dict()
    assert saved["lr_lambdas"] == [{"factor": 0.5}]
    other = L.LambdaLR(optimizer(), Decay(0.9))
    other.load_state_dict(saved)
    assert other.lr_lambdas[0].factor == 0.5 and saved["lr_lambdas"] == [{"factor": 0.5}]
    cyclic = L.CyclicLR(optimizer(), 0.1, 0.2, scale_fn=Decay(0.5))
    assert cyclic.state_dict()["_scale_fn_custom"] == {"factor": 0.5}
    assert copy.deepcopy(scheduler).get_last_lr() == [0.1]


@pytest.mark.parametrize("name", [n for n in RATES if n not in ("SWALR",)])
def test_state_dicts_have_pytorchs_names(name):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    source = RATES[name][0]
    ours = source(optimizer()).state_dict()
    there = eval_with(source, torch.optim.lr_scheduler, theirs).state_dict()
    assert list(ours) == list(there)
    assert all(ours[k] == there[k] or callable(there[k]) for k in ours)


def eval_with(function, module, o):
    """`function`, with PyTorch's schedulers for ours."""
    names = dict(function.__globals__, L=module)
    return type(function)(function.__code__, names)(o)


# The order of calls


def messages(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(w.message) for w in caught]


def test_stepping_in_the_wrong_order_warns_once():
    scheduler = L.StepLR(optimizer(), 1)
    found = messages(lambda: [scheduler.step() for _ in range(3)])
    assert len(found) == 1 and "`lr_scheduler.step()` before `optimizer.step()`" in found[0]


def test_steps_before_the_scheduler_was_made_do_not_count():
    o = optimizer()
    o.step()
    scheduler = L.StepLR(o, 1)
    assert len(messages(scheduler.step)) == 1


def test_the_right_order_does_not_warn():
    o = optimizer()
    scheduler = L.StepLR(o, 1)
    assert messages(lambda: (o.step(), scheduler.step())) == []
    sequential = RATES["SequentialLR"][0](optimizer())
    assert messages(lambda: sequence(sequential)) == []


def test_an_optimizer_whose_step_is_replaced():
    o = optimizer()
    scheduler = L.StepLR(o, 1)
    o.step = lambda: None
    o.step()
    assert "overridden" in messages(scheduler.step)[0]


def test_get_lr_is_not_for_users():
    scheduler = L.StepLR(optimizer(), 1)
    assert "get_last_lr" in messages(scheduler.get_lr)[0]


@pytest.mark.parametrize("make, error, match", [
    (lambda o: L.StepLR(3, 1), TypeError, "int is not an Optimizer"),
    (lambda o: L.CyclicLR(3, 0.1, 0.2), TypeError, "int is not an Optimizer"),
    (lambda o: L.OneCycleLR(3, 0.1, total_steps=3), TypeError, "int is not an Optimizer"),
    (lambda o: L.ReduceLROnPlateau(3), TypeError, "int is not an Optimizer"),
    (lambda o: L.LRScheduler(o), NotImplementedError, "get_lr"),
    (lambda o: L.LambdaLR(o, [abs] * 3), ValueError, "Expected 1 lr_lambdas, but got 3"),
    (lambda o: L.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
    (lambda o: L.LinearLR(o, 0), ValueError, "greater than 0"),
    (lambda o: L.LinearLR(o, 0.5, 2), ValueError, "between 0 and 1"),
    (lambda o: L.CosineAnnealingWarmRestarts(o, 2.5), ValueError, "positive integer T_0"),
    (lambda o: L.CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "T_mult >= 1"),
    (lambda o: L.CosineAnnealingWarmRestarts(o, 2, eta_min="a"), ValueError, "eta_min"),
    (lambda o: L.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "non-negative epoch"),
    (lambda o: L.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "invalid"),
    (lambda o: L.CyclicLR(o, [0.1, 0.2], 0.2), ValueError, "base_lr"),
    (lambda o: L.CyclicLR(optimizer(cls=iskra.optim.Adagrad), 0.1, 0.2), ValueError, "momentum"),
    (lambda o: L.OneCycleLR(o, 0.1), ValueError, "total_steps"),
    (lambda o: L.OneCycleLR(o, 0.1, epochs=1), ValueError, "total_steps"),
    (lambda o: L.OneCycleLR(o, 0.1, total_steps=1.5), ValueError, "positive integer total_steps"),
    (lambda o: L.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=1), ValueError, "integer epochs"),
    (lambda o: L.OneCycleLR(o, 0.1, total_steps=3, pct_start=2), ValueError, "pct_start"),
    (lambda o: L.OneCycleLR(o, 0.1, total_steps=3, anneal_strategy="x"), ValueError, "'cos'"),
    (lambda o: sequence(L.OneCycleLR(o, 0.1, total_steps=3), 4), ValueError, "Tried to step 4"),
    (lambda o: L.ReduceLROnPlateau(o, factor=1.0), ValueError, "< 1.0"),
    (lambda o: L.ReduceLROnPlateau(o, mode="x"), ValueError, "mode x is unknown"),
    (lambda o: L.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "mode x is unknown"),
    (lambda o: L.ReduceLROnPlateau(o, min_lr=[1, 2]), ValueError, "min_lrs"),
    (lambda o: L.ReduceLROnPlateau(o).step("a"), ValueError, "float"),
    (lambda o: L.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
    (lambda o: L.SequentialLR(o, [L.StepLR(optimizer(), 1)], []), ValueError, "same optimizer"),
    (lambda o: L.SequentialLR(o, [L.StepLR(o, 1)], [1]), ValueError, "one more"),
    (lambda o: L.SequentialLR(o, [L.ReduceLROnPlateau(o)], []), ValueError, "ReduceLROnPlateau"),
    (lambda o: L.SequentialLR(o, [3], []), TypeError, "index 0"),
    (lambda o: L.ChainedScheduler([]), ValueError, "at least one scheduler"),
    (lambda o: L.ChainedScheduler([L.StepLR(o, 1), L.StepLR(optimizer(), 1)]), ValueError, "same"),
    (lambda o: SWALR(o, 0.1, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda o: SWALR(o, 0.1, anneal_epochs=-1), ValueError, "anneal_epochs"),
    (lambda o: SWALR(o, [0.1, 0.2]), ValueError, "swa_lr"),
])
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make(optimizer())
