"""Loading executes nothing: hostile pickles, and broken ones by the thousand."""

import collections
import io
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

import iskra
from iskra.compat.unpickler import SafeUnpickler
from iskra.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)
from iskra.tensor import Tensor, wrap

DATA = Path(__file__).parent / "data"
EXECUTED = []


def boom(*args):
    EXECUTED.append(args)
    return args


class Bomb:
    def __reduce__(self):
        return boom, ("bang",)


@pytest.fixture(autouse=True)
def nothing_runs():
    EXECUTED.clear()
    yield
    assert EXECUTED == []
    clear_safe_globals()


def checkpoint(pickled, storages=(b"\0" * 16,)):
    """A zip checkpoint around any pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("archive/data.pkl", pickled)
        z.writestr("archive/byteorder", "little")
        for number, data in enumerate(storages):
            z.writestr(f"archive/data/{number}", data)
        z.writestr("archive/version", "3\n")
    file.seek(0)
    return file


def legacy(pickled):
    """The same in the format of before PyTorch 1.6."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return io.BytesIO(b"".join(pickle.dumps(p, 2) for p in parts) + pickled + pickle.dumps([], 2))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("container", [checkpoint, legacy])
def test_a_bomb_does_not_explode(protocol, container):
    for obj in (Bomb(), [Bomb()], {"a": (1, Bomb())}, {1: Bomb(), "w": [2]}):
        with pytest.raises(pickle.UnpicklingError, match="test_safe_loading.boom"):
            iskra.load(container(pickle.dumps(obj, protocol)))


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(X\x04\x00\x00\x00truetR.",
        b"cposix\nsystem\n(X\x04\x00\x00\x00truetR.",
        b"c__builtin__\neval\n(X\x03\x00\x00\x001/0tR.",
        b"cbuiltins\ngetattr\n(c__builtin__\nset\nX\x03\x00\x00\x00poptR.",
        b"(X\x04\x00\x00\x00trueios\nsystem\n.",
        b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"cos\nsystem\n)\x81.",
        b"cos\nenviron\n.",
        b"ctorch.hub\nload\n)R.",
        b"ctorch.serialization\nload\n)R.",
        b"ctorch._utils\n__builtins__\n.",
        b"ciskra\nload\n)R.",
        b"cnumpy\nload\n)R.",
    ],
)
def test_names_outside_the_list_are_refused(pickled):
    with pytest.raises(pickle.UnpicklingError, match="weights_only=True does not allow"):
        iskra.load(checkpoint(pickled))


STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x04tQ"
)


def rebuild(offset, size, stride):
    """The call that makes a tensor on a storage of four floats."""
    numbers = [pickle.dumps(v, 2)[2:-1] for v in (offset, size, stride, False)]
    # Each part keeps a memo of its own; none of them looks anything up.
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"".join(numbers)
        + b"ccollections\nOrderedDict\n)RtR."
    )


def test_the_hand_made_call_works():
    t = iskra.load(checkpoint(rebuild(1, (2,), (2,)), [np.arange(4, dtype=np.float32).tobytes()]))
    assert t._array.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "place",
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (4, (1,), (1,)),
        (-1, (1,), (1,)),
        (3, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (2,), (4,)),
        (0, (2**40,), (2**40,)),
        (0, (2, 2), (1,)),
        (2**63, (1,), (1,)),
        (0, (2**62, 2), (0, 2**62)),
        (0, (1.5,), (1,)),
        (0, "ab", (1, 1)),
        (None, (1,), (1,)),
    ],
)
def test_no_tensor_reaches_outside_its_storage(place):
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        iskra.load(checkpoint(rebuild(*place)))


@pytest.mark.parametrize(
    ("pickled", "text"),
    [
        # Changing what the reader itself is made of.
        (b"ctorch._utils\n_rebuild_tensor_v2\n}X\x0c\x00\x00\x00__defaults__Nsb.", "state"),
        (b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__Ns\x86b.", "state"),
        (b"ctorch\nTensor\nN}X\x07\x00\x00\x00__add__Ns\x86b.", "state"),
        (b"ctorch\nTensor\nK\x05\x85R.", "calls"),
        (b"ctorch\nTensor\n)\x81.", "instance"),
        (b"ccollections\nOrderedDict\nX\x01\x00\x00\x00aK\x01s.", "fills"),
        (b"X\x01\x00\x00\x00aK\x01a.", "fills"),
        # Memory that the file does not pay for.
        (b"c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.", "bytearray"),
        (b"cbuiltins\nlist\n)R.", "calls"),
        (b"ccollections\ndefaultdict\ncbuiltins\nset\n\x85R.", None),
        (b"ccollections\ndefaultdict\ncbuiltins\ncomplex\n\x85R.", "factory"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00bz2\x86R.", "encoding"),
        # Not a program at all.
        (b"", "ends before"),
        (b"\x80\x02", "ends before"),
        (b".", "IndexError"),
        (b"0.", "IndexError"),
        (b"R.", "IndexError"),
        (b"e.", "IndexError"),
        (b"h\x05.", "KeyError"),
        (b"K\x01\x86.", "underflow"),
        (b"K\x01K\x02R.", "calls"),
        (b"K\x01Q.", "unknown reference"),
        (b"X\xff\xff\xff\x7fabc", "middle of a value"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc", "middle|Overflow|broken"),
        (b"\x80\xffN.", "protocol"),
        (b"\xfe.", "not supported"),
        (b"]](K\x01u.", "fills"),
        (b"}(K\x01u.", "broken"),
        (b"}]K\x01s.", "unhashable"),
        (b"X\x01\x00\x00\x00\xff.", "decode"),
    ],
)
def test_hostile_and_broken_programs(pickled, text):
    if text is None:
        assert iskra.load(checkpoint(pickled)) == collections.defaultdict(set)
        return
    with pytest.raises((pickle.UnpicklingError, EOFError), match=text):
        iskra.load(checkpoint(pickled))


@pytest.mark.parametrize("name", ["_array", "_dtype", "grad", "shape", "sum", "__class__"])
def test_a_file_cannot_replace_what_a_tensor_lives_by(name):
    call = b"(" + STORAGE + b"K\x00K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)Rt"
    program = (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n"
        b"ctorch\nTensor\n" + call + b"}" + pickle.dumps(name, 2)[2:-1] + b"K\x01stR."
    )
    with pytest.raises(pickle.UnpicklingError, match=f"own attribute '{name}'"):
        iskra.load(checkpoint(program))


def test_all_unknown_names_are_reported_at_once_with_the_mend():
    data = {"a": [collections.deque, os.getcwd], "b": Bomb()}
    with pytest.raises(pickle.UnpicklingError) as e:
        iskra.load(checkpoint(pickle.dumps(data, 2)))
    text = str(e.value)
    for name in ("collections.deque", "posix.getcwd", "boom"):
        assert name in text
    assert "iskra.serialization.safe_globals([" in text and "weights_only=False" in text


def test_names_that_iskra_has_not_are_not_to_be_trusted():
    with pytest.raises(pickle.UnpicklingError, match="nothing that corresponds to torch.a.B") as e:
        iskra.load(checkpoint(b"ctorch.a\nB\n)R."))
    assert "safe_globals" not in str(e.value)


def test_what_the_file_names_can_be_listed():
    data = checkpoint(pickle.dumps([Bomb(), collections.Counter(), os.getcwd], 2))
    module = boom.__module__
    assert get_unsafe_globals_in_checkpoint(data) == [f"{module}.boom", "posix.getcwd"]
    assert get_unsafe_globals_in_checkpoint(DATA / "pytorch_2_13.pt") == []
    assert get_unsafe_globals_in_checkpoint(DATA / "pytorch_legacy.pt") == []
    names = get_unsafe_globals_in_checkpoint(DATA / "pytorch_module.pt")
    assert names[0] == "torch.nn.modules.container.Sequential"


# --- trust


class Plain:
    def __init__(self, value):
        self.value = value


class WithState:
    def __getstate__(self):
        return {"x": 1}

    def __setstate__(self, state):
        self.restored = state


class Slotted:
    __slots__ = ("a", "b")


Pair = collections.namedtuple("Pair", "a b")


def double(x):
    return Plain(2 * x)


class MadeByFunction:
    def __reduce__(self):
        return double, (4,)


class Failing:
    def __setstate__(self, state):
        raise ValueError("my own problem")


def through(obj, trusted):
    file = checkpoint(pickle.dumps(obj, 2))
    with safe_globals(trusted):
        return iskra.load(file)


def test_trusted_classes_and_functions():
    assert through(Plain([1]), [Plain]).value == [1]
    assert through(WithState(), [WithState]).restored == {"x": 1}
    slotted = Slotted()
    slotted.a = 5
    assert through(slotted, [Slotted]).a == 5
    assert through(Pair(1, 2), [Pair]) == Pair(1, 2)
    assert through(MadeByFunction(), [double, Plain]).value == 8
    with pytest.raises(pickle.UnpicklingError, match="Plain"):
        through([Plain(1), Pair(1, 2)], [Pair])


def test_trust_by_another_name():
    pickled = b"cold.place\nPlain\n)\x81}X\x05\x00\x00\x00valueK\x03sb."
    with safe_globals([(Plain, "old.place.Plain")]):
        assert iskra.load(checkpoint(pickled)).value == 3


@pytest.mark.parametrize("value", [np.float64(1.5), np.int32(7), np.bool_(True)])
def test_numpy_scalars_once_they_are_trusted(value):
    make = value.__reduce__()[0]
    with pytest.raises(pickle.UnpicklingError, match="multiarray.scalar"):
        through(value, [])
    back = through({"best": value}, [make, np.dtype, type(value.dtype)])["best"]
    assert back == value and type(back) is type(value)


def test_errors_of_trusted_code_come_through():
    failing = Failing()
    failing.x = 1
    with pytest.raises(ValueError, match="my own problem"):
        through(failing, [Failing])


def test_the_list_of_trusted_names():
    assert get_safe_globals() == []
    add_safe_globals([Plain])
    with safe_globals([double]):
        assert get_safe_globals() == [Plain, double]
    assert get_safe_globals() == [Plain]
    clear_safe_globals()
    assert get_safe_globals() == []
    with pytest.raises(TypeError, match="got 3"):
        add_safe_globals([3])
    with pytest.raises(ValueError, match="full name"):
        add_safe_globals([(Plain,)])


# --- the interpreter itself


def safe_loads(data):
    return SafeUnpickler(io.BytesIO(data), None).load()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_random_data_comes_back(protocol):
    rng = random.Random(protocol)

    def make(depth):
        kind = rng.randrange(9 if depth else 5)
        few = range(rng.choice([0, 1, 2, 3, 5]))
        return (
            lambda: rng.choice([0, 1, -1, 255, 65536, 2**31, -(2**63), 2**100]),
            lambda: rng.uniform(-1e9, 1e9),
            lambda: rng.choice(["", "ascii", "шрифт", "a\\u0041\n"]) * rng.choice([1, 100]),
            lambda: rng.choice([None, True, False]),
            lambda: rng.randbytes(rng.choice([0, 3, 300])),
            lambda: [make(depth - 1) for _ in few],
            lambda: tuple(make(depth - 1) for _ in few),
            lambda: {i: make(depth - 1) for i in few},
            lambda: {rng.random() for _ in few},
        )[kind]()

    for _ in range(100):
        obj = make(4)
        assert safe_loads(pickle.dumps(obj, protocol)) == obj


def test_mutated_checkpoints_raise_only_what_is_documented():
    """Bytes changed at random in real pickles: an error or a result, never anything else."""
    rng = random.Random(1)
    with zipfile.ZipFile(DATA / "pytorch_2_13.pt") as z:
        name = next(n for n in z.namelist() if n.endswith("data.pkl"))
        pickled = z.read(name)
        storages = [z.read(n) for n in z.namelist() if "/data/" in n]
    outcomes = collections.Counter()
    for _ in range(400):
        data = bytearray(pickled)
        for _ in range(rng.choice([1, 1, 2, 10])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            iskra.load(checkpoint(bytes(data), storages))
            outcomes["read"] += 1
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["UnpicklingError"] > 100


def test_mutated_old_files_raise_only_what_is_documented():
    rng = random.Random(2)
    original = (DATA / "pytorch_legacy.pt").read_bytes()
    for _ in range(300):
        data = bytearray(original)
        data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            iskra.load(io.BytesIO(bytes(data)))
        except (pickle.UnpicklingError, RuntimeError, EOFError):
            pass


def test_pickled_tensors_of_the_library_are_no_checkpoints():
    with pytest.raises(pickle.UnpicklingError, match="no checkpoint"):
        iskra.load(io.BytesIO(pickle.dumps(wrap(np.ones(2)))))
    assert isinstance(wrap(np.ones(2)), Tensor)
