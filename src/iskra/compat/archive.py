"""The container of a checkpoint: a zip archive of uncompressed records, as PyTorch writes it.

The records are `data.pkl` (the pickle), `data/0`, `data/1` ... (the storages), `byteorder`,
`version` and a few marks, all in one folder. Each record's data starts at a multiple of 64 bytes,
so that a file can be mapped into memory and used in place.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import struct
import sys
import zipfile
import zlib

import numpy as np

ALIGNMENT = 64
_LOCAL_HEADER = 30  # bytes before the name
_ZIP64_EXTRA = 20
_ROOT = "archive"
# What the standard library raises on damaged archives.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, NotImplementedError,
            IndexError, MemoryError, OverflowError)
_PART = 1 << 24  # bytes read at a time, so that a checksum is taken while they are in the cache


def write(stream, pickled, storages):
    """Write an archive with the pickle and the storages' bytes to a binary stream.

    The same contents give the same bytes: nothing depends on the time or the file's name.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        writer = _Writer(archive)
        writer.add("data.pkl", pickled)
        writer.add(".format_version", b"1")
        writer.add(".storage_alignment", str(ALIGNMENT).encode())
        writer.add("byteorder", sys.byteorder.encode())
        for number, storage in enumerate(storages):
            writer.add(f"data/{number}", _host_bytes(storage.array))
        writer.add("version", b"3\n")
        writer.add(".data/serialization_id", writer.digest().encode())


def _host_bytes(array):
    if hasattr(array, "get"):  # CuPy
        array = array.get()
    return memoryview(array.view(np.uint8))


class _Writer:
    """Adds records, each padded so that its data is aligned."""

    def __init__(self, archive):
        self.archive = archive
        self.start = archive.fp.tell()

    def add(self, name, data):
        info = zipfile.ZipInfo(f"{_ROOT}/{name}")
        info.file_size = len(data)
        begin = self.archive.fp.tell() - self.start + _LOCAL_HEADER + len(info.filename)
        if info.file_size * 1.05 > zipfile.ZIP64_LIMIT:  # zipfile's own test
            begin += _ZIP64_EXTRA
        gap = -(begin + 4) % ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap
        self.archive.writestr(info, data)

    def digest(self):
        """40 digits that tell one checkpoint's contents from another's."""
        names = checksums = 0
        for info in self.archive.infolist():
            names = zlib.crc32(info.filename.encode(), names)
            checksums = zlib.crc32(struct.pack("<IQ", info.CRC, info.file_size), checksums)
        return f"{names:020d}{checksums:020d}"


class Archive:
    """A checkpoint's records, read from a seekable binary stream.

    With `mapped` (the whole file as an array of bytes) records are views of it.
    Raises RuntimeError where the archive is cut off, damaged, or no checkpoint.
    """

    def __init__(self, stream, mapped=None):
        self.stream = stream
        self.mapped = mapped
        try:
            infos = zipfile.ZipFile(stream).infolist()
        except _DAMAGED as error:
            raise RuntimeError(
                f"load: the zip archive cannot be read: {error}. The file is probably cut off: "
                "not written or not downloaded to its end"
            ) from error
        self.records = {info.filename: info for info in infos}
        self.root = _root(self.records)

    def __contains__(self, name):
        return self.root + name in self.records

    def size(self, name):
        """The bytes of one record."""
        return self._info(name).file_size

    def bytes(self, name):
        """One small record."""
        return self.array(name).tobytes()

    def array(self, name):
        """One record as a flat array of bytes."""
        info = self._info(name)
        if info.compress_type != zipfile.ZIP_STORED:  # packed again by some other program
            return self._unpack(info)
        begin = self._begin(info)
        if self.mapped is not None:
            return self._checked_size(self.mapped[begin : begin + info.file_size], info)
        self.stream.seek(begin)
        return self._read(info)

    def _unpack(self, info):
        try:
            with zipfile.ZipFile(self.stream) as archive:
                return np.frombuffer(bytearray(archive.read(info)), np.uint8)
        except (*_DAMAGED, RuntimeError) as error:
            raise RuntimeError(
                f"load: record {info.filename!r} cannot be unpacked: {error}"
            ) from error

    def _info(self, name):
        info = self.records.get(self.root + name)
        if info is None:
            raise RuntimeError(f"load: the checkpoint has no record {name!r}; it is damaged")
        return info

    def _begin(self, info):
        """Where the record's data starts: its local header has fields of any length."""
        self.stream.seek(max(info.header_offset, 0))
        header = self.stream.read(_LOCAL_HEADER)
        if info.header_offset < 0 or len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise RuntimeError(f"load: the header of record {info.filename!r} is damaged")
        name_length, extra_length = struct.unpack("<26xHH", header)
        return info.header_offset + _LOCAL_HEADER + name_length + extra_length

    def _read(self, info):
        # A damaged size must not allocate what the file cannot hold.
        if info.file_size > _remaining(self.stream):
            raise RuntimeError(f"load: the record {info.filename!r} is cut off")
        data = np.empty(info.file_size, np.uint8)
        checksum = 0
        for start in range(0, info.file_size, _PART):
            part = data[start : start + _PART]
            _fill(self.stream, part, info.filename)
            checksum = zlib.crc32(part, checksum)
        # PyTorch can be told to write no checksums; it then writes 0.
        if info.CRC not in (0, checksum):
            raise RuntimeError(
                f"load: the bytes of record {info.filename!r} are not those that were written; "
                "the file is damaged"
            )
        return data

    def _checked_size(self, data, info):
        if data.size != info.file_size:
            raise RuntimeError(f"load: the record {info.filename!r} is cut off")
        return data


def _fill(stream, part, name):
    """Read `part.size` bytes, in as many pieces as the stream likes."""
    view = memoryview(part)
    readinto = getattr(stream, "readinto", None)
    while view:
        if readinto is not None:
            count = readinto(view)
        else:
            piece = stream.read(len(view))
            count = len(piece)
            view[:count] = piece
        if not count:
            raise RuntimeError(f"load: the record {name!r} is cut off")
        view = view[count:]


def _remaining(stream):
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return (stream.tell() if end is None else end) - here


def _root(names):
    """The folder that holds the records, with its slash."""
    for name in names:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            root = name[: -len("data.pkl")]
            break
    else:
        raise RuntimeError(
            "load: a zip archive, but not of a checkpoint: it has no data.pkl. It holds "
            + (", ".join(list(names)[:4]) or "nothing")
        )
    if root + "constants.pkl" in names:
        raise RuntimeError(
            "load: this is a TorchScript archive, a program rather than a checkpoint. In PyTorch, "
            "save the state_dict() of the module that it was made from"
        )
    return root
