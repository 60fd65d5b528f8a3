"""State dicts: what is saved, what is loaded, and the exact words about what does not fit."""

from collections import OrderedDict

import pytest

import iskra as torch
from iskra import nn


def two_layers():
    return nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.Sequential(nn.BatchNorm1d(3))))


KEYS = [
    "a.weight", "a.bias", "b.0.weight", "b.0.bias", "b.0.running_mean", "b.0.running_var",
    "b.0.num_batches_tracked",
]


def test_keys_and_metadata():
    state = two_layers().state_dict()
    assert type(state) is OrderedDict and list(state) == KEYS
    assert dict(state._metadata) == {
        "": {"version": 1}, "a": {"version": 1}, "b": {"version": 1}, "b.0": {"version": 2},
    }
    assert list(two_layers().state_dict(prefix="net."))[0] == "net.a.weight"


def test_saved_tensors_share_memory_and_are_detached():
    layer = nn.Linear(2, 3)
    state = layer.state_dict()
    assert not state["weight"].requires_grad and not isinstance(state["weight"], nn.Parameter)
    with torch.no_grad():
        layer.weight.fill_(5)
    assert state["weight"].tolist() == [[5, 5]] * 3
    assert layer.state_dict(keep_vars=True)["weight"] is layer.weight


def test_destination_and_positional_arguments():
    destination = OrderedDict(old=1)
    assert nn.Linear(1, 1).state_dict(destination=destination, prefix="x.") is destination
    assert list(destination) == ["old", "x.weight", "x.bias"]
    with pytest.warns(FutureWarning):
        assert list(nn.Linear(1, 1).state_dict(OrderedDict(), "y.")) == ["y.weight", "y.bias"]


def test_round_trip():
    first, second = two_layers(), two_layers()
    first(torch.ones(4, 2))
    result = second.load_state_dict(first.state_dict())
    assert str(result) == repr(result) == "<All keys matched successfully>"
    assert result.missing_keys == [] and result.unexpected_keys == []
    for (name, own), (_, other) in zip(first.state_dict().items(), second.state_dict().items()):
        assert torch.equal(own, other), name
    assert second.b[0].num_batches_tracked.item() == 1


def test_loading_copies():
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    own = second.weight
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        first.weight.fill_(9)
    assert second.weight is own and second.weight.requires_grad
    assert second.weight.max().item() < 9


def test_missing_and_unexpected_keys():
    state = two_layers().state_dict()
    del state["a.bias"], state["b.0.weight"]
    state["c.weight"] = torch.ones(1)
    state["a.other"] = torch.ones(1)
    state["b.0.deep.er"] = torch.ones(1)
    with pytest.raises(RuntimeError) as caught:
        two_layers().load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "a.bias", "b.0.weight". \n'
        '\tUnexpected key(s) in state_dict: "c.weight", "a.other", "b.0.deep.er". '
    )
    result = two_layers().load_state_dict(state, strict=False)
    assert result.missing_keys == ["a.bias", "b.0.weight"]
    assert result.unexpected_keys == ["c.weight", "a.other", "b.0.deep.er"]
    assert str(result).startswith("_IncompatibleKeys(missing_keys=['a.bias', 'b.0.weight']")


def test_size_mismatch(monkeypatch):
    state = nn.Linear(3, 4).state_dict()
    for strict in (True, False):
        with pytest.raises(RuntimeError) as caught:
            nn.Linear(2, 4).load_state_dict(state, strict=strict)
        text = str(caught.value).replace("iskra.", "torch.")
        assert text == (
            "Error(s) in loading state_dict for Linear:\n"
            "\tsize mismatch for weight: copying a param with shape torch.Size([4, 3]) from "
            "checkpoint, the shape in current model is torch.Size([4, 2])."
        )


def test_all_errors_are_listed_at_once():
    state = nn.Linear(3, 4).state_dict()
    state["extra"] = state.pop("bias")
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 4).load_state_dict(state)
    lines = str(caught.value).split("\n\t")
    assert [line.split(" ")[0] for line in lines[1:]] == ["Missing", "Unexpected", "size"]


def test_a_value_that_is_no_tensor():
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": [[1.0]]})
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n"
        '\tWhile copying the parameter named "weight", expected torch.Tensor or Tensor-like object '
        "from checkpoint but received <class 'list'>"
    )


def test_no_mapping():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>."):
        nn.Linear(1, 1).load_state_dict([])


def test_one_element_fits_a_number():
    module = nn.Module()
    module.register_buffer("count", torch.tensor(3.0))
    module.load_state_dict({"count": torch.tensor([5.0])})
    assert module.count.shape == () and module.count.item() == 5


def test_dtypes_are_converted_on_copy_and_kept_on_assign():
    state = nn.Linear(2, 2).double().state_dict()
    layer = nn.Linear(2, 2)
    layer.load_state_dict(state)
    assert layer.weight.dtype == torch.float32
    layer.load_state_dict(state, assign=True)
    assert layer.weight.dtype == torch.float64


def test_assign_takes_the_tensors_themselves():
    layer = nn.BatchNorm1d(2)
    layer.weight.requires_grad_(False)
    state = nn.BatchNorm1d(2).state_dict()
    layer.load_state_dict(state, assign=True)
    assert isinstance(layer.weight, nn.Parameter) and not layer.weight.requires_grad
    assert layer.running_mean is state["running_mean"]
    state["bias"].fill_(4)
    assert layer.bias.tolist() == [4, 4]
    param = nn.Parameter(torch.ones(2))
    layer.load_state_dict({**state, "bias": param}, assign=True)
    assert layer.bias is param


def test_old_batch_norm_without_batch_count():
    state = nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    layer = nn.BatchNorm1d(2)
    with pytest.raises(RuntimeError, match="Missing"):
        layer.load_state_dict(state)
    del state._metadata
    layer.load_state_dict(state)
    assert layer.num_batches_tracked.item() == 0


def test_old_instance_norm_with_statistics():
    state = dict(nn.InstanceNorm1d(2, track_running_stats=True).state_dict())
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="Unexpected running stats buffer.*track_running_stats"):
        nn.InstanceNorm1d(2).load_state_dict(state)


def test_extra_state():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"step": 3}

        def set_extra_state(self, state):
            self.got = state

    layer = Extra(1, 1)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "_extra_state"]
    layer.load_state_dict(state)
    assert layer.got == {"step": 3}
    with pytest.raises(RuntimeError, match='Unexpected key.* "_extra_state"'):
        nn.Linear(1, 1).load_state_dict(state)
    del state["_extra_state"]
    with pytest.raises(RuntimeError, match='Missing key.* "_extra_state"'):
        layer.load_state_dict(state)


def test_override_points():
    class Own(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "w"] = destination.pop(prefix + "weight")

        def _load_from_state_dict(self, state_dict, prefix, *args):
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            super()._load_from_state_dict(state_dict, prefix, *args)

    model = nn.Sequential(Own(2, 2))
    state = model.state_dict()
    assert list(state) == ["0.bias", "0.w"]
    model.load_state_dict(state)
    assert list(state) == ["0.bias", "0.w"]  # the caller's dict stays as it was


def test_state_dict_hooks():
    layer, seen = nn.Linear(1, 1), []
    layer.register_state_dict_pre_hook(lambda m, prefix, keep: seen.append((prefix, keep)))

    def post(module, state, prefix, metadata):
        state[prefix + "more"] = torch.ones(1)

    handle = layer.register_state_dict_post_hook(post)
    assert list(nn.Sequential(layer).state_dict()) == ["0.weight", "0.bias", "0.more"]
    assert seen == [("0.", False)]
    handle.remove()
    assert list(layer.state_dict()) == ["weight", "bias"]
    layer.register_state_dict_post_hook(lambda *args: {})
    with pytest.raises(RuntimeError, match="state_dict post-hook must return None"):
        layer.state_dict()


def test_private_state_dict_hook_may_replace():
    layer = nn.Linear(1, 1)
    layer._register_state_dict_hook(lambda m, state, prefix, meta: {"only": 1})
    assert layer.state_dict() == {"only": 1}


def test_load_hooks():
    layer, seen = nn.Linear(1, 1), []

    def rename(state, prefix, *args):
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    layer._register_load_state_dict_pre_hook(rename)
    layer.register_load_state_dict_pre_hook(lambda module, *args: seen.append(module is layer))
    layer.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    result = nn.Sequential(layer).load_state_dict({"0.kernel": torch.ones(1, 1)})
    assert seen == [True] and layer.weight.item() == 1 and result.missing_keys == []


def test_post_load_hook_must_return_nothing():
    layer = nn.Linear(1, 1)
    layer.register_load_state_dict_post_hook(lambda module, keys: keys)
    with pytest.raises(AssertionError, match="not expected to return new values"):
        layer.load_state_dict(layer.state_dict())


def test_lazy_layers():
    lazy, ready = nn.LazyLinear(3), nn.Linear(2, 3)
    state = lazy.state_dict()
    assert nn.parameter.is_lazy(state["weight"]) and repr(state["bias"]).startswith("<Uninit")
    lazy.load_state_dict(ready.state_dict())
    assert torch.equal(lazy.weight, ready.weight)
    assert torch.equal(lazy(torch.ones(1, 2)), ready(torch.ones(1, 2)))
    assert type(lazy) is nn.Linear and lazy.in_features == 2


def test_consume_prefix():
    from iskra.nn.modules.utils import consume_prefix_in_state_dict_if_present

    state = nn.Sequential(OrderedDict(module=nn.Linear(1, 1))).state_dict()
    consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["weight", "bias"]
    nn.Linear(1, 1).load_state_dict(state)
