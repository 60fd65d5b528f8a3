"""Convolutions each of whose channels has one kernel of its own, channels last in memory."""

import numpy as np

from iskra.codegen.kernels import conv_depthwise
from iskra.codegen.kernels.conv_depthwise import Depthwise
from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_plan import SUMS, compiled
from iskra.codegen.kernels.gemm_tiles import host
from iskra.runtime.memory import empty

_MOST_TAPS = 49


def serves(part, formats):
    """Whether these kernels serve; formats: of the input and the result."""
    return (part.groups > 1 and part.rows == part.channels == 1 and len(part.taps) <= _MOST_TAPS
            and not any(f.first for f in formats))


def _tables(part, kernel):
    rows, places = ([tap[i] - part.before[i] for tap in part.taps] for i in (0, 1))
    return tuple(np.array(table, np.int64) for table in (rows, places, list(kernel)))


def _numbers(part, formats):
    image, out = formats
    adds = [tap[1] - part.before[1] for tap in part.taps]
    return (part.samples, part.groups, *part.output, *part.input, *part.stride, len(part.taps),
            image.sample, image.row, image.place, out.sample, out.row, out.place,
            min(adds), max(adds))


def by_taps(w):
    """Weights (channels, 1, *kernel) as (taps, channels)."""
    return np.ascontiguousarray(w.reshape(len(w), -1).T)


class DepthwisePlan:
    """Such a convolution; kernel: which places in the kernel the taps are."""

    def __init__(self, part, kernel, kind, after, formats):
        spec = Depthwise(host(), kind, SUMS[kind], len(part.taps), after)
        self.kernel = compiled(conv_depthwise.depthwise, (spec,), conv_depthwise.KINDS)
        self.tables, self.numbers = _tables(part, kernel), _numbers(part, formats)
        self.tasks = part.samples * part.output[0]

    def run(self, w, x, out, bias=None):
        """Write the convolution of x with w, by taps, into `out`, arrays of the formats."""
        self.kernel(x, w, out, bias, *self.tables, self.numbers, self.tasks)


class DepthwiseGradientPlan:
    """The gradient for the weights."""

    def __init__(self, part, kind, formats):
        taps = len(part.taps)
        spec = Depthwise(host(), kind, SUMS[kind], taps, After())
        self.kernel = compiled(conv_depthwise.depthwise_gradient, (spec,), conv_depthwise.KINDS)
        self.tables, self.numbers = _tables(part, range(taps)), _numbers(part, formats)
        self.shape = taps, part.groups
        self.tasks = -(-part.groups // spec.lanes)

    def run(self, grad, x, out):
        """Write the gradient into `out`; arrays of the formats."""
        found = empty(self.shape, grad.dtype)
        self.kernel(x, grad, found, None, *self.tables, self.numbers, self.tasks)
        out.reshape(len(out), -1)[...] = found.T
