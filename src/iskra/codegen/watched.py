"""Memory that watches its use: what pointers point to while a kernel is interpreted.

Each array that a kernel is given is a `Memory`. Reads and writes outside of it raise IndexError, as
do writes into the gaps between a strided array's elements and accesses that are not aligned.
A `Watch` over all memories finds tasks that are not independent of each other.
"""

from typing import NamedTuple

import numpy as np

from iskra.codegen.semantics import numpy_dtype

_FAR = 1 << 48  # elements: as good as infinite, and products with it do not overflow
_NOBODY, _MANY = -1, -2


class Pointer(NamedTuple):
    """A place in a memory; `position` counts bytes and may lie outside."""

    memory: object
    position: int

    @property
    def address(self):
        """The place as a number, to compare pointers by."""
        return self.memory.base + self.position

    def moved(self, count, size):
        """The place `count` elements of `size` bytes further on."""
        return Pointer(self.memory, self.position + max(-_FAR, min(count, _FAR)) * size)

    def read(self, indices, mask, kind):
        """The elements at ``self[indices]``, 0 where the mask excludes them."""
        dtype = numpy_dtype(kind)
        result = np.zeros(indices.shape, dtype)
        places = self._places(indices[mask], dtype.itemsize)
        if places.size:
            data = self.memory.read(places)
            # Any byte but 0 is a true bool, not only the byte 1.
            result[mask] = data[:, 0] != 0 if kind == "i1" else data.view(dtype)[:, 0]
        return result

    def write(self, values, indices, mask):
        """Write ``self[indices]`` where the mask allows; of equal indices the last wins."""
        size = values.itemsize
        places = self._places(indices[mask], size)
        if places.size:
            self.memory.write(places, values[mask].view(np.uint8).reshape(-1, size))

    def _places(self, indices, size):
        """The bytes of each element, (elements, size)."""
        starts = self.position + np.clip(indices, -_FAR, _FAR).astype(np.int64) * size
        return starts[:, None] + np.arange(size)


class _Null:
    """What a null pointer points to: nothing."""

    base = 0

    def read(self, places):
        raise IndexError("reads from a null pointer")

    def write(self, places, data):
        raise IndexError("writes to a null pointer")


NULL = Pointer(_Null(), 0)


class Table:
    """An array of pointers; it can only be read."""

    def __init__(self, name, pointers):
        self.name = name
        self.pointers = pointers
        self.base = id(self)

    def pick(self, position):
        """The pointer `position` bytes from the start."""
        index, rest = divmod(position, 8)
        if rest or not 0 <= index < len(self.pointers):
            raise IndexError(f"reads pointer {position / 8:g} of {self.name}, a table of "
                             f"{len(self.pointers)}")
        return self.pointers[index]

    def read(self, places):
        raise ValueError(f"reads numbers from {self.name}, a table of pointers")

    def write(self, places, data):
        raise ValueError(f"writes to {self.name}, a table of pointers")


class Memory:
    """The bytes between the first and the last element of an array.

    `owned` tells which of them are the array's own; None: all. `watch` is told of accesses.
    """

    def __init__(self, name, array):
        self.name = name
        self.base, end = np.lib.array_utils.byte_bounds(array)
        self.data = _bytes_at(self.base, end - self.base, array)
        self.owned = None if array.flags.c_contiguous else self._elements(array)
        self.watch = None

    def _elements(self, array):
        owned = np.zeros(self.data.size, bool)
        first = array.__array_interface__["data"][0] - self.base
        shape, strides = (*array.shape, array.itemsize), (*array.strides, 1)
        np.ndarray(shape, bool, owned, first, strides)[...] = True
        return None if owned.all() else owned

    def read(self, places):
        """The bytes at these places."""
        self._check(places, "reads")
        if self.watch:
            self.watch.read(self, self.base + places)
        return self.data[places]

    def write(self, places, data):
        """Write bytes at these places."""
        self._check(places, "writes")
        if not self.data.flags.writeable:
            raise ValueError(f"writes to {self.name}, which is read-only")
        if self.owned is not None and not self.owned[places].all():
            raise IndexError(f"writes between the elements of {self.name}")
        if self.watch:
            self.watch.write(self, self.base + places)
        self.data[places] = data

    def _check(self, places, verb):
        size = places.shape[1]
        first, last = places.min(), places.max()
        if first < 0 or last >= self.data.size:
            wrong = first if first < 0 else last - size + 1
            raise IndexError(f"{verb} {size} bytes at byte {wrong} of {self.name}, which has "
                             f"{self.data.size}")
        if ((self.base + places[:, 0]) % size).any():
            raise IndexError(f"{verb} elements of {size} bytes of {self.name} at places that are "
                             f"not multiples of {size}")


class _Bytes:
    """Lets NumPy see the memory between two addresses, and keeps its owner alive."""

    def __init__(self, address, size, owner):
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "typestr": "|u1", "shape": (size,),
            "data": (address, not owner.flags.writeable),
        }


def _bytes_at(address, size, owner):
    return np.asarray(_Bytes(address, size, owner))


class Watch:
    """Remembers which task used each byte; raises RuntimeError where two tasks meet at one.

    Two tasks may read the same byte, but none may write what another reads or writes: otherwise
    the result would depend on which of them comes first.
    """

    def __init__(self, memories):
        self.task = None  # the one that runs now
        self.regions = []  # (first address, end, writer of each byte, reader of each byte)
        for start, end in _united((m.base, m.base + m.data.size) for m in memories):
            users = np.full((2, end - start), _NOBODY)
            self.regions.append((start, end, *users))
        for memory in memories:
            memory.watch = self

    def read(self, memory, addresses):
        """The task that runs now reads bytes of a memory."""
        places, writer, reader = self._users(addresses)
        self._refuse(writer[places], f"reads {memory.name} where {{}} writes")
        before = reader[places]
        reader[places] = np.where((before == _NOBODY) | (before == self.task), self.task, _MANY)

    def write(self, memory, addresses):
        """The task that runs now writes bytes of a memory."""
        places, writer, reader = self._users(addresses)
        self._refuse(writer[places], f"writes {memory.name} where {{}} writes")
        self._refuse(reader[places], f"writes {memory.name} where {{}} reads")
        writer[places] = self.task

    def _users(self, addresses):
        for start, end, writer, reader in self.regions:
            if start <= addresses[0, 0] < end:
                return addresses - start, writer, reader
        raise AssertionError("memory that nobody watches")

    def _refuse(self, users, message):
        others = users[(users != _NOBODY) & (users != self.task)]
        if others.size:
            other = others[0]
            who = "more than one task" if other == _MANY else f"task {other}"
            raise RuntimeError(message.format(who))


def _united(spans):
    """The spans, those that overlap or touch made into one."""
    united = []
    for start, end in sorted(spans):
        if united and start <= united[-1][1]:
            united[-1][1] = max(end, united[-1][1])
        else:
            united.append([start, end])
    return united
