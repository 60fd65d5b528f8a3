"""`save` and `load`: checkpoints that PyTorch reads, and PyTorch's checkpoints read.

Loading never executes what a file says (see `iskra.compat.unpickler`), unless `weights_only=False`
asks for just that.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import contextlib
import enum
import io
import os
import pickle
import sys
import threading

import numpy as np

from iskra.compat import archive, names
from iskra.compat.files import check_readable, is_path, replacing
from iskra.compat.legacy import LegacyFile
from iskra.compat.locations import mover, register_package
from iskra.compat.pickler import dump
from iskra.compat.rebuild import TypedStorage
from iskra.compat.unpickler import SafeUnpickler
from iskra.tensor import Storage

__all__ = [
    "LoadEndianness", "add_safe_globals", "clear_safe_globals", "get_default_load_endianness",
    "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "register_package",
    "safe_globals", "save", "set_default_load_endianness", "skip_data",
]


def save(
    obj, f, pickle_module=pickle, pickle_protocol=2, _use_new_zipfile_serialization=True,
    _disable_byteorder_record=False,
):
    """Write `obj` to the file `f`, in PyTorch's format.

    Tensors that share memory still share it after `load`. A path is written beside its place and
    renamed when all bytes are on the disk: a crash leaves the old file whole.

    Args:
        obj: anything that can be pickled; best a `state_dict()`, or containers of tensors.
        f: a path, or a binary file open for writing.
        pickle_module: must have a Pickler derived from `pickle._Pickler`.
        pickle_protocol: 2 is what PyTorch reads with `weights_only=True`.

    Raises RuntimeError where the path's folder does not exist, pickle.PicklingError for what
    cannot be pickled. As PyTorch's `torch.save`.

    >>> import iskra as torch, io
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'w': tensor([1., 1.])}
    """
    if not _use_new_zipfile_serialization:
        raise ValueError("save: the format from before PyTorch 1.6 is read, but not written")
    if not is_path(f) and not hasattr(f, "write"):
        raise AttributeError(
            f"'{type(f).__name__}' object has no attribute 'write': save needs a path or a "
            "binary file open for writing"
        )
    pickled, storages = dump(obj, pickle_protocol, pickle_module)
    if _skipping.active:
        storages = [Storage(np.zeros(storage.nbytes(), np.uint8)) for storage in storages]
    if not is_path(f):
        archive.write(f, pickled, storages)
        return
    folder = os.path.dirname(os.path.abspath(os.fsdecode(f)))
    if not os.path.isdir(folder):
        raise RuntimeError(f"save: the folder {folder} does not exist")
    with replacing(f) as stream:
        archive.write(stream, pickled, storages)


def load(
    f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args
):
    """Read what `save`, or PyTorch's `torch.save`, has written.

    Args:
        f: a path, or a binary file that can seek.
        map_location: where storages go: a device or its name; a dict from saved to new names; or
            a function of the storage (on the CPU) and the saved name, that returns a storage, or
            None for the usual place. None: where they were saved from.
        pickle_module: whose `Unpickler` to use with ``weights_only=False``.
        weights_only: True (and None) reads data only: tensors, containers, numbers, and what
            `add_safe_globals` has named. **False executes the file**: only for files whose
            origin you trust.
        mmap: map the file into memory instead of reading it; writes stay in memory.
        encoding: how strings written by Python 2 are decoded ("utf-8").

    Raises pickle.UnpicklingError for a file that is no checkpoint or names what is not allowed;
    RuntimeError for a damaged one; FileNotFoundError, IsADirectoryError; ValueError for `mmap`
    without a path. As PyTorch's `torch.load`.

    >>> import iskra as torch
    >>> torch.load("no_such_file.pt")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no_such_file.pt'
    """
    weights_only = weights_only is None or weights_only
    if weights_only and pickle_module is not None:
        raise RuntimeError("load: pickle_module cannot be chosen with weights_only=True")
    options = _Options(map_location, weights_only, pickle_module or pickle, pickle_load_args)
    if not is_path(f):
        if mmap:
            raise ValueError("load: f must be a file path in order to use the mmap argument")
        check_readable(f)
        return _load(f, None, options)
    with open(f, "rb") as stream:
        mapped = np.memmap(f, np.uint8, "c") if mmap and _is_zip(stream) else None
        if mmap and mapped is None:
            raise RuntimeError(
                "load: mmap needs the zip format, which save writes; read this older file "
                "without mmap, and save it again"
            )
        return _load(stream, mapped, options)


class _Options:
    """How to load: the arguments of `load`."""

    def __init__(self, map_location, weights_only, pickle_module, arguments):
        self.move = mover(map_location)
        self.weights_only = weights_only
        self.pickle_module = pickle_module
        self.arguments = arguments

    def unpickle(self, stream, persistent_load):
        """The object of the pickle in `stream`."""
        if self.weights_only:
            encoding = self.arguments.get("encoding", "utf-8")
            return SafeUnpickler(stream, persistent_load, _trusted, encoding).load()
        unpickler = _unrestricted(self.pickle_module)(stream, **self.arguments)
        unpickler.persistent_load = persistent_load
        return unpickler.load()


def _unrestricted(pickle_module):
    """An unpickler that imports whatever it is told to, under PyTorch's names as well."""

    class Unpickler(pickle_module.Unpickler):
        def find_class(self, module, name):
            if module.partition(".")[0] != "torch":
                return super().find_class(module, name)
            try:
                return names.find(module, name)
            except AttributeError as error:
                raise pickle.UnpicklingError(f"load: {error}, which the file names") from None

    return Unpickler


def _is_zip(stream):
    start = stream.tell()
    head = stream.read(4)
    stream.seek(start)
    return head == b"PK\x03\x04"


def _load(stream, mapped, options):
    if _is_zip(stream):
        return _load_archive(archive.Archive(stream, mapped), options)
    if not _remains(stream):
        raise EOFError("load: Ran out of input: the file is empty, or already read to its end")
    return _load_legacy(stream, options)


def _remains(stream):
    start = stream.tell()
    data = stream.read(1)
    stream.seek(start)
    return bool(data)


def _load_archive(source, options):
    swap = _byte_order(source) != sys.byteorder
    loaded = {}

    def contents(name, nbytes, kind):
        if _skipping.active:
            return np.empty(nbytes, np.uint8)
        return _native(source.array(name), kind, swap)

    def persistent_load(reference):
        kind, key, location, length = _parse(reference)
        if key not in loaded:
            nbytes = length * (1 if kind is None else kind.itemsize)
            name = f"data/{key}"
            if source.size(name) < nbytes:
                raise RuntimeError(
                    f"load: storage {key!r} has {source.size(name)} bytes, the checkpoint speaks "
                    f"of {nbytes}; it is damaged"
                )
            loaded[key] = options.move(lambda: contents(name, nbytes, kind), nbytes, location)
        return _result(loaded[key], kind, length)

    return options.unpickle(io.BytesIO(source.bytes("data.pkl")), persistent_load)


def _byte_order(source):
    if "byteorder" not in source:  # from before PyTorch 2.1
        assumed = _assumed_order or LoadEndianness.LITTLE
        return sys.byteorder if assumed is LoadEndianness.NATIVE else assumed.name.lower()
    order = source.bytes("byteorder")
    if order not in (b"little", b"big"):
        raise RuntimeError(f"load: unknown byte order {order[:20]!r}; the checkpoint is damaged")
    return order.decode()


def _load_legacy(stream, options):
    source = LegacyFile(stream, options.arguments.get("encoding", "utf-8"))
    swap = source.little_endian != (sys.byteorder == "little")
    loaded = {}

    def persistent_load(reference):
        if reference[0] in ("module", b"module"):
            return reference[1]  # the class; its source code is not compared
        kind, key, location, length = _parse(reference)
        if key not in loaded:
            array = source.arrays[key]
            loaded[key] = options.move(lambda: _native(array, kind, swap), array.size, location)
        view = reference[5] if len(reference) > 5 else None
        if view is None:
            return _result(loaded[key], kind, length)
        _, offset, count = view  # a part of a storage, from before tensors had offsets
        item = kind.itemsize
        array = loaded[key].array.view(np.uint8)[offset * item : (offset + count) * item]
        return _result(Storage(array), kind, count)

    stream.seek(source.start)
    return options.unpickle(stream, persistent_load)


def _parse(reference):
    """``(dtype or None, key, location, length)`` of a reference to a storage."""
    good = isinstance(reference, tuple) and len(reference) >= 5
    if not good or reference[0] not in ("storage", b"storage"):
        raise pickle.UnpicklingError("load: an unknown reference, to no storage; damaged")
    _, kind, key, location, length = reference[:5]
    key, location = (
        v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in (key, location)
    )
    typed = isinstance(kind, names.StorageClass) and isinstance(key, str)
    if not typed or not isinstance(location, str) or type(length) is not int or length < 0:
        raise pickle.UnpicklingError("load: a reference to an unknown kind of storage; damaged")
    return kind.dtype, key, location, length


def _native(array, kind, swap):
    """The bytes in this machine's order."""
    if not swap:
        return array
    if kind is None:
        raise RuntimeError(
            "load: a storage without element type, written on a machine of the other byte order"
        )
    if kind.itemsize == 1:
        return array
    unit = kind.itemsize // (2 if kind.is_complex else 1)
    return array.view(f"u{unit}").byteswap().view(np.uint8)


def _result(storage, kind, length):
    return storage if kind is None else TypedStorage(storage, kind, length * kind.itemsize)


# --- settings


class LoadEndianness(enum.Enum):
    """A byte order, for checkpoints that do not say theirs; see `set_default_load_endianness`."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_assumed_order = None


def get_default_load_endianness():
    """The byte order assumed for checkpoints that do not say theirs; None means little."""
    return _assumed_order


def set_default_load_endianness(endianness):
    """Set the byte order assumed for checkpoints that do not say theirs (before PyTorch 2.1).

    Raises TypeError unless it is a `LoadEndianness` or None.
    As PyTorch's `torch.serialization.set_default_load_endianness`.

    >>> import iskra as torch
    >>> torch.serialization.set_default_load_endianness(None)
    """
    global _assumed_order
    if not isinstance(endianness, (LoadEndianness, type(None))):
        raise TypeError(f"expected a LoadEndianness or None, got {type(endianness).__name__}")
    _assumed_order = endianness


class _Skipping(threading.local):
    active = False


_skipping = _Skipping()


@contextlib.contextmanager
def skip_data(materialize_fake_tensors=False):
    """Inside the block, `save` leaves storages blank and `load` does not read them.

    So a file can be prepared, or a structure looked at, without moving the data: loaded tensors
    hold whatever was in memory. As PyTorch's `torch.serialization.skip_data`.

    >>> import iskra as torch
    >>> with torch.serialization.skip_data():
    ...     torch.save(torch.ones(3), "blank.pt")       # doctest: +SKIP
    """
    before = _skipping.active
    _skipping.active = True
    try:
        yield
    finally:
        _skipping.active = before


# --- what the user vouches for

_trusted = {}


def add_safe_globals(safe_globals):
    """Allow these classes and functions in files loaded with ``weights_only=True``.

    Args:
        safe_globals: a list of classes and functions, or of pairs of one and the full name by
            which files call it.

    As PyTorch's `torch.serialization.add_safe_globals`.

    >>> import iskra as torch
    >>> class Settings: pass
    >>> with torch.serialization.safe_globals([Settings]):
    ...     torch.serialization.get_safe_globals() == [Settings]
    True
    """
    _trusted.update(map(_named, safe_globals))


def _named(item):
    if isinstance(item, tuple):
        if len(item) != 2 or not isinstance(item[1], str):
            raise ValueError(f"add_safe_globals: expected (object, full name), got {item!r}")
        return item[1], item[0]
    module, name = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    if module is None or name is None:
        raise TypeError(f"add_safe_globals: expected classes and functions, got {item!r}")
    return f"{module}.{name}", item


def get_safe_globals():
    """The classes and functions allowed so far, as a list.

    As PyTorch's `torch.serialization.get_safe_globals`.
    """
    return list(_trusted.values())


def clear_safe_globals():
    """Allow no classes and functions any more, but for those that every file may name.

    As PyTorch's `torch.serialization.clear_safe_globals`.
    """
    _trusted.clear()


@contextlib.contextmanager
def safe_globals(safe_globals):
    """Allow classes and functions inside a `with` block only; see `add_safe_globals`.

    As PyTorch's `torch.serialization.safe_globals`.
    """
    before = dict(_trusted)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        clear_safe_globals()
        _trusted.update(before)


def get_unsafe_globals_in_checkpoint(f):
    """The names in a checkpoint that `load` would refuse now, in the order of the file.

    Nothing is loaded or built. As PyTorch's function of that name.
    """
    if is_path(f):
        with open(f, "rb") as stream:
            return get_unsafe_globals_in_checkpoint(stream)
    check_readable(f)
    if _is_zip(f):
        stream = io.BytesIO(archive.Archive(f).bytes("data.pkl"))
    else:
        f.seek(LegacyFile(f).start)
        stream = f
    unpickler = SafeUnpickler(stream, None, _trusted, inspect=True)
    unpickler.load()
    return list(unpickler.unknown)
