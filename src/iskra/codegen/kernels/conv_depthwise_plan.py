"""Convolutions each of whose channels has one kernel of its own, channels last in memory."""

import math

import numpy as np

from iskra.codegen.kernels import conv_depthwise
from iskra.codegen.kernels.conv_depthwise import Depthwise
from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_plan import SUMS, TASK, compiled, workspace
from iskra.codegen.kernels.gemm_tiles import host

_MOST_TAPS = 49
_PLACES = 4             # of a row of the output that are computed together
_MOST_TASKS = 16        # of the gradient, each with sums of its own
_MOST_REUSED = 25       # taps up to which more rows together save more loads than they cost


def serves(part, formats):
    """Whether these kernels serve; formats: of the input and the result."""
    return (part.groups > 1 and part.rows == part.channels == 1 and len(part.taps) <= _MOST_TAPS
            and not any(f.first for f in formats))


def _spec(part, kernel, size, kind, after, rows):
    """The kernel's; rows: that are computed together where there are many registers."""
    machine, (height, width) = host(), part.output
    taps = tuple((row - part.before[0], place - part.before[1], number)
                 for (row, place), number in zip(part.taps, kernel))
    places = -(-width // -(-width // _PLACES))
    return Depthwise(machine, kind, SUMS[kind], min(height, rows if machine.registers >= 32 else 1),
                     places, taps, size, part.stride, after)


def _numbers(part, chunks, parts, formats):
    image, out = formats
    return (part.samples, chunks, parts, part.groups, *part.output, *part.input,
            image.sample, image.row, image.place, out.sample, out.row, out.place)


class DepthwisePlan:
    """Such a convolution; kernel: which places in the kernel, of `size`, the taps are."""

    def __init__(self, part, kernel, size, kind, after, formats):
        # With few taps few rows meet an element; many leave no registers for more sums.
        rows = 3 if 12 < len(part.taps) <= _MOST_REUSED else 2
        spec = _spec(part, kernel, size, kind, after, rows)
        self.kernel = compiled(conv_depthwise.depthwise, (spec,), conv_depthwise.KINDS)
        work = 2 * math.prod(part.output) * part.groups * len(part.taps)
        parts = max(1, min(work * 8 // TASK, part.output[0] // spec.rows))
        self.numbers = _numbers(part, part.samples, parts, formats)
        self.tasks = part.samples * parts
        self.shape = -(-part.groups // spec.lanes), spec.lanes, size

    def packed(self, w):
        """Weights (channels, 1, *kernel) as (vectors of channels, taps, lanes), zeros behind."""
        rows = np.zeros((self.shape[0] * self.shape[1], self.shape[2]), w.dtype)
        rows[:len(w)] = w.reshape(len(w), -1)
        return np.ascontiguousarray(rows.reshape(self.shape).swapaxes(1, 2))

    def run(self, w, x, out, bias=None):
        """Write the convolution of x with w, packed, into `out`, arrays of the formats."""
        self.kernel(x, w, out, bias, self.numbers, self.tasks)


class DepthwiseGradientPlan:
    """The gradient for the weights."""

    def __init__(self, part, kind, formats):
        taps = len(part.taps)
        spec = _spec(part, range(taps), taps, kind, After(), 2 if taps <= _MOST_REUSED else 1)
        self.kernel = compiled(conv_depthwise.depthwise_gradient, (spec,), conv_depthwise.KINDS)
        work = 2 * part.samples * math.prod(part.output) * part.groups * taps
        tasks = max(1, min(work * 8 // TASK, _MOST_TASKS))
        chunks = min(part.samples, tasks)
        parts = max(1, min(tasks // chunks, part.output[0] // spec.rows))
        self.numbers = _numbers(part, chunks, parts, formats)
        self.tasks = chunks * parts
        self.shape = self.tasks, -(-part.groups // spec.lanes), taps, spec.lanes

    def run(self, grad, x, out):
        """Write the gradient into `out`; arrays of the formats."""
        sums = workspace(math.prod(self.shape), grad.dtype)
        self.kernel(x, grad, sums, None, self.numbers, self.tasks)
        sums = np.add.reduce(sums.reshape(self.shape), axis=0).swapaxes(1, 2)
        out.reshape(len(out), -1)[...] = sums.reshape(-1, self.shape[2])[:len(out)]
