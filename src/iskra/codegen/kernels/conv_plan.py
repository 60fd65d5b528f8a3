"""How a convolution is computed: decided by dtypes, shapes and settings alone."""

import math
from typing import NamedTuple

import numpy as np

from iskra.codegen.kernels import (
    conv_blocks_plan,
    conv_channels,
    conv_depthwise_plan,
    conv_geometry,
    conv_gradient,
    conv_kernel,
    conv_weights_plan,
)
from iskra.codegen.kernels.conv_blocks_plan import BlocksPlan, PackedWeights, memory_format
from iskra.codegen.kernels.conv_channels import Channels
from iskra.codegen.kernels.conv_depthwise_plan import DepthwisePlan
from iskra.codegen.kernels.conv_kernel import RUNS, SCATTERED, SIDE_BY_SIDE, WINDOWS, slack
from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_kernel import AHEAD, DEPTH, TURNED, Spec, most_tiles
from iskra.codegen.kernels.gemm_plan import SUMS, TASK, compiled, even, workspace
from iskra.codegen.kernels.gemm_tiles import heights, host, tile
from iskra.runtime.memory import empty

_PADDED = 1 << 15               # bytes that a task of padding should write
_SECOND_CACHE = 1 << 20         # bytes of packed weights that a task reads again and again
_RESULTS = 256 << 10            # bytes of a block's results that do

_MOST_CHANNEL_SUMS = 1 << 11    # vectors of sums of a group that lie on the stack
_PARTIAL = 4 << 20              # bytes of sums over chunks of the samples


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
    """Where the weights lie: elements from row to row and from group to group; where those for each
    k start (None: side by side), and how many of these lie side by side."""

    row_step: int
    group_size: int
    places: object = None
    run: int = 1


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
        self.depth, lie = _stretch(inner, weights)
        self.tiles = heights(rows, shape.rows)
        self.stretch_size = rows * self.depth + slack(shape)
        self.stretches = -(-inner // self.depth)
        self.weight_places = weights.places
        self.pack = compiled(conv_kernel.pack_weights, (shape, self.kind, lie),
                             conv_kernel.WEIGHT_KINDS)
        self.pack_numbers = (rows, inner, weights.row_step, weights.group_size, self.depth,
                             *self.tiles, self.stretch_size, weights.run)
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
        down = -(-windows.rows * self.depth * 4 // _SECOND_CACHE)
        panels = -(-(size // windows.rows) // shape.columns)
        worth = min(16, max(1, 2 * size * windows.inner * matrices // TASK))
        # The results of a block stay in the cache between two stretches of k; but all weights
        # are read once for each block.
        across = max(size * 4 // (down * _RESULTS), -(-worth // (matrices * down)))
        return down, max(1, min(panels, across))

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


def _stretch(inner, weights):
    """How many k's are packed together, and how their weights lie."""
    if weights.places is None:
        return even(inner, DEPTH), SIDE_BY_SIDE
    if not 1 < weights.run <= DEPTH:
        return even(inner, DEPTH), SCATTERED
    runs = inner // weights.run
    stretches = -(-runs // (DEPTH // weights.run))
    return -(-runs // stretches) * weights.run, RUNS


class ChannelTables:
    """The tables and numbers of convolutions whose channels have kernels of their own."""

    def __init__(self, windows, kernel, weights_size):
        layout, taps = windows.layout, windows.taps
        self.tables = (np.array(kernel, np.int64), conv_geometry.inner_places(layout, 1, taps),
                       conv_geometry.row_places(layout, windows.output, windows.stride),
                       layout.sources())
        matrices = windows.samples * windows.groups
        work = 2 * math.prod(windows.output) * windows.rows * len(taps)
        self.share = max(1, TASK // 8 // work)
        self.tasks = -(-matrices // self.share)
        self.numbers = (matrices, self.share, windows.groups, len(taps), weights_size,
                        len(self.tables[2]), windows.output[-1], math.prod(layout.input),
                        layout.input[-1], layout.before[-1], layout.rows, layout.width, 1)

    @staticmethod
    def serve(windows, kind):
        """Whether such convolutions are served: by channels, and a channel fits on the stack."""
        return (windows.groups > 1 and windows.rows <= 4
                and ChannelTables.fit(windows, kind))

    @staticmethod
    def fit(windows, kind):
        """Whether a group has one channel of the input, and a padded copy fits on the stack."""
        size = {"f64": 8, "f32": 4}.get(kind, 2)
        return windows.channels == 1 and windows.layout.size * size <= conv_channels.ROOM


def _channels(windows, kind, after):
    layout = windows.layout
    return Channels(host(), kind, SUMS[kind], windows.rows, layout.parts, not layout.trivial, after)


class ChannelPlan:
    """A convolution each of whose channels has kernels of its own; kernel: where the weights for
    each tap lie among the `weights_size` weights of a channel."""

    def __init__(self, windows, kernel, weights_size, kind, after):
        self.kernel = compiled(conv_channels.channelwise, (_channels(windows, kind, after),),
                               conv_channels.KINDS)
        self.tables = ChannelTables(windows, kernel, weights_size)

    def run(self, w, x, out, bias=None):
        """Write the convolution into `out`; contiguous operands."""
        plan = self.tables
        self.kernel(x, w, out, bias, *plan.tables, plan.numbers, plan.tasks)


def _forward_windows(geometry):
    (channels, rows), groups = geometry.channels, geometry.groups
    return Windows(geometry.samples, groups, rows, channels,
                   conv_geometry.forward_layout(geometry), conv_geometry.forward_taps(geometry),
                   geometry.output, geometry.stride)


class Formats(NamedTuple):
    """Whether the channels come first in the memory of a convolution's input (or its gradient), of
    its weight (or its gradient) and of its output."""

    input: bool = True
    weight: bool = True
    output: bool = True


FIRST = Formats()


def first_channels(array):
    """The array contiguous, channels first."""
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def last_channels(array):
    """The array contiguous, channels last."""
    order = np.moveaxis(array, 1, -1)
    if order.flags.c_contiguous:
        return array
    return np.moveaxis(np.ascontiguousarray(order), -1, 1)


def _laid_out(array, first):
    return first_channels(array) if first else last_channels(array)


def _empty(shape, dtype, first):
    if first:
        return empty(shape, dtype)
    return np.moveaxis(empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


class ForwardPlan:
    """A convolution of dense operands of these formats."""

    def __init__(self, geometry, kind, after, formats=FIRST):
        (channels, rows), groups = geometry.channels, geometry.groups
        self.shape = (geometry.samples, groups * rows, *geometry.output)
        self.padding = self.packed = None
        self.first = formats.output
        windows = _forward_windows(geometry)
        if len(geometry.input) <= 2:
            part = conv_blocks_plan.Part.of(windows)
            memory = (memory_format(groups * channels, geometry.input, formats.input),
                      memory_format(groups * rows, geometry.output, formats.output))
            kernel = range(len(windows.taps))
            if conv_depthwise_plan.serves(part, memory):
                self.product = DepthwisePlan(part, kernel, len(kernel), kind, after, memory)
                self.packed = self.product.packed
                return
            if conv_blocks_plan.serves(part, kind, memory):
                weights = conv_blocks_plan.weight_layout(geometry, formats.weight, False)
                packed = PackedWeights([part], [kernel], weights, kind)
                self.packed = packed.run
                self.product = BlocksPlan(part, packed, 0, kind, after, memory)
                return
        windows = _forward_windows(geometry.flattened())
        if ChannelTables.serve(windows, kind):
            taps = len(windows.taps)
            self.product = ChannelPlan(windows, range(taps), taps, kind, after)
            return
        images = geometry.samples * groups * geometry.channels[0]
        self.padding = Padding(windows.layout, images, kind)
        weights = Weights(windows.inner, rows * windows.inner)
        self.product = WindowsPlan(windows, weights, kind, after)

    def run(self, x, w, bias):
        """The convolution."""
        if self.packed is not None:
            out = _empty(self.shape, x.dtype, self.first)
            self.product.run(self.packed(w), x, out, bias)
            return out
        out = empty(self.shape, x.dtype)
        x, w = first_channels(x), first_channels(w)
        self.product.run(w, x if self.padding is None else self.padding.run(x), out, bias)
        return _laid_out(out, self.first)


class InputGradientPlan:
    """The gradient of a convolution for its input: a convolution of the output's gradient, one for
    each remainder of the input's places modulo the stride."""

    def __init__(self, geometry, kind, formats=FIRST):
        (rows, channels), groups = geometry.channels, geometry.groups
        self.shape = (geometry.samples, groups * rows, *geometry.input)
        self.strides = geometry.stride
        self.first = formats.input
        parts, layout = conv_geometry.backward_parts(geometry)
        self.padding = self.packed = None
        self.parts = []
        windows = [Windows(geometry.samples, groups, rows, channels, layout, part.taps,
                           part.output, (1,) * len(part.output)) for part in parts]
        if len(geometry.input) <= 2 and self._plan_blocks(geometry, parts, windows, kind, formats):
            return
        for part, sizes in zip(parts, windows):
            self.parts.append((part, self._plan(geometry, part, sizes, kind)))
        if any(isinstance(plan, WindowsPlan) for _, plan in self.parts):
            self.padding = Padding(layout, geometry.samples * groups * channels, kind)

    def _plan_blocks(self, geometry, parts, windows, kind, formats):
        """Plan blocks, if they serve for all parts."""
        (rows, channels), groups = geometry.channels, geometry.groups
        source = memory_format(groups * channels, geometry.output, formats.output)
        target = memory_format(groups * rows, geometry.input, formats.input)
        sizes = [conv_blocks_plan.Part.of(w) for w in windows]
        # Places side by side are written as pieces, which are put together afterwards.
        self.pieces = formats.input and len(parts) > 1
        memory = [(source, memory_format(groups * rows, part.output, True) if self.pieces
                   else _strided(target, self.strides)) for part in parts]
        there = [i for i, part in enumerate(parts) if part.taps]
        kernels = [_kernel_places(geometry, parts[i]) for i in there]
        plans, taps = [None] * len(parts), math.prod(geometry.kernel)
        if there and all(conv_depthwise_plan.serves(sizes[i], memory[i]) for i in there):
            for i, kernel in zip(there, kernels):
                plans[i] = DepthwisePlan(sizes[i], kernel, taps, kind, After(), memory[i])
            self.packed = plans[there[0]].packed
        elif there and all(conv_blocks_plan.serves(sizes[i], kind, memory[i], taps) for i in there):
            weights = conv_blocks_plan.weight_layout(geometry, formats.weight, True)
            packed = PackedWeights([sizes[i] for i in there], kernels, weights, kind)
            self.packed = packed.run
            for number, i in enumerate(there):
                plans[i] = BlocksPlan(sizes[i], packed, number, kind, After(), memory[i])
        self.parts = list(zip(parts, plans)) if self.packed else []
        return self.packed is not None

    @staticmethod
    def _plan(geometry, part, windows, kind):
        if not part.taps:
            return None
        kernel = _kernel_places(geometry, part)
        if ChannelTables.serve(windows, kind) and windows.rows == 1:
            return ChannelPlan(windows, kernel, math.prod(geometry.kernel), kind, After())
        return WindowsPlan(windows, _turned_weights(geometry, kernel), kind, After())

    def run(self, grad, w):
        """The gradient."""
        if self.packed is not None:
            w = self.packed(w)
            out = _empty(self.shape, grad.dtype, self.first)
            return self._run_parts(grad, w, out, self.pieces)
        grad, w = first_channels(grad), first_channels(w)
        if self.padding is not None:
            grad = self.padding.run(grad)
        out = empty(self.shape, grad.dtype)
        out = self._run_parts(grad, w, out, len(self.parts) > 1)
        return _laid_out(out, self.first)

    def _run_parts(self, grad, w, out, pieces):
        for part, plan in self.parts:
            place = tuple(slice(i, None, s) for i, s in zip(part.start, self.strides))
            target = out[:, :, *place]
            if plan is None:
                target[...] = 0
            elif pieces:
                piece = empty(target.shape, grad.dtype)
                plan.run(w, grad, piece)
                target[...] = piece
            else:
                plan.run(w, grad, target)
        return out


def _strided(memory, strides):
    """The format of every so-manieth row and place of an image."""
    row, place = (1, *strides)[-2:]
    return memory._replace(row=row * memory.row, place=place * memory.place)


def _kernel_places(geometry, part):
    return [int(np.ravel_multi_index(k, geometry.kernel)) for k in part.kernel]


def _turned_weights(geometry, kernel):
    """The weights with input and output channels exchanged, of some places in the kernel."""
    (rows, channels), size = geometry.channels, math.prod(geometry.kernel)
    starts = np.arange(channels, dtype=np.int64)[:, None] * (rows * size)
    places = (starts + np.array(kernel, np.int64)).reshape(-1)
    run = size if kernel == list(range(size)) else 1
    return Weights(size, rows * channels * size, places, run)


class ChannelGradientPlan:
    """The gradient for the weights of a convolution each of whose groups has one input channel."""

    def __init__(self, geometry, windows, kind):
        self.shape = (geometry.groups * geometry.channels[1], 1, *geometry.kernel)
        taps = len(windows.taps)
        arguments = _channels(windows, kind, After()), taps
        self.kernel = compiled(conv_channels.channelwise_gradient, arguments, conv_channels.KINDS)
        plan = ChannelTables(windows, range(taps), taps)
        self.tables = plan.tables
        share = max(1, plan.share // geometry.samples)
        shares = -(-geometry.groups // share)
        self.chunks = min(geometry.samples, max(1, min(16, plan.tasks) // shares))
        self.numbers = plan.numbers[0], share, *plan.numbers[2:-1], self.chunks
        self.tasks = shares * self.chunks

    @staticmethod
    def serves(windows, kind):
        """Whether it does: the sums fit on the stack, and vectors along the rows of the output are
        about as full as those of the taps would be, which have to be packed."""
        taps, width = len(windows.taps), windows.output[-1]
        if not ChannelTables.fit(windows, kind) or windows.rows * taps > _MOST_CHANNEL_SUMS:
            return False
        if ChannelTables.serve(windows, kind) and windows.rows * taps <= 100:
            return True
        lanes = host().lanes(SUMS[kind])
        return -(-width // lanes) * taps * 2 <= -(-taps // lanes) * width * 3

    def run(self, grad, x):
        """The gradient; contiguous operands."""
        sums = workspace(self.chunks * math.prod(self.shape), grad.dtype)
        self.kernel(x, sums, grad, None, *self.tables, self.numbers, self.tasks)
        return _added(sums, self.chunks, self.shape, grad.dtype)


def _added(sums, chunks, shape, dtype):
    """The sums of all chunks, added up."""
    if chunks > 1:
        sums = np.add.reduce(sums.reshape(chunks, -1), axis=0)
    return sums.reshape(shape).astype(dtype, copy=False)


class WeightGradientPlan:
    """The gradient of a convolution for its weights."""

    def __init__(self, geometry, kind, formats=FIRST):
        (channels, rows), groups = geometry.channels, geometry.groups
        self.shape, self.first = (groups * rows, channels, *geometry.kernel), formats.weight
        windows = _forward_windows(geometry)
        self.blocks = None
        if len(geometry.input) <= 2:
            part = conv_blocks_plan.Part.of(windows)
            memory = (memory_format(groups * channels, geometry.input, formats.input),
                      memory_format(groups * rows, geometry.output, formats.output))
            if conv_depthwise_plan.serves(part, memory):
                self.blocks = conv_depthwise_plan.DepthwiseGradientPlan(part, kind, memory)
                return
            if conv_weights_plan.serves(part, kind, memory):
                self.blocks = conv_weights_plan.WeightBlocksPlan(part, kind, memory, self.first)
                return
        if ChannelGradientPlan.serves(windows, kind):
            self.plan = ChannelGradientPlan(geometry, windows, kind)
        else:
            self.plan = WindowsGradientPlan(geometry, kind)

    def run(self, grad, x):
        """The gradient."""
        if self.blocks is not None:
            out = _empty(self.shape, grad.dtype, self.first)
            self.blocks.run(grad, x, out)
            return out
        return _laid_out(self.plan.run(first_channels(grad), first_channels(x)), self.first)


class WindowsGradientPlan:
    """The gradient as a product of the output's gradient and windows; operands contiguous."""

    def __init__(self, geometry, kind):
        (channels, rows), groups = geometry.channels, geometry.groups
        self.shape = (groups * rows, channels, *geometry.kernel)
        geometry = geometry.flattened()
        layout = conv_geometry.forward_layout(geometry)
        taps = conv_geometry.forward_taps(geometry)
        self.padding = Padding(layout, geometry.samples * groups * channels, kind)
        self.columns = conv_geometry.inner_places(layout, channels, taps)
        places, columns, sums = math.prod(geometry.output), len(self.columns), SUMS[kind]
        shape = tile(host(), sums, rows)
        shape = shape._replace(vectors=min(shape.vectors, -(-columns // shape.lanes)))
        tiles, height, higher = heights(rows, shape.rows)
        # More rows of a block share a panel's packing, in shorter stretches of k.
        down = -(-tiles // (2 * most_tiles(sums)))
        depth = min(DEPTH, DEPTH * most_tiles(sums) // -(-tiles // down))
        self.segments, together = _segments(geometry, layout, depth)
        across, chunks = self._blocks(geometry, down, -(-columns // shape.columns),
                                      rows * columns, places)
        spec = Spec(shape, (height + 1, height) if higher else (height,), TURNED,
                    conv_gradient.SEGMENTS, (kind, kind, sums), True, After())
        self.kernel = compiled(conv_gradient.weight_gradient, (spec,),
                               conv_gradient.GRADIENT_KINDS)
        matrices = chunks * groups
        numbers = np.arange(matrices, dtype=np.int64)
        group = numbers % groups
        self.offsets = np.stack([group * rows * places, group * channels * layout.size,
                                 numbers * rows * columns], axis=1)
        self.numbers = (rows, columns, places, places, 1, 0, 0, columns, columns, 0, depth, down,
                        across, tiles, height, higher, matrices, 1, 0, groups, geometry.samples,
                        chunks, groups * rows * places, groups * channels * layout.size,
                        len(self.segments[0]), together)
        self.tasks = matrices * down * across
        self.chunks = chunks

    @staticmethod
    def _blocks(geometry, down, panels, weights, places):
        """Blocks across, and chunks of samples: these cost no packing, but memory."""
        work = 2 * weights * places * geometry.samples * geometry.groups
        worth = min(16, max(1, work // TASK))
        room = _PARTIAL // (4 * weights * geometry.groups)
        chunks = max(1, min(geometry.samples, worth, room))
        wanted = -(-worth // (down * geometry.groups * chunks))
        return max(1, min(panels // 4, wanted)), chunks

    def run(self, grad, x):
        """The gradient."""
        sums = workspace(self.chunks * math.prod(self.shape), grad.dtype)
        self.kernel(grad, self.padding.run(x), sums, None, None, None, self.offsets, self.columns,
                    *self.segments, 1.0, self.numbers, self.tasks)
        return _added(sums, self.chunks, self.shape, grad.dtype)


def _segments(geometry, layout, depth):
    """Rows of the output or pieces of them: (where they lie, where they start), and how many of
    them make a stretch of k."""
    width = geometry.output[-1]
    pieces = -(-width // depth)
    cuts = np.arange(pieces + 1) * width // pieces
    rows = conv_geometry.row_places(layout, geometry.output, geometry.stride)
    places = np.add.outer(rows, cuts[:-1]).reshape(-1)
    starts = np.add.outer(np.arange(len(rows)) * width, cuts[:-1]).reshape(-1)
    starts = np.append(starts, len(rows) * width).astype(np.int64)
    return (np.ascontiguousarray(places, np.int64), starts), max(1, depth // -(-width // pieces))
