"""Checkpoints written before PyTorch 1.6: a row of pickles, and behind them the storages' bytes.

The pickles are a magic number, a protocol number, facts on the machine, the object itself, and
the order of its storages. Then comes each storage: its length, and its bytes.
"""

import pickle
import struct

import numpy as np

from iskra.compat.names import StorageClass
from iskra.compat.unpickler import SafeUnpickler

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class LegacyFile:
    """What the object's pickle refers to: raw storages by key, and where the pickle starts.

    The object's pickle is gone through once without building anything, only to learn which
    storages it names; so the bytes are known before anything is built on them.
    Raises pickle.UnpicklingError for a file of another kind, RuntimeError for a damaged one.
    """

    def __init__(self, stream, encoding="utf-8"):
        self._check_start(stream)
        facts = _plain(stream)
        self.little_endian = not isinstance(facts, dict) or facts.get("little_endian", True)
        self.start = stream.tell()
        object_pickle = SafeUnpickler(stream, None, encoding=encoding, inspect=True)
        object_pickle.load()
        item_sizes = dict(map(_key_and_item_size, filter(_is_storage, object_pickle.references)))
        keys = _plain(stream)
        if not isinstance(keys, list) or set(keys) != set(item_sizes):
            raise RuntimeError("load: the list of storages does not fit the checkpoint; damaged")
        self.arrays = {key: _read_storage(stream, key, item_sizes[key]) for key in keys}

    def _check_start(self, stream):
        try:
            magic = _plain(stream)
        except (pickle.UnpicklingError, EOFError, RuntimeError):
            magic = None
        if magic != _MAGIC:
            raise pickle.UnpicklingError(
                "load: this is no checkpoint: neither a zip archive as save writes it, nor the "
                "format that PyTorch wrote before version 1.6"
            )
        version = _plain(stream)
        if version != _PROTOCOL:
            raise RuntimeError(f"load: protocol version {version!r}, expected {_PROTOCOL}")


def _plain(stream):
    """A pickle of nothing but plain data."""
    return SafeUnpickler(stream, _no_reference).load()


def _no_reference(reference):
    raise pickle.UnpicklingError("load: a reference outside the object; the file is damaged")


def _is_storage(reference):
    """Other references name the source code of modules."""
    if not isinstance(reference, tuple) or not reference:
        raise pickle.UnpicklingError("load: a reference that is no tuple; the file is damaged")
    return _text(reference[0]) == "storage"


def _key_and_item_size(reference):
    if len(reference) < 5 or not isinstance(reference[1], StorageClass):
        raise pickle.UnpicklingError("load: a reference to an unknown kind of storage; damaged")
    dtype = reference[1].dtype
    return _text(reference[2]), 1 if dtype is None else dtype.itemsize


def _text(value):
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _read_storage(stream, key, item_size):
    head = stream.read(8)
    if len(head) != 8:
        raise RuntimeError(f"load: the file is cut off before storage {key!r}")
    (length,) = struct.unpack("<q", head)
    # Read before believing the length: it may be a lie.
    data = stream.read(length * item_size) if 0 <= length < 2**62 // item_size else b""
    if len(data) != length * item_size:
        raise RuntimeError(f"load: the file is cut off in storage {key!r}")
    return np.frombuffer(bytearray(data), np.uint8)
