"""What tests of quick calls have in common."""

import pytest

from iskra import runtime
from iskra.dispatch.operator import OPERATORS


@pytest.fixture
def untaught():
    """Operators whose quick calls have yet to be learnt, whatever ran before."""
    if not runtime.native.available() or not runtime.memory.start():
        pytest.skip("machine code knows no objects of this Python")
    for op in OPERATORS.values():
        if op.quick is not None:
            op.quick.__init__(op)
