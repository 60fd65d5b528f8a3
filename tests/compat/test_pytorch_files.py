"""Checkpoints exchanged with PyTorch: files that it wrote; where it is installed, both ways."""

import collections
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

import iskra
from iskra.core import dtypes
from iskra.tensor import Parameter, alias, wrap

# Written by PyTorch 2.13: pytorch_2_13.pt in the zip format, pytorch_legacy.pt in the format of
# before 1.6 (_use_new_zipfile_serialization=False), pytorch_module.pt a whole module.
DATA = Path(__file__).parent / "data"
KINDS = [kind for kind in dtypes.ALL if kind.name != "float8_e8m0fnu"]


def tensor(values, kind=np.float32):
    return wrap(np.array(values, kind))


def values(t):
    return t.detach()._array.tolist()


def storage(t):
    return t.untyped_storage()


# --- files that PyTorch wrote


def test_reading_pytorch():
    state = iskra.load(DATA / "pytorch_2_13.pt")
    assert state["model"]._metadata == {"": {"version": 1}}
    assert list(state["model"]) == ["weight", "bias"]
    assert values(state["model"]["weight"])[0] == [
        -0.5043224692344666, -0.1902841031551361, -0.9751852750778198
    ]
    group = state["optimizer"]["param_groups"][0]
    assert group["lr"] == 0.5 and group["params"] == [0, 1]
    assert values(state["optimizer"]["state"][0]["step"]) == 1.0
    assert values(state["base"]) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert values(state["row"]) == [4, 5, 6, 7]
    assert values(state["columns"]) == [[0, 2], [4, 6], [8, 10]]
    assert state["transposed"].stride() == (1, 4) and values(state["transposed"])[1] == [1, 5, 9]
    assert storage(state["row"]) is storage(state["columns"]) is storage(state["base"])
    assert state["twice"] is state["base"]
    assert type(state["parameter"]) is Parameter and values(state["parameter"]) == [1, 2]
    assert state["leaf"].requires_grad and state["leaf"].is_leaf
    for name, t in state["types"].items():
        assert t.dtype.name == name
        assert [complex(v) for v in values(t)] == ([1, 0, 1] if name == "bool" else [1, 0, 2])
    assert values(state["scalar"]) == 7 and state["empty"].shape == (0, 3)
    assert values(state["conjugate"]) == [1 - 2j]
    assert state["size"] == iskra.Size([2, 3]) and state["dtype"] is iskra.bfloat16
    assert state["device"] == iskra.device("cpu") and state["layout"] is iskra.strided
    assert state["plain"] == {
        "int": 10**30, "float": 0.5, "complex": 1 - 2j, "text": "текст", "bytes": b"\x00\xff",
        "set": {1, 2}, "list": [1, [2]], "tuple": (1, (2,)), "none": None, "true": True,
        "counter": {"a": 2, "b": 1}, "ordered": {"b": 1, "a": 2},
    }
    assert state["meta"].is_meta and state["meta"].shape == (2, 3)


@pytest.mark.parametrize("weights_only", [True, False])
def test_reading_the_format_before_1_6(weights_only):
    state = iskra.load(DATA / "pytorch_legacy.pt", weights_only=weights_only)
    assert values(state["base"])[2] == [8, 9, 10, 11] and values(state["row"]) == [4, 5, 6, 7]
    assert storage(state["base"]) is storage(state["row"])
    assert type(state["parameter"]) is Parameter and values(state["parameter"]) == [1, 2]
    assert state["half"].dtype is iskra.bfloat16 and values(state["half"]) == [1.5, -2.0]
    assert state["plain"] == [1, "two", {3}]


def test_a_whole_module_of_pytorchs():
    with pytest.raises(pickle.UnpicklingError, match="torch.nn.modules.container.Sequential") as e:
        iskra.load(DATA / "pytorch_module.pt")
    assert "torch.nn.modules.linear.Linear" in str(e.value)
    module = iskra.load(DATA / "pytorch_module.pt", weights_only=False)
    assert type(module) is iskra.nn.Sequential and type(module.a) is iskra.nn.Linear
    x = iskra.ones(1, 2)
    linear = iskra.nn.functional.linear(x, module.a.weight, module.a.bias)
    assert values(module(x)) == values(iskra.relu(linear))
    with iskra.serialization.safe_globals(
        [iskra.nn.Sequential, iskra.nn.Linear, iskra.nn.ReLU]
    ):
        assert type(iskra.load(DATA / "pytorch_module.pt").b) is iskra.nn.ReLU


# --- PyTorch beside us


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def both(torch, obj, **options):
    """`obj`, saved here and loaded by PyTorch."""
    file = io.BytesIO()
    iskra.save(obj, file, **options)
    file.seek(0)
    return torch.load(file)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pytorch_reads_every_dtype(torch, kind):
    t = wrap(np.array([1, 0, 2]).astype(kind.numpy))
    back = both(torch, t)
    assert back.dtype is getattr(torch, kind.name)
    assert back.view(torch.uint8).numpy().tobytes() == t._array.tobytes()


def test_pytorch_reads_what_we_share(torch):
    base = tensor(range(6))
    bits = wrap(base._array.view(np.int32))
    bits._storage = base.untyped_storage()
    a, b, c = both(torch, [base, alias(base, base._array[2:4]), bits])
    assert b.tolist() == [2, 3] and c.tolist() == base._array.view(np.int32).tolist()
    a[2] = 9
    assert b[0] == 9 and c[2] == np.float32(9).view(np.int32)


@pytest.mark.parametrize("first", ["untyped", "typed"])
def test_pytorch_reads_odd_views_in_any_order(torch, first):
    base = tensor([1.0, -2.0])
    halves = wrap(base._array.view(np.uint16))
    halves._storage = base.untyped_storage()
    pair = [halves, base] if first == "untyped" else [base, halves]
    by_type = {str(t.dtype): t.tolist() for t in both(torch, pair)}
    assert by_type == {
        "torch.float32": [1.0, -2.0], "torch.uint16": base._array.view(np.uint16).tolist()
    }


def test_pytorch_reads_everything_else(torch):
    p = Parameter(tensor([1.0, 2.0]))
    p.note = 1
    leaf = tensor([1.0])
    leaf.requires_grad = True
    noted = tensor([2.0])
    noted.note = "x"
    state = collections.OrderedDict(p=Parameter(tensor([1.0]), requires_grad=False))
    state._metadata = {"": {"version": 1}}
    meta = alias_meta = iskra.empty(2, 3, device="meta")
    back = both(torch, [p, leaf, noted, state, meta, alias_meta, {
        "size": iskra.Size([2]), "dtype": iskra.float8_e5m2, "device": iskra.device("cuda:1"),
        "layout": iskra.strided, "counter": collections.Counter("aab"), "bytes": b"\xff",
        "set": {1}, "complex": 1j, "array": bytearray(b"ab"),
    }])
    assert isinstance(back[0], torch.nn.Parameter) and back[0].note == 1
    assert back[1].requires_grad and back[2].note == "x"
    assert back[3]._metadata == {"": {"version": 1}} and not back[3]["p"].requires_grad
    assert back[4].is_meta and back[4].shape == (2, 3) and back[5] is back[4]
    assert back[6] == {
        "size": torch.Size([2]), "dtype": torch.float8_e5m2, "device": torch.device("cuda:1"),
        "layout": torch.strided, "counter": {"a": 2, "b": 1}, "bytes": b"\xff",
        "set": {1}, "complex": 1j, "array": bytearray(b"ab"),
    }


def test_pytorch_maps_our_files(torch, tmp_path):
    path = tmp_path / "x.pt"
    iskra.save({"w": tensor(range(100)), "v": tensor([1], np.int64)}, path)
    state = torch.load(path, mmap=True)
    assert state["w"].tolist() == list(range(100)) and state["v"].tolist() == [1]


def test_there_and_back_again(torch):
    rng = np.random.default_rng(0)
    for _ in range(30):
        shape = rng.integers(0, 4, rng.integers(0, 5))
        t = torch.from_numpy(np.asarray(rng.standard_normal(shape), np.float32))
        t = t.permute(rng.permutation(t.ndim).tolist())
        for dim in range(t.ndim):
            t = t.narrow(dim, min(1, t.shape[dim]), max(0, t.shape[dim] - 1))
        file = io.BytesIO()
        torch.save([t, t.flatten()], file)
        file.seek(0)
        ours, flat = iskra.load(file)
        back, _ = both(torch, [ours, flat])
        assert torch.equal(back, t)
        if t.numel():
            assert ours.stride() == t.stride() == back.stride()
            assert ours.storage_offset() == t.storage_offset() == back.storage_offset()
        assert back.untyped_storage().nbytes() == t.untyped_storage().nbytes()


def test_a_checkpoint_without_checksums(torch):
    file = io.BytesIO()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(torch.ones(3), file)
    finally:
        torch.serialization.set_crc32_options(True)
    file.seek(0)
    assert values(iskra.load(file)) == [1, 1, 1]


def test_pytorch_reads_a_whole_module_of_ours(torch):
    module = iskra.nn.Sequential(iskra.nn.Linear(2, 3), iskra.nn.Tanh())
    file = io.BytesIO()
    iskra.save(module, file)
    file.seek(0)
    back = torch.load(file, weights_only=False)
    assert type(back) is torch.nn.Sequential
    assert np.allclose(
        back(torch.ones(1, 2)).detach().numpy(), module(iskra.ones(1, 2)).detach()._array
    )


def test_pytorch_reads_a_recurrent_layer_of_ours(torch):
    file = io.BytesIO()
    layer = iskra.nn.GRU(2, 3)
    iskra.save(layer, file)
    file.seek(0)
    back = torch.load(file, weights_only=False)
    result, _ = back(torch.ones(1, 1, 2))
    assert np.allclose(result.detach().numpy(), layer(iskra.ones(1, 1, 2))[0].detach()._array)
    file.seek(0)
    again = iskra.load(file, weights_only=False)
    assert values(again(iskra.ones(1, 1, 2))[0]) == values(layer(iskra.ones(1, 1, 2))[0])
