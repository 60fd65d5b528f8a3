"""What every test shares: a fixed seed, and the global settings put back afterwards."""

import random

import numpy
import pytest

import iskra

collect_ignore = ["typing"]         # read by the type checker, not run


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test begins with the same random streams and leaves the default dtype as it was."""
    random.seed(0)
    numpy.random.seed(0)
    iskra.manual_seed(0)
    dtype = iskra.get_default_dtype()
    yield
    iskra.set_default_dtype(dtype)
