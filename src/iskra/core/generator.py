"""`Generator`: the state of a stream of random bits, the same stream as PyTorch's on the CPU.

The bits come from the Mersenne Twister MT19937, seeded by its authors' ``init_genrand`` with the
low 32 bits of the seed. NumPy's bit generator of that name makes them; this file adds PyTorch's
rules: what a seed may be, how two draws make a 64-bit number, the cached second normal sample,
and the 5056 bytes in which PyTorch stores all that. How bits become numbers of a distribution is
the affair of `iskra.runtime.random`.

Source: https://docs.pytorch.org/docs/stable/generated/torch.Generator.html
"""

import os
import threading

import numpy as np

from iskra.core.device import device as Device

_WORDS = 624
_LOW = 0xFFFFFFFF
_DEFAULT_SEED = 67280421310721  # of a new Generator, as PyTorch documents
# Above this many draws, NumPy's 32-bit integers outrun its raw 64-bit output.
_MANY = 2048

# PyTorch's state in bytes. Offsets and order are those of a C struct, padding included.
_LAYOUT = np.dtype({
    "names": ["seed", "left", "seeded", "next", "words", "normal_x", "normal", "normal_rho",
              "has_normal", "float_normal", "has_float_normal"],
    "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<f8", "<f8",
                "<i4", "<f4", "<u1"],
    "offsets": [0, 8, 12, 16, 24, 5016, 5024, 5032, 5040, 5048, 5052],
    "itemsize": 5056,
})


class Generator:
    """A stream of random numbers with a state of its own.

    `device` is ``"cpu"`` (the default). Equal seeds give equal streams, and the stream of a seed is
    that of PyTorch's CPU generator, bit for bit. A generator may be used from several threads:
    whoever draws holds its `lock` for as long as the draws belong together.

    Raises RuntimeError for a device without a generator.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Generator.html

    >>> import iskra as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(3, generator=g)
    tensor([0.4963, 0.7682, 0.0885])
    """

    def __init__(self, device="cpu"):
        self._device = Device(device)
        if self.device.type != "cpu":
            raise RuntimeError(
                f"Generator: there is no random generator for device '{self.device}'; use 'cpu'"
            )
        self.lock = threading.RLock()
        self.next_normal = None  # the second of a pair of normal samples, kept for the next call
        self.next_float_normal = None  # its float twin: never made here, only carried in the state
        self._seed = _DEFAULT_SEED
        self._numpy = None  # NumPy's generator: made at the first draw, it is slow to import

    @property
    def device(self):
        """The device whose numbers these are: the CPU."""
        return self._device

    # Seeds

    def manual_seed(self, seed):
        """Start the stream of `seed`, an int from ``-2**63`` to ``2**64 - 1``; return self.

        A negative seed stands for itself plus ``2**64``.
        Raises RuntimeError unless `seed` is an int, ValueError outside the range.

        >>> import iskra as torch
        >>> torch.Generator().manual_seed(-1).initial_seed()
        18446744073709551615
        """
        if type(seed) is not int:
            if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
                raise RuntimeError(
                    f"manual_seed expected a long, but got {type(seed).__name__}"
                )
            seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(
                f"manual_seed: Overflow when unpacking long long: {seed} is not in [-2**63, 2**64)"
            )
        with self.lock:
            self._restart(seed & 0xFFFFFFFFFFFFFFFF)
        return self

    def seed(self):
        """Seed from the operating system's randomness; return the seed, an int of 64 bits.

        >>> import iskra as torch
        >>> g = torch.Generator()
        >>> g.seed() == g.initial_seed()
        True
        """
        seed = int.from_bytes(os.urandom(8), "little")
        with self.lock:
            self._restart(seed)
        return seed

    def initial_seed(self):
        """Return the seed with which the stream was started.

        >>> import iskra as torch
        >>> torch.Generator().initial_seed()
        67280421310721
        """
        return self._seed

    def _restart(self, seed):
        self._seed = seed
        self.next_normal = self.next_float_normal = None
        if self._numpy is not None:
            self._numpy.seed(seed & _LOW)

    # Draws

    def _start(self):
        from numpy.random import MT19937, RandomState  # slow to import

        numpy = RandomState(MT19937(0))
        numpy.seed(self._seed & _LOW)
        self._bits = numpy._bit_generator
        self._numpy = numpy
        return numpy

    def random(self):
        """Draw one 32-bit number, as an int."""
        if self._numpy is None:
            self._start()
        return self._bits.random_raw()

    def random64(self):
        """Draw one 64-bit number, as an int: two draws of 32 bits, the high half first."""
        with self.lock:
            high = self.random()
            return high << 32 | self.random()

    def draw32(self, count):
        """Draw `count` 32-bit numbers: an ndarray of uint32."""
        numpy = self._numpy or self._start()
        if count < _MANY:
            return self._bits.random_raw(count).astype(np.uint32)
        return numpy.randint(0, 1 << 32, count, np.uint32)

    def draw64(self, count):
        """Draw `count` 64-bit numbers: an ndarray of uint64. Each takes two draws of 32 bits."""
        halves = self.draw32(2 * count)
        wide = halves[0::2].astype(np.uint64)
        wide <<= np.uint64(32)
        wide |= halves[1::2]
        return wide

    def address(self):
        """Where the state lies in memory: 624 words of uint32, then the position, an int32.

        Machine code draws from it in place (`iskra.runtime.random_kernels`).
        """
        if self._numpy is None:
            self._start()
        return self._bits.ctypes.state_address

    def mark(self):
        """The place in the stream, to return to with `rewind`."""
        if self._numpy is None:
            self._start()
        return self._bits.state

    def rewind(self, mark):
        """Go back (or forth) to a place that `mark` returned."""
        self._bits.state = mark

    # State

    def state_bytes(self):
        """Return the state as 5056 bytes in PyTorch's layout: an ndarray of uint8."""
        with self.lock:
            if self._numpy is None:
                self._start()
            held = self._bits.state["state"]
            words, position = held["key"], held["pos"]
            state = np.zeros((), _LAYOUT)
            state["seed"] = self._seed
            state["seeded"] = 1
            state["words"] = words
            # Freshly seeded words have not been stirred; PyTorch marks that by `next` = 0.
            is_fresh = position == _WORDS and int(words[0]) == self._seed & _LOW
            state["next"] = 0 if is_fresh else position
            state["left"] = 1 if is_fresh else _WORDS + 1 - position
            if self.next_normal is not None:
                state["has_normal"] = 1
                state["normal"] = self.next_normal
            if self.next_float_normal is not None:
                state["has_float_normal"] = 1
                state["float_normal"] = self.next_float_normal
        return state.reshape(1).view(np.uint8)

    def load_state_bytes(self, data):
        """Take over a state: bytes, or an ndarray of uint8, as `state_bytes` or PyTorch made it.

        Raises RuntimeError for a wrong size or an impossible state, and then changes nothing.
        """
        data = np.frombuffer(bytes(data), np.uint8)
        if data.size != _LAYOUT.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_LAYOUT.itemsize} but found the input "
                f"RNG state size to be {data.size}"
            )
        state = data.view(_LAYOUT)[0]
        left, position = int(state["left"]), int(state["next"])
        if not (state["seeded"] and 0 < left <= _WORDS and position <= _WORDS):
            raise RuntimeError("Invalid mt19937 state")
        with self.lock:
            if self._numpy is None:
                self._start()
            words = state["words"].astype(np.uint32)
            held = {"key": words, "pos": _WORDS if left == 1 else position}
            self._bits.state = {"bit_generator": "MT19937", "state": held}
            self._seed = int(state["seed"])
            self.next_normal = float(state["normal"]) if state["has_normal"] else None
            has_float = state["has_float_normal"]
            self.next_float_normal = float(state["float_normal"]) if has_float else None

    def get_state(self):
        """Return the state: 5056 numbers of dtype uint8, which PyTorch can load too."""
        return self.state_bytes()

    def set_state(self, state):
        """Continue from a state that `get_state` (or PyTorch's) returned."""
        self.load_state_bytes(state)

    def clone_state(self):
        """Return a new generator that goes on from the same state.

        >>> import iskra as torch
        >>> g = torch.Generator()
        >>> g.clone_state().random64() == g.random64()
        True
        """
        copy = Generator(self.device)
        copy.load_state_bytes(self.state_bytes())
        return copy

    def graphsafe_get_state(self):
        """The generator itself: its state at any time to come. There are no graphs to keep it."""
        return self

    def graphsafe_set_state(self, state):
        """Continue from where the generator `state` is."""
        self.load_state_bytes(state.state_bytes())

    def get_offset(self):
        """Raise RuntimeError: a CPU generator has no offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset):
        """Raise RuntimeError: a CPU generator has no offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self):
        return _rebuild, (self.device, self.state_bytes().tobytes())


def _rebuild(where, data):
    generator = Generator(where)
    generator.load_state_bytes(data)
    return generator


default_generator = Generator()
default_generator.seed()
