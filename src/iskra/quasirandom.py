"""Sobol' sequences: points that fill the unit cube more evenly than random ones.

Source: https://docs.pytorch.org/docs/stable/generated/torch.quasirandom.SobolEngine.html
"""

import numpy as np

import iskra
from iskra.tensor.tensor import wrap

__all__ = ["SobolEngine"]


class SobolEngine:
    """Draws the points of a (scrambled) Sobol' sequence in `dimension` dimensions.

    The direction numbers are Joe and Kuo's, as in PyTorch, and so are the points, bit for bit.
    With `scramble` the sequence is shifted and its digits are mixed at random, by `seed` if there
    is one. Raises ValueError for a dimension outside of 1 to 21201.

    >>> import iskra as torch
    >>> torch.quasirandom.SobolEngine(2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension, scramble=False, seed=None):
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(
                f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], got "
                f"{dimension}"
            )
        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        directions = _direction_numbers(dimension, self.MAXBIT)
        shift = np.zeros(dimension, np.int64)
        if scramble:
            shift, directions = self._scrambled(directions)
        self.sobolstate, self.shift = wrap(directions), wrap(shift)
        self.reset()

    def _scrambled(self, directions):
        """A random shift, and directions whose digits are mixed by random triangular matrices."""
        generator = None
        if self.seed is not None:
            generator = iskra.Generator()
            generator.manual_seed(self.seed)
        bits = self.MAXBIT
        size = (self.dimension, bits)
        digits = iskra.randint(2, size, generator=generator).numpy()
        matrices = iskra.randint(2, (*size, bits), generator=generator).tril().numpy()
        matrices[:, range(bits), range(bits)] = 1
        # Row p of a matrix makes digit p, counted from the most significant one.
        places = np.arange(bits - 1, -1, -1)
        mixed = np.zeros_like(directions)
        for number, column in enumerate(directions.T):
            given = column[:, None] >> places & 1
            made = np.einsum("dpc,dc->dp", matrices, given) & 1
            mixed[:, number] = made @ (1 << places)
        return digits @ (1 << np.arange(bits)), mixed

    def draw(self, n=1, out=None, dtype=None):
        """Return the next `n` points, shape ``(n, dimension)``, into `out` if that is given.

        dtype: float32 or float64, by default the default dtype.
        """
        dtype = iskra.get_default_dtype() if dtype is None else dtype
        first = self.num_generated == 0
        steps = self._steps(n)
        points = np.bitwise_xor.accumulate(np.vstack([self.quasi.numpy()[None], steps]))
        self.quasi = wrap(points[-1].copy())
        self.num_generated += n
        # Halving is exact, so that all rounding is in the conversion.
        result = wrap(points[: n] if first else points[1:]).to(dtype) * 2.0**-self.MAXBIT
        if out is None:
            return result
        return out.resize_as_(result).copy_(result)

    def draw_base2(self, m, out=None, dtype=None):
        """Return the next ``2 ** m`` points, which are balanced if all draws are such.

        Raises ValueError where the number of points so far and these is not a power of 2.
        """
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                "The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: "
                f"n={self.num_generated}+2**{m}={total}. If you still want to do this, please use "
                "'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def reset(self):
        """Begin the sequence anew; return self."""
        self.quasi = self.shift.clone()
        self.num_generated = 0
        return self

    def fast_forward(self, n):
        """Leave out the next `n` points; return self."""
        begin = max(self.num_generated - 1, 0)
        self.num_generated += n
        # Point i is the sum of the directions at the digits of i's Gray code.
        changed = _gray(begin) ^ _gray(max(self.num_generated - 1, 0))
        columns = [self.sobolstate.numpy()[:, b] for b in range(self.MAXBIT) if changed >> b & 1]
        if columns:
            self.quasi = wrap(np.bitwise_xor.reduce([self.quasi.numpy(), *columns]))
        return self

    def _steps(self, n):
        """The directions that lead from each point to the next, for `n` points from here."""
        begin = max(self.num_generated - 1, 0)
        indices = np.arange(begin, max(self.num_generated + n - 1, 0))
        lowest = ~indices & (indices + 1)  # the lowest digit that is zero
        which = np.log2(lowest).astype(np.int64)
        return self.sobolstate.numpy().T[which]

    def __repr__(self):
        given = [f"dimension={self.dimension}"]
        if self.scramble:
            given.append("scramble=True")
        if self.seed is not None:
            given.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join(given)})"


def _gray(number):
    return number ^ number >> 1


def _direction_numbers(dimension, bits):
    from scipy.stats import qmc  # slow to import

    return qmc.Sobol(dimension, scramble=False, bits=bits)._sv.astype(np.int64)
