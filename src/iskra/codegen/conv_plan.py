"""How a convolution is computed: decided by dtypes, shapes and settings alone."""

import math
from typing import NamedTuple

import numpy as np

from iskra.codegen import conv_channels, conv_geometry, conv_gradient, conv_kernel
from iskra.codegen.conv_channels import Channels
from iskra.codegen.conv_kernel import WINDOWS, slack
from iskra.codegen.gemm_call import After
from iskra.codegen.gemm_kernel import AHEAD, DEPTH, TURNED, Spec, most_tiles
from iskra.codegen.gemm_plan import SUMS, TASK, compiled, even, workspace
from iskra.codegen.gemm_tiles import heights, host, tile
from iskra.runtime.memory import empty

_PADDED = 1 << 15               # bytes that a task of padding should write
_SECOND_CACHE = 700 << 10       # bytes of packed weights that stay in the second-level cache
_RESULTS = 256 << 10            # bytes of a block's results that do


class Padding:
    """Makes the padded copy of `images` channels, where the input itself does not serve."""

    def __init__(self, layout, images, kind):
        self.needed = not layout.trivial
        if not self.needed:
            return
        self.size = images * layout.size
        lanes = host().lanes(SUMS[kind])
        self.kernel = compiled(conv_kernel.pad, (kind, lanes, layout.parts), conv_kernel.PAD_KINDS)
        share = max(1, _PADDED // (4 * layout.size))
        self.sources = layout.sources()
        self.numbers = (images, share, math.prod(layout.input), layout.input[-1],
                        layout.before[-1], layout.rows, layout.width)
        self.tasks = -(-images // share)

    def run(self, x):
        """The copy, or the input."""
        if not self.needed:
            return x
        padded = empty((self.size,), x.dtype)
        self.kernel(x, padded, self.sources, self.numbers, self.tasks)
        return padded


class Weights(NamedTuple):
    """Where the weights lie: elements from row to row and from group to group, and where those for
    each k start (None: side by side)."""

    row_step: int
    group_size: int
    places: object = None


class Windows(NamedTuple):
    """A product of weights and windows, of each sample and group.

    rows, channels: of the result and of the input, of one group; taps: what each place in the
    kernel adds to a place in the padded input; output, stride: the places of the result.
    """

    samples: int
    groups: int
    rows: int
    channels: int
    layout: conv_geometry.Layout
    taps: list
    output: tuple
    stride: tuple

    @property
    def inner(self):
        """How many k's there are."""
        return self.channels * len(self.taps)


class WindowsPlan:
    """The kernels of such a product, which leaves (samples, groups * rows, places)."""

    def __init__(self, windows, weights, kind, after):
        self.kind = kind
        shape = tile(host(), SUMS[kind], windows.rows)
        places = math.prod(windows.output)
        shape = shape._replace(vectors=min(shape.vectors, -(-places // shape.lanes)))
        self.shape = windows.samples, windows.groups * windows.rows, places
        self._plan_weights(windows, weights, shape)
        self._plan_product(windows, shape, after)

    def _plan_weights(self, windows, weights, shape):
        rows, inner = windows.rows, windows.inner
        self.depth = even(inner, DEPTH)
        self.tiles = heights(rows, shape.rows)
        self.stretch_size = rows * self.depth + slack(shape)
        self.stretches = -(-inner // self.depth)
        self.weight_places = weights.places
        self.pack = compiled(conv_kernel.pack_weights,
                             (shape, self.kind, weights.places is not None),
                             conv_kernel.WEIGHT_KINDS)
        self.pack_numbers = (rows, inner, weights.row_step, weights.group_size, self.depth,
                             *self.tiles, self.stretch_size)
        self.pack_tasks = windows.groups * self.stretches
        self.packed = self.pack_tasks * self.stretch_size

    def _plan_product(self, windows, shape, after):
        rows, layout, groups = windows.rows, windows.layout, windows.groups
        places, samples, width = self.shape[2], windows.samples, windows.output[-1]
        self.row_places = conv_geometry.row_places(layout, windows.output, windows.stride)
        # Where a sample's places fill its panels badly, those of all samples make one product,
        # and the results are put into order afterwards.
        joined = samples > 1 and -(-places // shape.columns) * shape.columns > 1.08 * places
        self.separate = None
        if joined:
            self.separate = compiled(conv_kernel.separate, (self.kind, shape.lanes),
                                     conv_kernel.SEPARATE_KINDS)
            self.separate_numbers = groups * rows, samples, places
            image = groups * windows.channels * layout.size
            self.row_places = np.add.outer(np.arange(samples) * image, self.row_places).ravel()
            samples, places = 1, samples * places
        tiles, height, higher = self.tiles
        spec = Spec(shape, (height + 1, height) if higher else (height,), AHEAD, WINDOWS,
                    (self.kind,) * 3, True, after)
        self.inner_places = conv_geometry.inner_places(layout, windows.channels, windows.taps)
        pieces = min((shape.lanes + width - 2) // width + 1, len(self.row_places))
        self.kernel = compiled(conv_kernel.convolution, (spec, pieces if pieces <= 5 else 0),
                               conv_kernel.CONV_KINDS)
        matrices = samples * groups
        self.offsets = self._offsets(windows, matrices, rows * places)
        down, across = self._blocks(shape, matrices, rows * places, windows)
        self.tasks = matrices * down * across
        self.sums = matrices * rows * places if SUMS[self.kind] != self.kind else 0
        self.numbers = (rows, places, windows.inner, 0, 1, 0, 1, places, places, places,
                        self.depth, down, across, tiles, height, higher, matrices, 1, 0, width,
                        len(self.row_places), groups)

    def _blocks(self, shape, matrices, size, windows):
        """Into how many blocks the channels and the places of each product are cut."""
        down = max(1, windows.rows * self.depth * 4 // _SECOND_CACHE)
        panels = -(-(size // windows.rows) // shape.columns)
        worth = min(64, max(1, 2 * size * windows.inner * matrices // TASK))
        # The results of a block stay in the cache between two stretches of k.
        across = size * 4 // (down * _RESULTS)
        return down, max(1, min(panels, max(across, worth // (matrices * down))))

    def _offsets(self, windows, matrices, result):
        """Where weights, input and result of each product begin."""
        numbers = np.arange(matrices, dtype=np.int64)
        weights = numbers % windows.groups * self.stretches * self.stretch_size
        image = windows.channels * windows.layout.size
        return np.stack([weights, numbers * image, numbers * result], axis=1)

    def run(self, w, padded, out, bias=None):
        """Write the product into `out`, which is contiguous."""
        packed = workspace(self.packed, w.dtype)
        self.pack(w, packed, self.weight_places, self.pack_numbers, self.pack_tasks)
        sums = workspace(self.sums, w.dtype) if self.sums else None
        result = out if self.separate is None else empty(self.shape, w.dtype)
        self.kernel(packed, padded, result, sums, bias, None, self.offsets, self.inner_places,
                    self.row_places, 1.0, self.numbers, self.tasks)
        if self.separate is not None:
            self.separate(result, out, self.separate_numbers, self.separate_numbers[1])


class ForwardPlan:
    """A convolution."""

    def __init__(self, geometry, kind, after):
        (channels, rows), groups = geometry.channels, geometry.groups
        self.shape = (geometry.samples, groups * rows, *geometry.output)
        geometry = geometry.flattened()
        layout = conv_geometry.forward_layout(geometry)
        self.padding = Padding(layout, geometry.samples * groups * channels, kind)
        windows = Windows(geometry.samples, groups, rows, channels, layout,
                          conv_geometry.forward_taps(geometry), geometry.output, geometry.stride)
        self.product = WindowsPlan(windows, Weights(windows.inner, rows * windows.inner), kind,
                                   after)

    def run(self, x, w, bias):
        """The convolution; contiguous operands."""
        out = empty(self.shape, x.dtype)
        self.product.run(w, self.padding.run(x), out, bias)
        return out


class ChannelPlan:
    """A convolution each of whose channels has kernels of its own."""

    def __init__(self, geometry, kind, after):
        self.shape = (geometry.samples, geometry.groups * geometry.channels[1], *geometry.output)
        layout = conv_geometry.forward_layout(geometry)
        spec = Channels(host(), kind, SUMS[kind], geometry.channels[1], layout.parts,
                        not layout.trivial, after)
        self.kernel = compiled(conv_channels.channelwise, (spec,), conv_channels.KINDS)
        taps = conv_geometry.forward_taps(geometry)
        self.tables = (conv_geometry.inner_places(layout, 1, taps),
                       conv_geometry.row_places(layout, geometry.output, geometry.stride),
                       layout.sources())
        matrices = geometry.samples * geometry.groups
        work = 2 * math.prod(geometry.output) * geometry.channels[1] * len(taps)
        share = max(1, TASK // 8 // work)
        self.numbers = (matrices, share, geometry.groups, len(taps), len(self.tables[1]),
                        geometry.output[-1], math.prod(geometry.input), geometry.input[-1],
                        layout.before[-1], layout.rows, layout.width)
        self.tasks = -(-matrices // share)

    def run(self, x, w, bias):
        """The convolution; contiguous operands."""
        out = empty(self.shape, x.dtype)
        self.kernel(x, w, out, bias, *self.tables, self.numbers, self.tasks)
        return out


def forward_plan(geometry, kind, after):
    """The kernels of a convolution."""
    size = {"f64": 8, "f32": 4}.get(kind, 2)
    fits = conv_geometry.forward_layout(geometry).size * size <= conv_channels.ROOM
    if geometry.groups > 1 and geometry.channels[0] == 1 and geometry.channels[1] <= 4 and fits:
        return ChannelPlan(geometry, kind, after)
    return ForwardPlan(geometry, kind, after)


class InputGradientPlan:
    """The gradient of a convolution for its input: a convolution of the output's gradient, one for
    each remainder of the input's places modulo the stride."""

    def __init__(self, geometry, kind):
        (rows, channels), groups = geometry.channels, geometry.groups
        self.shape = (geometry.samples, groups * rows, *geometry.input)
        self.strides = geometry.stride
        parts, layout = conv_geometry.backward_parts(geometry)
        self.padding = Padding(layout, geometry.samples * groups * channels, kind)
        self.parts = []
        for part in parts:
            windows = Windows(geometry.samples, groups, rows, channels, layout, part.taps,
                              part.output, (1,) * len(part.output))
            plan = WindowsPlan(windows, _turned_weights(geometry, part), kind, After()) if (
                part.taps) else None
            self.parts.append((part, plan))

    def run(self, grad, w):
        """The gradient; contiguous operands."""
        padded, out = self.padding.run(grad), empty(self.shape, grad.dtype)
        if len(self.parts) == 1:
            self.parts[0][1].run(w, padded, out)
            return out
        for part, plan in self.parts:
            place = tuple(slice(i, None, s) for i, s in zip(part.start, self.strides))
            target = out[:, :, *place]
            if plan is None:
                target[...] = 0
            else:
                piece = empty(target.shape, grad.dtype)
                plan.run(w, padded, piece)
                target[...] = piece
        return out


def _turned_weights(geometry, part):
    """The weights with input and output channels exchanged, of some places in the kernel."""
    (rows, channels), size = geometry.channels, math.prod(geometry.kernel)
    kernel = [int(np.ravel_multi_index(k, geometry.kernel)) for k in part.kernel]
    starts = np.arange(channels, dtype=np.int64)[:, None] * (rows * size)
    places = (starts + np.array(kernel, np.int64)).reshape(-1)
    return Weights(size, rows * channels * size, places)


class WeightGradientPlan:
    """The gradient of a convolution for its weights."""

    def __init__(self, geometry, kind):
        (channels, rows), groups = geometry.channels, geometry.groups
        self.shape = (groups * rows, channels, *geometry.kernel)
        geometry = geometry.flattened()
        layout = conv_geometry.forward_layout(geometry)
        taps = conv_geometry.forward_taps(geometry)
        self.padding = Padding(layout, geometry.samples * groups * channels, kind)
        self.columns = conv_geometry.inner_places(layout, channels, taps)
        self.segments, together = _segments(geometry, layout)
        places, columns, sums = math.prod(geometry.output), len(self.columns), SUMS[kind]
        shape = tile(host(), sums, rows)
        shape = shape._replace(vectors=min(shape.vectors, -(-columns // shape.lanes)))
        tiles, height, higher = heights(rows, shape.rows)
        down = -(-tiles // most_tiles(sums))
        across, chunks = self._blocks(geometry, down, -(-columns // shape.columns),
                                      rows * columns * places)
        spec = Spec(shape, (height + 1, height) if higher else (height,), TURNED,
                    conv_gradient.SEGMENTS, (kind, kind, sums), True, After())
        self.kernel = compiled(conv_gradient.weight_gradient, (spec,),
                               conv_gradient.GRADIENT_KINDS)
        matrices = chunks * groups
        numbers = np.arange(matrices, dtype=np.int64)
        group = numbers % groups
        self.offsets = np.stack([group * rows * places, group * channels * layout.size,
                                 numbers * rows * columns], axis=1)
        self.numbers = (rows, columns, places, places, 1, 0, 0, columns, columns, 0, DEPTH, down,
                        across, tiles, height, higher, matrices, 1, 0, groups, geometry.samples,
                        chunks, groups * rows * places, groups * channels * layout.size,
                        len(self.segments[0]), together)
        self.tasks = matrices * down * across
        self.chunks = chunks

    @staticmethod
    def _blocks(geometry, down, panels, work):
        """Blocks across, and chunks of samples where there would be too few tasks."""
        worth = min(32, max(1, 2 * work * geometry.samples * geometry.groups // TASK))
        across = max(1, min(panels // 2, -(-worth // (down * geometry.groups))))
        chunks = min(geometry.samples, -(-min(worth, 16) // (down * across * geometry.groups)))
        return across, max(1, chunks)

    def run(self, grad, x):
        """The gradient; contiguous operands."""
        sums = workspace(self.chunks * math.prod(self.shape), grad.dtype)
        self.kernel(grad, self.padding.run(x), sums, None, None, None, self.offsets, self.columns,
                    *self.segments, 1.0, self.numbers, self.tasks)
        if self.chunks > 1:
            sums = np.add.reduce(sums.reshape(self.chunks, -1), axis=0)
        return sums.reshape(self.shape).astype(grad.dtype, copy=False)


def _segments(geometry, layout):
    """Rows of the output or pieces of them: (where they lie, where they start), and how many of
    them make a stretch of k."""
    width = geometry.output[-1]
    pieces = -(-width // DEPTH)
    cuts = np.arange(pieces + 1) * width // pieces
    rows = conv_geometry.row_places(layout, geometry.output, geometry.stride)
    places = np.add.outer(rows, cuts[:-1]).reshape(-1)
    starts = np.add.outer(np.arange(len(rows)) * width, cuts[:-1]).reshape(-1)
    starts = np.append(starts, len(rows) * width).astype(np.int64)
    return (np.ascontiguousarray(places, np.int64), starts), max(1, DEPTH // -(-width // pieces))
