"""Convolutions of NumPy arrays in machine code.

>>> import numpy as np
>>> x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((1, 2, 2, 2), np.float32)
>>> convolve(x, w, (1, 1), (0, 0), (1, 1), 1)
array([[[[8., 8.],
         [8., 8.]]]], dtype=float32)
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from iskra.codegen import conv_channels, conv_kernel
from iskra.codegen.conv_channels import Channels
from iskra.codegen.conv_kernel import WINDOWS, slack
from iskra.codegen.gemm_call import After
from iskra.codegen.gemm_kernel import AHEAD, DEPTH, Spec
from iskra.codegen.gemm_plan import SUMS, TASK, compiled, even, workspace
from iskra.codegen.gemm_tiles import heights, host, tile
from iskra.runtime.memory import empty

_KINDS = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16"}
_PACKED = 1 << 15       # bytes that a task of padding should write
_SECOND_CACHE = 700 << 10       # bytes of packed weights that stay in the second-level cache
_RESULTS = 256 << 10            # bytes of a block's results

_plans = {}
_MOST_PLANS = 1024


class Geometry(NamedTuple):
    """Sizes and settings of a convolution, an entry for each spatial dimension.

    input, output: spatial sizes; channels: of the input, then of the output, both of one group.
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
    def padded(self):
        """The spatial shape of the padded input."""
        return tuple(n + 2 * p for n, p in zip(self.input, self.padding))

    def flattened(self):
        """A convolution that only mixes channels, as one with a single spatial dimension."""
        plain = (set(self.kernel), set(self.stride), set(self.padding)) == ({1}, {1}, {0})
        if not plain:
            return self
        return self._replace(input=(math.prod(self.input),), kernel=(1,), stride=(1,),
                             padding=(0,), dilation=(1,))


def convolve(x, w, stride, padding, dilation, groups, bias=None, epilogue=None):
    """Return the convolution of x (N, C, *S) with w (O, C / groups, *K), an array (N, O, *L).

    x, w: ndarrays of one dtype (float32, float64, float16, bfloat16), of one to three spatial
    dimensions; stride, padding, dilation: tuples with an entry for each. bias: O values of that
    dtype; epilogue: a function of one value of the loop IR, applied to what is stored.

    Raises TypeError for other dtypes and ValueError for shapes that do not fit.
    """
    key = (x.shape, w.shape, x.dtype, w.dtype, stride, padding, dilation, groups, bias is None,
           epilogue)
    plan = _plans.get(key)
    if plan is None:
        geometry = geometry_of(x, w, stride, padding, dilation, groups)
        after = After(bias=bias is not None, function=epilogue)
        plan = plan_of(geometry, kind_of(x, w), after)
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        _plans[key] = plan
    if bias is not None and (bias.shape != w.shape[:1] or bias.dtype != x.dtype):
        raise ValueError(f"bias should be {x.dtype}{[w.shape[0]]}, not "
                         f"{bias.dtype}{list(bias.shape)}")
    return plan.run(*map(_contiguous, (x, w, bias)))


def _contiguous(array):
    return array if array is None or array.flags.c_contiguous else np.ascontiguousarray(array)


def kind_of(x, w):
    """The kind of the operands, or TypeError."""
    if x.dtype != w.dtype or x.dtype.name not in _KINDS:
        raise TypeError(f"convolutions take two arrays of one of {', '.join(_KINDS)}, not "
                        f"{x.dtype} and {w.dtype}")
    return _KINDS[x.dtype.name]


def geometry_of(x, w, stride, padding, dilation, groups):
    """The sizes of a convolution of these arrays, or ValueError."""
    settings = (stride, padding, dilation)
    fits = x.ndim == w.ndim > 2 and all(len(s) == x.ndim - 2 for s in settings)
    if not fits or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f"an input {list(x.shape)} cannot be convolved with a weight "
                         f"{list(w.shape)} in {groups} groups")
    geometry = Geometry(x.shape[0], groups, (w.shape[1], w.shape[0] // groups), x.shape[2:],
                        w.shape[2:], *settings)
    if min(geometry.output) < 1:
        raise ValueError(f"a kernel {list(w.shape[2:])} does not fit into {list(geometry.padded)}")
    return geometry


class Layout(NamedTuple):
    """The padded copy of the input, and where its elements lie.

    parts: the last dimension's stride; rows, width: of each part of a channel; sources: where the
    rows come from, -1 for padding.
    """

    parts: int
    rows: int
    width: int
    sources: object

    @property
    def channel(self):
        """Elements of a channel."""
        return self.parts * self.rows * self.width


def layout_of(geometry):
    """How the padded copy of the input is laid out."""
    *outer, width = geometry.padded
    parts = geometry.stride[-1]
    inside = [np.arange(n) - p for n, p in zip(outer, geometry.padding)]
    sources = np.zeros((1,) * len(outer), np.int64)
    padding = np.zeros((1,) * len(outer), bool)
    for axis, (places, size) in enumerate(zip(inside, geometry.input)):
        places = places.reshape(-1, *(1,) * (len(outer) - axis - 1))
        sources = sources * size + places
        padding = padding | (places < 0) | (places >= size)
    sources = np.where(padding, -1, sources * geometry.input[-1]).reshape(-1)
    return Layout(parts, math.prod(outer), -(-width // parts), np.ascontiguousarray(sources))


def inner_places(geometry, layout):
    """Where the elements for each k start: k counts channels, then places in the kernel."""
    outer = geometry.padded[:-1]
    taps = []
    for place in itertools.product(*map(range, geometry.kernel)):
        *rows, column = (i * d for i, d in zip(place, geometry.dilation))
        part, column = column % layout.parts, column // layout.parts
        taps.append((part * layout.rows + _ravelled(rows, outer)) * layout.width + column)
    channels = np.arange(geometry.channels[0], dtype=np.int64)[:, None] * layout.channel
    return (channels + np.array(taps, np.int64)).reshape(-1)


def row_places(geometry, layout):
    """Where the first element of each row of the output lies."""
    outer = geometry.padded[:-1]
    places = itertools.product(*(range(0, n * s, s) for n, s in zip(geometry.output[:-1],
                                                                   geometry.stride)))
    return np.array([_ravelled(place, outer) * layout.width for place in places], np.int64)


def _ravelled(place, shape):
    index = 0
    for i, size in zip(place, shape):
        index = index * size + i
    return index


def plan_of(geometry, kind, after):
    """The kernels for a convolution, by its sizes and settings."""
    layout = layout_of(geometry)
    size = {"f64": 8, "f32": 4}.get(kind, 2)
    fits = layout.channel * size <= conv_channels.ROOM
    if geometry.groups > 1 and geometry.channels[0] == 1 and geometry.channels[1] <= 4 and fits:
        return ChannelPlan(geometry, layout, kind, after)
    return ConvPlan(geometry, kind, after)


class ChannelPlan:
    """A convolution each of whose channels has kernels of its own."""

    def __init__(self, geometry, layout, kind, after):
        self.shape = (geometry.samples, geometry.groups * geometry.channels[1], *geometry.output)
        machine, inner = host(), math.prod(geometry.kernel)
        pads = layout.parts > 1 or any(geometry.padding)
        spec = Channels(machine, kind, SUMS[kind], geometry.channels[1], layout.parts, pads, after)
        self.kernel = compiled(conv_channels.channelwise, (spec,), conv_channels.KINDS)
        self.tables = inner_places(geometry, layout), row_places(geometry, layout), layout.sources
        matrices = geometry.samples * geometry.groups
        work = 2 * math.prod(geometry.output) * geometry.channels[1] * inner
        share = max(1, TASK // 8 // max(1, work))
        self.numbers = (matrices, share, geometry.groups, inner, len(self.tables[1]),
                        geometry.output[-1], math.prod(geometry.input), geometry.input[-1],
                        geometry.padding[-1], layout.rows, layout.width)
        self.tasks = -(-matrices // share)

    def run(self, x, w, bias):
        """The convolution; contiguous operands."""
        out = empty(self.shape, x.dtype)
        self.kernel(x, w, out, bias, *self.tables, self.numbers, self.tasks)
        return out


class ConvPlan:
    """The kernels of a convolution and their arguments."""

    def __init__(self, geometry, kind, after):
        self.shape = (geometry.samples, geometry.groups * geometry.channels[1], *geometry.output)
        self.empty = 0 in self.shape
        if self.empty:
            return
        geometry = geometry.flattened()
        self.layout = layout_of(geometry)
        shape = self._tile(geometry, kind)
        self._plan_padding(geometry, kind, shape.lanes)
        self._plan_weights(geometry, kind, shape)
        self._plan_product(geometry, kind, shape, after)

    @staticmethod
    def _tile(geometry, kind):
        shape = tile(host(), SUMS[kind], geometry.channels[1])
        places = math.prod(geometry.output)
        return shape._replace(vectors=min(shape.vectors, -(-places // shape.lanes)))

    def _plan_padding(self, geometry, kind, lanes):
        layout = self.layout
        images = geometry.samples * geometry.groups * geometry.channels[0]
        self.padded = images * layout.channel
        self.pad = None
        if layout.parts == 1 and not any(geometry.padding):
            return
        self.pad = compiled(conv_kernel.pad, (kind, lanes, layout.parts), conv_kernel.PAD_KINDS)
        share = max(1, _PACKED // (4 * layout.channel))
        self.pad_numbers = (images, share, math.prod(geometry.input), geometry.input[-1],
                            geometry.padding[-1], layout.rows, layout.width)
        self.pad_tasks = -(-images // share)

    def _plan_weights(self, geometry, kind, shape):
        rows, inner = geometry.channels[1], geometry.channels[0] * math.prod(geometry.kernel)
        self.depth = even(inner, DEPTH)
        self.tiles = heights(rows, shape.rows)
        size = rows * self.depth + slack(shape)
        self.stretches = -(-inner // self.depth)
        self.pack = compiled(conv_kernel.pack_weights, (shape, kind), conv_kernel.WEIGHT_KINDS)
        self.pack_numbers = rows, inner, self.depth, *self.tiles, size
        self.pack_tasks = geometry.groups * self.stretches
        self.packed = self.pack_tasks * size

    def _plan_product(self, geometry, kind, shape, after):
        (_, rows), layout, groups = geometry.channels, self.layout, geometry.groups
        inner = geometry.channels[0] * math.prod(geometry.kernel)
        places, width = math.prod(geometry.output), geometry.output[-1]
        self.row_places, samples = row_places(geometry, layout), geometry.samples
        # Where a sample's places fill its panels badly, those of all samples make one product,
        # and the results are put into order afterwards.
        joined = samples > 1 and -(-places // shape.columns) * shape.columns > 1.08 * places
        self.separate = None
        if joined:
            self.separate = compiled(conv_kernel.separate, (kind, shape.lanes),
                                     conv_kernel.SEPARATE_KINDS)
            self.separate_numbers = groups * rows, samples, places
            image = groups * geometry.channels[0] * layout.channel
            self.row_places = np.add.outer(np.arange(samples) * image, self.row_places).ravel()
            samples, places = 1, samples * places
        tiles, height, higher = self.tiles
        spec = Spec(shape, (height + 1, height) if higher else (height,), AHEAD, WINDOWS,
                    (kind,) * 3, True, after)
        self.inner_places = inner_places(geometry, layout)
        pieces = min((shape.lanes + width - 2) // width + 1, len(self.row_places))
        arguments = spec, pieces if pieces <= 5 else 0
        self.kernel = compiled(conv_kernel.convolution, arguments, conv_kernel.CONV_KINDS)
        matrices = samples * groups
        self.offsets = self._offsets(geometry, matrices, rows * places)
        down, across = self._blocks(shape, matrices, rows, places, inner)
        self.tasks = matrices * down * across
        self.sums = matrices * rows * places if SUMS[kind] != kind else 0
        self.numbers = (rows, places, inner, 0, 1, 0, 1, places, places, places, self.depth, down,
                        across, tiles, height, higher, matrices, 1, 0, width,
                        len(self.row_places), groups)

    def _blocks(self, shape, matrices, rows, places, inner):
        """Into how many blocks the channels and the places of each product are cut."""
        down = max(1, rows * self.depth * 4 // _SECOND_CACHE)
        panels = -(-places // shape.columns)
        worth = min(64, max(1, 2 * rows * places * inner * matrices // TASK))
        # The results of a block stay in the cache between two stretches of k.
        across = rows * places * 4 // (down * _RESULTS)
        return down, max(1, min(panels, max(across, worth // (matrices * down))))

    def _offsets(self, geometry, matrices, result):
        """Where weights, input and result of each product begin."""
        numbers = np.arange(matrices, dtype=np.int64)
        weights = numbers % geometry.groups * self.stretches * self.pack_numbers[-1]
        image = geometry.channels[0] * self.layout.channel
        return np.stack([weights, numbers * image, numbers * result], axis=1)

    def run(self, x, w, bias):
        """The convolution; contiguous operands."""
        out = empty(self.shape, x.dtype)
        if self.empty:
            return out
        packed = workspace(self.packed, x.dtype)
        self.pack(w, packed, self.pack_numbers, self.pack_tasks)
        if self.pad is not None:
            padded = empty((self.padded,), x.dtype)
            self.pad(x, padded, self.layout.sources, self.pad_numbers, self.pad_tasks)
            x = padded
        sums = workspace(self.sums, x.dtype) if self.sums else None
        result = out if self.separate is None else empty(self.shape, x.dtype)
        self.kernel(packed, x, result, sums, bias, None, self.offsets, self.inner_places,
                    self.row_places, 1.0, self.numbers, self.tasks)
        if self.separate is not None:
            self.separate(result, out, self.separate_numbers, self.separate_numbers[1])
        return out
