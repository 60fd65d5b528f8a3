"""Where the elements of a convolution lie: sizes, padded copies, and the tables that kernels read.

A convolution is a product ``weights @ windows`` for each sample and group. Its k counts channels
of the input and *taps*, the places in the kernel; its columns count the places of the output. The
element that a tap meets at an output place is the sum of two offsets in the padded input.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np


class Geometry(NamedTuple):
    """Sizes and settings of a convolution, an entry for each spatial dimension.

    channels: of the input, then of the output, both of one group.
    """

    samples: int
    groups: int
    channels: tuple
    input: tuple
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple

    @property
    def output(self):
        """The spatial shape of the output."""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(self.input, self.kernel, self.stride, self.padding,
                                     self.dilation)
        )

    @property
    def plain(self):
        """Whether only channels are mixed."""
        return set(self.kernel) == {1} == set(self.stride) and set(self.padding) == {0}

    def flattened(self):
        """A convolution that only mixes channels, as one with a single spatial dimension."""
        if not self.plain:
            return self
        return self._replace(input=(math.prod(self.input),), kernel=(1,), stride=(1,),
                             padding=(0,), dilation=(1,))


class Layout(NamedTuple):
    """The padded copy of one channel: (parts, rows, width).

    shape: the padded spatial shape; before: elements of padding before the first; parts: the
    elements of a row are sorted by their number modulo this.
    """

    input: tuple
    before: tuple
    shape: tuple
    parts: int

    @property
    def rows(self):
        """Rows of a part of a channel."""
        return math.prod(self.shape[:-1])

    @property
    def width(self):
        """Elements of a row of a part."""
        return -(-self.shape[-1] // self.parts)

    @property
    def size(self):
        """Elements of a channel."""
        return self.parts * self.rows * self.width

    @property
    def trivial(self):
        """Whether the copy would be the input itself."""
        return self.parts == 1 and self.input == self.shape and not any(self.before)

    def sources(self):
        """Where each row of the copy comes from in the channel; -1: it is padding."""
        outer = self.shape[:-1]
        sources, missing = np.zeros((1,) * len(outer), np.int64), False
        for axis, (size, before, there) in enumerate(zip(outer, self.before, self.input)):
            places = (np.arange(size) - before).reshape(-1, *(1,) * (len(outer) - axis - 1))
            sources = sources * there + places
            missing = missing | (places < 0) | (places >= there)
        rows = np.where(missing, -1, sources * self.input[-1])
        return np.ascontiguousarray(np.broadcast_to(rows, outer).reshape(-1), np.int64)

    def place(self, tap):
        """Where an element of the padded channel lies in the copy."""
        *rows, column = tap
        row = _ravelled(rows, self.shape[:-1])
        return (column % self.parts * self.rows + row) * self.width + column // self.parts


def _ravelled(place, shape):
    index = 0
    for i, size in zip(place, shape):
        index = index * size + i
    return index


def forward_layout(geometry):
    """The padded copy of a convolution's input."""
    shape = tuple(n + 2 * p for n, p in zip(geometry.input, geometry.padding))
    return Layout(geometry.input, geometry.padding, shape, geometry.stride[-1])


def forward_taps(geometry):
    """What each place in the kernel adds to a place in the padded input."""
    return [tuple(i * d for i, d in zip(place, geometry.dilation))
            for place in itertools.product(*map(range, geometry.kernel))]


def inner_places(layout, channels, taps):
    """The table of the offsets of k: channels, and for each channel the taps."""
    places = np.array([layout.place(tap) for tap in taps], np.int64)
    return (np.arange(channels, dtype=np.int64)[:, None] * layout.size + places).reshape(-1)


def row_places(layout, output, stride):
    """The table of the offsets of the output's rows: of their first elements."""
    starts = itertools.product(*(range(0, n * s, s) for n, s in zip(output[:-1], stride)))
    return np.array([layout.place((*start, 0)) for start in starts], np.int64)


class Part(NamedTuple):
    """The places of an input that meet the same taps: every stride-th, from `start` on.

    kernel: the places in the kernel; taps: what they add to a place in the padded gradient.
    """

    start: tuple
    output: tuple
    kernel: list
    taps: list


def backward_parts(geometry):
    """How the gradient of the input is made up: its parts, and the layout of the output's gradient.

    Input i meets output l through tap k where ``i = l * stride + k * dilation - padding``. So for
    the inputs with one remainder modulo the stride it is a convolution with stride 1.
    """
    axes = [_axis_parts(*sizes) for sizes in zip(
        geometry.input, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)]
    before, shape = [], []
    for axis in axes:
        shifts = [shift for _, _, taps in axis for _, shift in taps] or [0]
        before.append(-min(shifts))
        shape.append(max(count for _, count, _ in axis) + max(shifts) - min(shifts))
    parts = []
    for chosen in itertools.product(*axes):
        starts, counts, taps = zip(*chosen)
        places = list(itertools.product(*taps))
        parts.append(Part(starts, counts, [tuple(k for k, _ in p) for p in places],
                          [tuple(s + b for (_, s), b in zip(p, before)) for p in places]))
    return parts, Layout(geometry.output, tuple(before), tuple(shape), 1)


def _axis_parts(size, kernel, stride, padding, dilation):
    """For each remainder: the first input, how many there are, its taps as (k, what it adds)."""
    parts = []
    for start in range(min(stride, size)):
        taps = [(k, (start + padding - k * dilation) // stride) for k in range(kernel)
                if (start + padding - k * dilation) % stride == 0]
        parts.append((start, -(-(size - start) // stride), taps))
    return parts
