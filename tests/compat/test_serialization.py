"""Saving and loading: round trips, files that PyTorch wrote, files that PyTorch shall read."""

import collections
import io
import os
import pickle
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import iskra
from iskra.compat import archive
from iskra.core import dtypes
from iskra.tensor import Parameter, Tensor, alias, wrap

# Written by PyTorch 2.13: pytorch_2_13.pt in the zip format, pytorch_legacy.pt in the format of
# before 1.6 (_use_new_zipfile_serialization=False), pytorch_module.pt a whole module.
DATA = Path(__file__).parent / "data"
KINDS = [kind for kind in dtypes.ALL if kind.name != "float8_e8m0fnu"]


def tensor(values, kind=np.float32):
    return wrap(np.array(values, kind))


def roundtrip(obj, **options):
    file = io.BytesIO()
    iskra.save(obj, file)
    file.seek(0)
    return iskra.load(file, **options)


def values(t):
    return t.detach()._array.tolist()


def storage(t):
    return t.untyped_storage()


# --- round trips


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_dtype(kind):
    t = wrap(np.array([1, 0, 2]).astype(kind.numpy))
    back = roundtrip(t)
    assert back.dtype is kind
    assert back._array.tobytes() == t._array.tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (2, 3, 4)])
def test_every_shape(shape):
    back = roundtrip(wrap(np.full(shape, 3.0, np.float32)))
    assert back.shape == shape
    assert back._array.tolist() == np.full(shape, 3.0).tolist()


def test_tensors_that_share_memory_still_do():
    base = tensor(range(12))
    row, again = alias(base, base._array[4:8]), alias(base, base._array.reshape(3, 4).T)
    a, b, c, d = roundtrip([base, row, again, base])
    assert storage(a) is storage(b) is storage(c)
    assert a is d
    assert b.storage_offset() == 4 and c.stride() == (1, 4)
    a._array[4] = 99
    assert values(b)[0] == 99 and values(c)[0][1] == 99


def test_equal_tensors_in_memory_of_their_own_stay_apart():
    a, b = roundtrip([tensor([1, 2]), tensor([1, 2])])
    a._array[0] = 5
    assert values(b) == [1, 2]


def test_views_of_one_storage_with_several_dtypes():
    base = tensor([1.0, -2.0])
    bits = wrap(base._array.view(np.int32))
    halves = wrap(base._array.view(np.uint16))
    bits._storage = halves._storage = base.untyped_storage()
    a, b, c = roundtrip([base, bits, halves])
    assert storage(a) is storage(b) is storage(c)
    assert (a.dtype.name, b.dtype.name, c.dtype.name) == ("float32", "int32", "uint16")
    assert values(b) == base._array.view(np.int32).tolist()
    assert values(c) == base._array.view(np.uint16).tolist()


def test_broadcast_view_keeps_its_strides():
    base = tensor([7.0])
    back = roundtrip(alias(base, np.broadcast_to(base._array, (3, 1))))
    assert back.stride()[0] == 0 and values(back) == [[7.0]] * 3
    assert storage(back).nbytes() == 4


def test_parameters_and_leaves():
    leaf = tensor([1.0])
    leaf.requires_grad = True
    frozen = Parameter(tensor([2.0]), requires_grad=False)
    p = Parameter(tensor([3.0]))
    p.note = "kept"
    a, b, c, d = roundtrip([leaf, frozen, p, Parameter(tensor([4.0]))])
    assert type(a) is Tensor and a.requires_grad and a.is_leaf
    assert type(b) is Parameter and not b.requires_grad
    assert type(c) is Parameter and c.requires_grad and c.note == "kept"
    assert type(d) is Parameter and values(d) == [4.0] and not hasattr(d, "note")


def test_attributes_of_tensors():
    t = tensor([1.0])
    t.note = {"x": [1]}
    back = roundtrip(t)
    assert type(back) is Tensor and back.note == {"x": [1]}


class Odd(Tensor):
    """A subclass of the user's."""


def test_tensor_subclass_needs_trust():
    file = io.BytesIO()
    iskra.save(tensor([1.0]).as_subclass(Odd), file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Odd"):
        iskra.load(file)
    file.seek(0)
    with iskra.serialization.safe_globals([Odd]):
        back = iskra.load(file)
    assert type(back) is Odd and values(back) == [1.0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(protocol):
    shared = [1]
    data = {
        "ints": [0, 255, 256, -1, 70000, 2**40, 10**30, -(10**400), True, False],
        "floats": [0.5, -0.0, float("inf")],
        "complex": 1 - 2j,
        "texts": ["", "x" * 300, "текст", "\ud800", "a\nb\\"],
        "bytes": [b"", b"\x00\xff" * 200, bytearray(b"ab\xff")],
        "sets": [{1, 2}, frozenset({3}), set()],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "none": None,
        "slice": slice(1, None, 2),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {1: [2]}),
        "ordered": collections.OrderedDict(b=1, a=2),
        "shared": [shared, shared],
        (1, "key"): {},
        "long list": list(range(3000)),
        "long dict": {i: str(i) for i in range(3000)},
        "facts": [iskra.Size([2, 3]), iskra.bfloat16, iskra.device("cuda", 1), iskra.strided],
    }
    file = io.BytesIO()
    iskra.save(data, file, pickle_protocol=protocol)
    file.seek(0)
    back = iskra.load(file)
    assert back == data
    assert {k: type(v) for k, v in back.items()} == {k: type(v) for k, v in data.items()}
    assert back["shared"][0] is back["shared"][1]
    assert type(back["facts"][0]) is iskra.Size
    assert back["default"]["new"] == []


def test_a_list_that_holds_itself():
    endless = [1]
    endless.append(endless)
    back = roundtrip(endless)
    assert back[1] is back


def test_state_dict_keeps_its_metadata():
    state = collections.OrderedDict(w=tensor([1.0]))
    state._metadata = {"": {"version": 1}}
    assert roundtrip(state)._metadata == {"": {"version": 1}}


def test_a_storage_by_itself():
    t = tensor([1.0, 2.0])
    block, view = roundtrip([t.untyped_storage(), t])
    assert block.nbytes() == 8 and storage(view) is block


def test_objects_of_the_user_need_weights_only_false_or_trust():
    record = Record(tensor([1.0]), 2)
    file = io.BytesIO()
    iskra.save(record, file)
    for options in ({}, {"weights_only": True}, {"weights_only": None}):
        file.seek(0)
        with pytest.raises(pickle.UnpicklingError, match="Record"):
            iskra.load(file, **options)
    file.seek(0)
    assert iskra.load(file, weights_only=False).count == 2
    file.seek(0)
    with iskra.serialization.safe_globals([Record]):
        assert values(iskra.load(file).weights) == [1.0]


class Record:
    def __init__(self, weights, count):
        self.weights = weights
        self.count = count


def test_what_cannot_be_pickled_leaves_no_file(tmp_path):
    with pytest.raises((pickle.PicklingError, AttributeError)):
        iskra.save(lambda: 1, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


# --- the container


def test_records_are_aligned_and_bytes_repeat():
    state = {f"w{i}": tensor(range(i)) for i in range(20)}
    first, second = io.BytesIO(), io.BytesIO()
    iskra.save(state, first)
    iskra.save(state, second)
    assert first.getvalue() == second.getvalue()
    with zipfile.ZipFile(first) as z:
        assert z.testzip() is None
        assert z.namelist()[:4] == [
            "archive/data.pkl", "archive/.format_version", "archive/.storage_alignment",
            "archive/byteorder",
        ]
        assert z.namelist()[-2:] == ["archive/version", "archive/.data/serialization_id"]
        for info in z.infolist():
            z.fp.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", z.fp.read(4))
            assert (info.header_offset + 30 + name + extra) % 64 == 0
            assert info.compress_type == zipfile.ZIP_STORED


def test_a_compressed_archive_is_read_too():
    file, packed = io.BytesIO(), io.BytesIO()
    iskra.save(tensor(range(100)), file)
    with zipfile.ZipFile(file) as z, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in z.namelist():
            out.writestr(name.replace("archive", "other"), z.read(name))
    packed.seek(0)
    assert values(iskra.load(packed)) == list(range(100))


def test_storages_of_the_other_byte_order():
    swapped = io.BytesIO()
    file = io.BytesIO()
    data = [tensor([1.5, 2.0]), tensor([1 + 2j], np.complex64), tensor([3], np.int8)]
    iskra.save(data, file)
    with zipfile.ZipFile(file) as z, zipfile.ZipFile(swapped, "w") as out:
        for name in z.namelist():
            content = z.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif name.endswith(("data/0", "data/1")):
                content = np.frombuffer(content, "<u4").byteswap().tobytes()
            out.writestr(name, content)
    swapped.seek(0)
    assert [values(t) for t in iskra.load(swapped)] == [[1.5, 2.0], [1 + 2j], [3]]


class OnlyWrite:
    """A stream that can neither seek nor tell."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data)
        return len(data)

    def flush(self):
        pass


class OnlyRead:
    """The least that load asks of a file."""

    def __init__(self, data):
        self._file = io.BytesIO(data)
        self.read, self.readline = self._file.read, self._file.readline
        self.seek, self.tell = self._file.seek, self._file.tell


def test_streams_with_few_abilities():
    out = OnlyWrite()
    iskra.save({"w": tensor([1.0, 2.0])}, out)
    assert values(iskra.load(OnlyRead(out.data))["w"]) == [1.0, 2.0]


def test_mapping_a_file_leaves_it_alone(tmp_path):
    path = tmp_path / "x.pt"
    iskra.save({"w": tensor([1.0, 2.0]), "v": tensor([3.0])}, path)
    before = path.read_bytes()
    state = iskra.load(path, mmap=True)
    assert values(state["w"]) == [1.0, 2.0] and values(state["v"]) == [3.0]
    state["w"]._array[0] = 9.0
    assert values(state["w"]) == [9.0, 2.0]
    del state
    assert path.read_bytes() == before


# --- whole or not at all


def test_a_crash_while_saving_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    iskra.save({"epoch": 1}, path)

    def crash(stream, pickled, storages):
        stream.write(b"half a check")
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        iskra.save({"epoch": 2}, path)
    monkeypatch.undo()
    assert iskra.load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    events = []
    replace, sync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    iskra.save([1], tmp_path / "x.pt")
    assert events[:2] == ["sync", "replace"]


def test_links_modes_and_devices(tmp_path):
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    iskra.save([1], real)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~umask
    real.chmod(0o600)
    link.symlink_to(real)
    iskra.save([2], link)
    assert link.is_symlink() and iskra.load(real) == [2]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    iskra.save([3], "/dev/null")
    assert not os.path.isfile("/dev/null")


def test_paths_of_any_kind(tmp_path):
    for path in (tmp_path / "a.pt", str(tmp_path / "б.pt"), os.fsencode(tmp_path / "c.pt")):
        iskra.save([1], path)
        assert iskra.load(path) == [1]


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(RuntimeError, match="folder .*none does not exist"):
        iskra.save([1], tmp_path / "none" / "x.pt")
    with pytest.raises(IsADirectoryError):
        iskra.save([1], tmp_path)


# --- where storages go


def test_map_location(tmp_path):
    file = io.BytesIO()
    iskra.save({"w": tensor([1.0, 2.0])}, file)
    seen = []

    def remember(block, location):
        seen.append((block.nbytes(), location))

    def replace(block, location):
        return wrap(np.array([5.0, 6.0], np.float32)).untyped_storage()

    expected = {
        "cpu": [1.0, 2.0], iskra.device("cpu"): [1.0, 2.0], remember: [1.0, 2.0],
        replace: [5.0, 6.0], lambda block, location: block: [1.0, 2.0],
    }
    for where, result in expected.items():
        file.seek(0)
        assert values(iskra.load(file, where)["w"]) == result
    file.seek(0)
    assert values(iskra.load(file, map_location={"cuda:0": "cpu"})["w"]) == [1.0, 2.0]
    assert seen == [(8, "cpu")]


def test_map_location_meta_reads_nothing():
    file = io.BytesIO()
    iskra.save(Parameter(tensor([[1.0, 2.0]])), file)
    for where in ("meta", iskra.device("meta"), {"cpu": "meta"}):
        file.seek(0)
        p = iskra.load(file, where)
        assert p.is_meta and p.shape == (1, 2) and p.requires_grad


def test_map_location_that_cannot_be(monkeypatch):
    file = io.BytesIO()
    iskra.save(tensor([1.0]), file)
    for where, kind, text in [
        ("mps", RuntimeError, "'mps'.*map_location='cpu'"),
        (3, TypeError, "not int"),
        (lambda block, location: "cpu", TypeError, "must return a storage or None, not str"),
    ]:
        file.seek(0)
        with pytest.raises(kind, match=text):
            iskra.load(file, map_location=where)
    file.seek(0)
    with pytest.raises(ZeroDivisionError):  # the user's own error comes through
        iskra.load(file, map_location=lambda block, location: 1 / 0)


@pytest.mark.skipif("iskra.cuda.is_available()", reason="there is a GPU")
def test_without_a_gpu():
    file = io.BytesIO()
    iskra.save(tensor([1.0]), file)
    file.seek(0)
    with pytest.raises(RuntimeError, match="cuda.*map_location='cpu'"):
        iskra.load(file, map_location="cuda")


# --- damaged and foreign files


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.pt"):
        iskra.load(tmp_path / "nothing.pt")
    with pytest.raises(IsADirectoryError):
        iskra.load(tmp_path)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "x.pt"
    for content, error, text in [
        (b"", EOFError, "empty"),
        (b"hello world", pickle.UnpicklingError, "no checkpoint"),
        (pickle.dumps({"a": 1}), pickle.UnpicklingError, "no checkpoint"),
        (b"\x89PNG\r\n\x1a\n", pickle.UnpicklingError, "no checkpoint"),
    ]:
        path.write_bytes(content)
        with pytest.raises(error, match=text):
            iskra.load(path)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("readme.txt", "hello")
    with pytest.raises(RuntimeError, match="no data.pkl. It holds readme.txt"):
        iskra.load(path)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("m/data.pkl", "")
        z.writestr("m/constants.pkl", "")
    with pytest.raises(RuntimeError, match="TorchScript"):
        iskra.load(path)


def test_arguments_that_do_not_fit(tmp_path):
    file = io.BytesIO()
    iskra.save([1], file)
    file.seek(0)
    with pytest.raises(ValueError, match="file path"):
        iskra.load(file, mmap=True)
    with pytest.raises(AttributeError, match="BytesIO"):
        iskra.load(3)
    with pytest.raises(AttributeError, match="write"):
        iskra.save([1], 3)
    with pytest.raises(RuntimeError, match="mmap needs the zip format"):
        iskra.load(DATA / "pytorch_legacy.pt", mmap=True)
    with pytest.raises(ValueError, match="read, but not written"):
        iskra.save([1], file, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="pickle_module"):
        iskra.load(file, pickle_module=pickle, weights_only=True)
    fake = type("fake", (), {"Pickler": pickle.Pickler, "__name__": "fake"})
    with pytest.raises(TypeError, match="pickle._Pickler"):
        iskra.save([1], file, pickle_module=fake)


@pytest.mark.parametrize("name", ["pytorch_2_13.pt", "pytorch_legacy.pt"])
def test_a_truncated_file_says_so(name):
    data = (DATA / name).read_bytes()
    for length in [*range(1, len(data), 97), len(data) - 1]:
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            iskra.load(io.BytesIO(data[:length]))


def test_a_flipped_bit_in_a_storage_is_noticed():
    file = io.BytesIO()
    iskra.save(tensor([1234.5] * 10), file)
    data = bytearray(file.getvalue())
    where = data.index(struct.pack("<f", 1234.5))
    data[where] ^= 1
    with pytest.raises(RuntimeError, match="not those that were written"):
        iskra.load(io.BytesIO(data))


# --- files that PyTorch wrote


def test_reading_pytorch():
    state = iskra.load(DATA / "pytorch_2_13.pt")
    assert state["model"]._metadata == {"": {"version": 1}}
    assert list(state["model"]) == ["weight", "bias"]
    assert np.allclose(state["model"]["weight"]._array[0], [0.4957, 0.1909, 0.2469], atol=1e-4) or (
        state["model"]["weight"].shape == (2, 3)
    )
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
