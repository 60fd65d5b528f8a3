"""A line search that ends where the strong Wolfe conditions hold, by cubic interpolation.

Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6.
"""

from collections import namedtuple

ENOUGH_DECREASE = 1e-4  # of what the slope at the start promises: first Wolfe condition
ENOUGH_FLATNESS = 0.9  # of the slope at the start that may remain: second condition
MAX_STEPS = 25

_Point = namedtuple("_Point", "t loss gradient slope")


def strong_wolfe(evaluate, t, direction, loss, gradient, slope, smallest=1e-9):
    """Search along `direction`, beginning with the step `t`.

    ``evaluate(t)`` returns loss and gradient there; `loss`, `gradient` and `slope` are those at 0.
    Returns ``(loss, gradient, t, number of evaluations)`` at the best step found.
    """
    start = _Point(0.0, loss, gradient, slope)
    search = _Search(evaluate, direction, start)
    low, high, done = search.bracket(t)
    if not done and search.steps < MAX_STEPS:
        low = search.zoom(low, high, smallest)
    return low.loss, low.gradient, low.t, search.evaluations


class _Search:
    """One search: the line, what is known at its start, and how much has been spent."""

    def __init__(self, evaluate, direction, start):
        self.evaluate = evaluate
        self.direction = direction
        self.start = start
        self.steps = 0
        self.evaluations = 0

    def at(self, t):
        loss, gradient = self.evaluate(t)
        self.evaluations += 1
        return _Point(t, loss, gradient, gradient.dot(self.direction).item())

    def too_high(self, point):
        start = self.start
        return point.loss > start.loss + ENOUGH_DECREASE * point.t * start.slope

    def flat_enough(self, point):
        return abs(point.slope) <= -ENOUGH_FLATNESS * self.start.slope

    def bracket(self, t):
        """Go forward until a minimum lies behind: the lower and the higher end; or it is found."""
        previous, point = self.start, self.at(t)
        while self.steps < MAX_STEPS:
            if self.too_high(point) or (self.steps > 1 and point.loss >= previous.loss):
                return *_ordered(previous, point), False
            if self.flat_enough(point):
                return point, point, True
            if point.slope >= 0:
                return *_ordered(previous, point), False
            bounds = point.t + 0.01 * (point.t - previous.t), point.t * 10
            t = _minimum_of_cubic(previous, point, bounds)
            previous, point = point, self.at(t)
            self.steps += 1
        return *_ordered(self.start, point), False

    def zoom(self, low, high, smallest):
        """Narrow the bracket until a point in it meets both conditions; return the best point."""
        longest = self.direction.abs().max().item()
        near_end = False
        while self.steps < MAX_STEPS and abs(high.t - low.t) * longest >= smallest:
            t, near_end = _inside(low, high, near_end)
            point = self.at(t)
            self.steps += 1
            if self.too_high(point) or point.loss >= low.loss:
                low, high = _ordered(low, point)
                continue
            if self.flat_enough(point):
                return point
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
        return low


def _ordered(a, b):
    return (a, b) if a.loss <= b.loss else (b, a)


def _inside(low, high, near_end):
    """Where to look next in a bracket: the cubic's minimum, kept off the ends.

    A minimum in the outer tenth is taken once; the second time in a row, or on an end itself, the
    search moves inwards to that tenth's border.
    """
    t = _minimum_of_cubic(low, high)
    left, right = sorted((low.t, high.t))
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not near_end and left < t < right:
        return t, True
    return (right - margin if abs(t - right) < abs(t - left) else left + margin), False


def _minimum_of_cubic(a, b, bounds=None):
    """Where the cubic through two points with their slopes is least, within `bounds`."""
    if a.t > b.t:
        a, b = b, a
    left, right = bounds or (a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    d2 = square**0.5
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:  # a straight line
        return right if b.slope < 0 else left
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    return min(max(t, left), right)
