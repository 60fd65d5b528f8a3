"""GradScaler: what is scaled, when a step is left out, how the scale moves."""

import pickle

import pytest

import iskra as torch
from iskra.amp import GradScaler


def setup(**settings):
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    settings = {"init_scale": 8.0, "growth_interval": 2, **settings}
    return w, torch.optim.SGD([w], lr=0.5), GradScaler("cpu", **settings)


def iterate(w, optimizer, scaler, factor=1.0):
    optimizer.zero_grad()
    scaler.scale((w * factor).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


def test_a_step_is_as_without_scaling():
    w, optimizer, scaler = setup()
    loss = w.sum()
    assert scaler.scale(loss).item() == 24.0
    scaler.scale(loss).backward()
    assert w.grad.tolist() == [8.0, 8.0]
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [1.0, 1.0]
    scaler.step(optimizer)
    assert w.tolist() == [0.5, 1.5]


def test_the_scale_grows_after_an_interval_and_shrinks_after_infinities():
    w, optimizer, scaler = setup()
    iterate(w, optimizer, scaler)
    assert scaler.get_scale() == 8.0
    iterate(w, optimizer, scaler)
    assert scaler.get_scale() == 16.0
    before = w.tolist()
    iterate(w, optimizer, scaler, float("inf"))
    assert scaler.get_scale() == 8.0 and w.tolist() == before
    iterate(w, optimizer, scaler, float("nan"))
    assert scaler.get_scale() == 4.0 and w.tolist() == before
    iterate(w, optimizer, scaler)
    assert scaler.get_scale() == 4.0 and w.tolist() == [before[0] - 0.5, before[1] - 0.5]


def test_the_scale_stays_finite():
    w, optimizer, scaler = setup(init_scale=2.0**127, growth_interval=1)
    iterate(w, optimizer, scaler, 0.25)
    assert scaler.get_scale() == 2.0**127


def test_one_bad_optimizer_does_not_hold_another_up():
    w, first, scaler = setup()
    v = torch.tensor([1.0], requires_grad=True)
    second = torch.optim.SGD([v], lr=0.5)
    for loss in scaler.scale([w.sum() * float("inf"), v.sum()]):
        loss.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert w.tolist() == [1.0, 2.0] and v.tolist() == [0.5] and scaler.get_scale() == 4.0


def test_nested_outputs():
    scaler = GradScaler("cpu", init_scale=2.0)
    scaled = scaler.scale([torch.ones(1), (torch.ones(2), torch.zeros(0))])
    assert type(scaled) is list and type(scaled[1]) is tuple
    assert scaled[1][0].tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="iterable of Tensors"):
        scaler.scale(3)


def test_wrong_order():
    w, optimizer, scaler = setup()
    with pytest.raises(RuntimeError, match="before anything was scaled"):
        scaler.step(optimizer)
    scaler.scale(w.sum())
    with pytest.raises(RuntimeError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="No inf checks were recorded prior to update"):
        scaler.update()
    _, _, scaler = setup()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called since the last update"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(optimizer, closure=lambda: None)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="growth_factor"):
        GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(ValueError, match="backoff_factor"):
        GradScaler("cpu", backoff_factor=1.0)
    w = torch.ones(1, dtype=torch.float16, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match="FP16 gradients"):
        scaler.unscale_(torch.optim.SGD([w], lr=1.0))


def test_a_given_scale():
    w, optimizer, scaler = setup()
    iterate(w, optimizer, scaler)
    scaler.update(32.0)
    assert scaler.get_scale() == 32.0
    scaler.update(torch.tensor([4.0]))
    assert scaler.get_scale() == 4.0
    with pytest.raises(RuntimeError, match="new_scale"):
        scaler.update(torch.ones(2))


def test_its_state_goes_through_checkpoints_and_pickles():
    w, optimizer, scaler = setup(growth_interval=3)
    iterate(w, optimizer, scaler)
    iterate(w, optimizer, scaler)
    saved = scaler.state_dict()
    assert saved == {
        "scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3,
        "_growth_tracker": 2,
    }
    fresh = GradScaler("cpu")
    fresh.load_state_dict(saved)
    copy = pickle.loads(pickle.dumps(scaler))
    for other in (scaler, fresh, copy):
        iterate(w, optimizer, other)
        assert other.get_scale() == 16.0
    with pytest.raises(RuntimeError, match="empty"):
        fresh.load_state_dict({})


def test_disabled_it_does_nothing():
    w, optimizer, scaler = setup(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 1.5] and scaler.state_dict() == {}
    with pytest.warns(UserWarning, match="no CUDA device"):
        assert not GradScaler().is_enabled()


def test_settings_are_read_and_set():
    scaler = GradScaler("cpu")
    assert scaler.get_scale() == 65536.0
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(7)
    assert scaler.get_growth_factor() == 3.0
    assert scaler.get_backoff_factor() == 0.25
    assert scaler.get_growth_interval() == 7
