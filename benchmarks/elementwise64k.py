"""The cases of `elementwise` on matrices of 65,536 elements: in the cache, near a call's cost."""

import functools

from benchmarks import elementwise

SIDE = 256
CASES = {name: case._replace(make=functools.partial(case.make, n=SIDE))
         for name, case in elementwise.CASES.items()}
