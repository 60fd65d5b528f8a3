"""What a body asks about the numbers that it is given, while it is traced.

Kernels are given numbers anew with each call. A body that asks something about one (``if exponent
== 2``) gets the answer for the numbers at hand, and the question is noted: its program holds for
all numbers for which the answers are the same.

>>> from iskra.codegen.expr import Expr, answering
>>> alpha, questions = Expr.scalar(0), Questions((0.5,))
>>> with answering(questions):
...     "negative" if alpha < 0 else "positive"
'positive'
>>> questions.are_answered_alike((3.0,)), questions.are_answered_alike((-3.0,))
(True, False)
"""

import numpy as np

from iskra.codegen.extent import NotTraceable


class Questions:
    """Questions about numbers, and the answers for those of one call."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.answers = []  # (expression, bool)

    def __call__(self, expr):
        found = bool(_value(expr, self.numbers))
        self.answers.append((expr, found))
        return found

    def are_answered_alike(self, numbers):
        """Whether a body would go the same way with these numbers."""
        return all(bool(_value(expr, numbers)) is found for expr, found in self.answers)


def _value(expr, numbers):
    """The value of an expression of numbers alone."""
    if expr.op == "scalar":
        return expr.dtype.type(numbers[expr.attr])
    if expr.op == "const":
        return expr.dtype.type(expr.attr)
    if expr.op == "cast":
        return _value(expr.args[0], numbers).astype(expr.dtype)
    function = getattr(np, expr.attr, None) if expr.op == "map" else None
    if function is None:
        raise NotTraceable("the value of an expression is needed")
    with np.errstate(all="ignore"):
        return function(*(_value(x, numbers) for x in expr.args))
