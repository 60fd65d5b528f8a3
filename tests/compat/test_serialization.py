"""Saving and loading: round trips, the container, places, damaged files."""

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
from iskra.compat import archive, locations
from iskra.core import dtypes
from iskra.tensor import Parameter, Tensor, alias, wrap

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


def test_places_of_another_package():
    file = io.BytesIO()
    calls = []

    def tag(block):
        return "moon:0" if block.nbytes() == 4 else None

    def fetch(block, location):
        calls.append((block.nbytes(), location))
        return block if location == "moon:0" else None

    iskra.serialization.register_package(10, tag, fetch)
    try:
        iskra.save([tensor([1.0]), tensor([1.0, 2.0])], file)
        file.seek(0)
        assert [values(t) for t in iskra.load(file)] == [[1.0], [1.0, 2.0]]
        file.seek(0)
        with pytest.raises(RuntimeError, match="'mars'"):
            iskra.load(file, map_location="mars")
    finally:
        locations._packages.clear()
    assert calls == [(4, "moon:0"), (4, "mars")]
    file.seek(0)
    with pytest.raises(RuntimeError, match="'moon:0'"):
        iskra.load(file)


def test_without_the_data():
    blank, full = io.BytesIO(), io.BytesIO()
    data = {"w": tensor([1.5, 2.5]), "n": 3}
    iskra.save(data, full)
    with iskra.serialization.skip_data():
        iskra.save(data, blank)
        full.seek(0)
        back = iskra.load(full)
    assert back["n"] == 3 and back["w"].shape == (2,)
    assert len(blank.getvalue()) == len(full.getvalue())
    assert full.getvalue() != blank.getvalue()
    blank.seek(0)
    assert values(iskra.load(blank)["w"]) == [0.0, 0.0]


def test_the_byte_order_of_old_checkpoints():
    orders = iskra.serialization.LoadEndianness
    file, bare = io.BytesIO(), io.BytesIO()
    iskra.save(tensor([1], np.int32), file)
    with zipfile.ZipFile(file) as z, zipfile.ZipFile(bare, "w") as out:
        for name in z.namelist():
            if not name.endswith("byteorder"):
                out.writestr(name, z.read(name))
    try:
        for order, result in [(None, 1), (orders.LITTLE, 1), (orders.BIG, 1 << 24)]:
            iskra.serialization.set_default_load_endianness(order)
            assert iskra.serialization.get_default_load_endianness() is order
            bare.seek(0)
            assert values(iskra.load(bare)) == [result]
    finally:
        iskra.serialization.set_default_load_endianness(None)


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
