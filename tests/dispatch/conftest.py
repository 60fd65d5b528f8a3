"""What tests of quick calls have in common."""

import pytest

from iskra.dispatch.operator import OPERATORS


@pytest.fixture
def untaught():
    """Operators whose quick calls have yet to be learnt, whatever ran before."""
    for op in OPERATORS.values():
        if op.quick is not None:
            op.quick.__init__(op)
