"""Handing a batch from a worker to the loader: through memory that both processes map.

A batch is pickled; its tensors and arrays are left out of the pickle and written into a *segment*,
an anonymous file in memory. The worker hands the open file itself to the loader, so a segment has
no name that could be left behind: the system frees it when the last process that maps it is gone.
When nothing in the loader's process uses a batch any more, its segment goes back to the worker for
another batch: writing into pages that exist costs a small part of what new pages cost. What is
small goes with the message.
"""

import copyreg
import mmap
import os
import pickle
import tempfile
import weakref
from collections import ChainMap
from io import BytesIO
from multiprocessing.reduction import ForkingPickler

import numpy as np

from iskra.data.channel import CAN_SEND_FILES
from iskra.tensor import Parameter, Tensor, wrap

SMALL = 1 << 15  # bytes that go with the message; a line takes several such without waiting
IN_PICKLE = 1 << 9  # arrays below this size stay in the pickle
ALIGNMENT = 64  # what vector instructions like
MOST_HELD = 128  # segments in use by one loader's batches: each is an open file


def dumps(batch):
    """``[pickle, buffer, ...]`` of a batch: the buffers are the memory of tensors and arrays."""
    buffers = []

    def keep(buffer):
        with buffer.raw() as raw:
            if raw.nbytes < IN_PICKLE:
                return True
        buffers.append(buffer)
        return False

    file = BytesIO()
    _Pickler(file, 5, buffer_callback=keep).dump(batch)
    return [file.getbuffer(), *(buffer.raw() for buffer in buffers)]


class _Pickler(pickle.Pickler):
    """Pickles what multiprocessing's pickler can, and tensors without their data."""

    dispatch_table = ChainMap(ForkingPickler._extra_reducers, copyreg.dispatch_table)

    def reducer_override(self, value):
        if type(value) not in (Tensor, Parameter) or type(value._array) is not np.ndarray:
            return NotImplemented
        if value.requires_grad and not value.is_leaf:
            raise RuntimeError(
                "a worker returned a tensor that requires grad and has a history; the history "
                "stays in the worker, so detach() the tensor in the dataset or in collate_fn"
            )
        array = value._array
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        memory = np.asarray(array, order=order).reshape(-1, order=order)
        return _tensor, (
            type(value), memory.view(np.uint8), value.dtype, array.shape, order,
            value.requires_grad,
        )


def _tensor(cls, memory, dtype, shape, order, requires_grad):
    tensor = wrap(memory.view(dtype.numpy).reshape(shape, order=order), dtype)
    if cls is Parameter:
        return Parameter(tensor, requires_grad)
    return tensor.requires_grad_(requires_grad)


class Sender:
    """The worker's side: writes batches into segments."""

    def __init__(self):
        self._free = {}  # number -> mapping, of segments that came back
        self._lent = {}
        self._count = 0

    def pack(self, parts):
        """``(how the parts travel, bytes for the message, file descriptor to close or None)``."""
        parts = [memoryview(part).cast("B") for part in parts]
        lengths = [part.nbytes for part in parts]
        if sum(lengths) <= SMALL or not CAN_SEND_FILES:
            return (lengths, None), b"".join(parts), None
        offsets = _offsets(lengths)
        try:
            number, size, dropped, file = self._segment(offsets[-1])
        except OSError:  # no more files or memory to be had: the line takes it too, if slowly
            return (lengths, None), b"".join(parts), None
        memory = np.frombuffer(self._lent[number], np.uint8)
        for part, start in zip(parts, offsets):
            memory[start : start + part.nbytes] = np.frombuffer(part, np.uint8)
        return (lengths, (number, size, dropped)), b"", file

    def _segment(self, needed):
        """A segment of at least that size: ``(number, size, numbers given up, file if new)``."""
        fitting = [number for number, memory in self._free.items() if len(memory) >= needed]
        if fitting:
            number = min(fitting, key=lambda number: len(self._free[number]))
            self._lent[number] = self._free.pop(number)
            return number, len(self._lent[number]), (), None
        size = needed + needed // 8  # room for a batch that is a little larger
        file = _anonymous_file(size)
        # None was large enough: give one up, so that there are never more than were in use at once.
        dropped = tuple(self._free)[:1]
        for number in dropped:
            del self._free[number]
        number = self._count
        self._count += 1
        self._lent[number] = mmap.mmap(file, size)
        return number, size, dropped, file

    def take_back(self, free, lost):
        """Segments that the loader no longer uses, and such as must never be written again."""
        for number in free:
            self._free[number] = self._lent.pop(number)
        for number in lost:
            del self._lent[number]


def _anonymous_file(size):
    """The descriptor of a file in memory, or of one without a name where there is no such thing."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("iskra-batch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    os.ftruncate(file, size)
    return file


def _offsets(lengths):
    """Where each part begins, and the end of the last."""
    offsets = [0]
    for length in lengths:
        offsets.append(-(-(offsets[-1] + length) // ALIGNMENT) * ALIGNMENT)
    return offsets


_receivers = weakref.WeakSet()


class Receiver:
    """The loader's side of one worker: maps segments and notices when a batch is used up."""

    def __init__(self, most_held):
        self._most_held = most_held
        self._mapped = {}  # number -> mapping
        self._leases = {}  # number -> weak reference to the array that a batch's memory hangs on
        self._free = []  # numbers to give back
        self._lost = []
        self._shared = set()  # numbers that a forked process may still read
        _receivers.add(self)

    def unpack(self, how, data, file):
        """The batch, out of a message as `Sender.pack` made it."""
        lengths, segment = how
        if segment is None:
            parts = _copies(memoryview(data), np.cumsum([0, *lengths]).tolist(), lengths)
        else:
            parts = self._view(segment, lengths, file)
        return pickle.loads(parts[0], buffers=parts[1:])

    def _view(self, segment, lengths, file):
        number, size, dropped = segment
        for old in dropped:
            del self._mapped[old]
        if file is not None:
            self._mapped[number] = mmap.mmap(file, size)
            os.close(file)
        memory = np.frombuffer(self._mapped[number], np.uint8)
        offsets = _offsets(lengths)
        if len(self._leases) >= self._most_held:
            # The program keeps its batches: it gets a copy, so that open files stay few.
            self._free.append(number)
            return _copies(memoryview(memory), offsets, lengths)
        self._leases[number] = weakref.ref(memory, _Return(self, number))
        view = memoryview(memory)
        return [view[start : start + size] for start, size in zip(offsets, lengths)]

    def returned(self):
        """``(free, lost)``: the segments to tell the worker of, see `Sender.take_back`."""
        free, self._free = self._free, []
        lost, self._lost = self._lost, []
        return free, lost

    def release(self, number):
        """The last user of a segment is gone."""
        self._leases.pop(number, None)
        if number in self._shared:
            self._shared.discard(number)
            self._mapped.pop(number, None)
            self._lost.append(number)
        else:
            self._free.append(number)

    def note_fork(self):
        """A child process now sees the batches in use; it may keep them longer than we do."""
        self._shared.update(self._leases)


class _Return:
    """Called when a batch's memory is used up, if its loader is still there to care."""

    def __init__(self, receiver, number):
        self.receiver = weakref.ref(receiver)
        self.number = number

    def __call__(self, reference):
        receiver = self.receiver()
        if receiver is not None:
            receiver.release(self.number)


def _copies(view, offsets, lengths):
    return [bytearray(view[start : start + size]) for start, size in zip(offsets, lengths)]


def _note_fork():
    for receiver in list(_receivers):
        receiver.note_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_fork)
