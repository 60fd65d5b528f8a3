"""Loop IR of the gradient of a convolution for its weights.

For one group it is the sum over samples of ``gradient @ windows.T``: here k counts the places of
the output, and a column is an input channel at one place in the kernel. Along a row of the output
both operands have their elements side by side. So a panel is packed a *segment* at a time, which is
a row of the output or a piece of one.
"""

from iskra.codegen.ir import INT, smaller
from iskra.codegen.kernels.gemm_kernel import NUMBERS, POINTERS, Product
from iskra.codegen.kernels.gemm_pack import Strip, padded_rows, turn_rows

SEGMENTS = "segments"   # how the right operand is read

# column_places: where the elements of each column start; segment_places: what a segment adds to
# that; segment_starts: the first k of each segment, and the end.
GRADIENT_POINTERS = (*POINTERS, "column_places", "segment_places", "segment_starts")
GRADIENT_NUMBERS = (*NUMBERS, "groups", "samples", "chunks", "a_sample", "b_sample", "segments",
                    "together")
GRADIENT_KINDS = "a" * len(GRADIENT_POINTERS) + "ftn"


def weight_gradient(spec, name="weight_gradient"):
    """The kernel that computes a block of one group's gradient, from a chunk of the samples."""
    return _WeightGradient(spec, name).function


class _WeightGradient(Product):
    """The kernel while it is being written."""

    pointers, numbers = GRADIENT_POINTERS, GRADIENT_NUMBERS

    def walk(self):
        """Go through the chunk's samples, and through each a few segments at a time."""
        f, arg = self.function, self.arg
        chunk = self.matrix // arg.groups
        first = arg.samples * chunk // arg.chunks
        last = arg.samples * (chunk + 1) // arg.chunks
        a, b = self.a, self.b
        with f.loop(first, last) as sample:
            self.a = f.offset(a, sample * arg.a_sample, self.spec.kinds[0])
            self.b = f.offset(b, sample * arg.b_sample, self.spec.kinds[1])
            with f.loop(0, arg.segments, arg.together) as segment:
                self.begun = (sample > first) | (segment > 0)
                self.segment = segment
                self.end = smaller(segment + arg.together, arg.segments)
                start, stop = (f.load(arg.segment_starts, s, INT) for s in (segment, self.end))
                self.stretch(start, stop - start)

    def panel(self, panel, column, k, count):
        """Pack the panel; where it lies, and how many elements from one k to the next."""
        f, arg, tile = self.function, self.arg, self.tile
        kinds = self.spec.kinds[1], tile.kind
        width = tile.columns
        last = arg.columns - 1
        columns = [f.load(arg.column_places, smaller(column + i, last), INT)
                   for i in range(padded_rows(tile, Strip(None, width, width, width)))]
        with f.loop(self.segment, self.end) as segment:
            place = f.load(arg.segment_places, segment, INT)
            start = f.load(arg.segment_starts, segment, INT)
            length = f.load(arg.segment_starts, segment + 1, INT) - start
            strip = Strip(f.offset(self.packed_b, (start - k) * width, tile.kind), width, width,
                          width)
            rows = [f.offset(self.b, place + offset, kinds[0]) for offset in columns]
            turn_rows(f, tile, strip, rows, length, kinds)
        return self.packed_b, f.coerce(width)
