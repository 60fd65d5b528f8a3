"""Runs of equal neighbours by kernels: against a plain loop."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call
from codegen.test_sorts import DTYPES, elements

from iskra.codegen.kernels import runs


def expected(vector):
    starts, numbers = [], []
    wide = vector.astype(np.float64) if vector.dtype.kind in "fV" else vector
    for place, element in enumerate(wide):
        if not place or element != wide[place - 1]:
            starts.append(place)
        numbers.append(len(starts) - 1)
    return starts, np.array(numbers)


def check(vector, numbered, places=None):
    values, starts, numbers = runs.find(vector, numbered, places)
    wanted, belongs = expected(vector)
    np.testing.assert_array_equal(starts, wanted)
    assert values.tobytes() == vector[wanted].tobytes()
    if not numbered:
        assert numbers is None
        return
    np.testing.assert_array_equal(numbers if places is None else numbers[places], belongs)


@pytest.mark.parametrize("name", DTYPES)
def test_runs(name):
    random = np.random.default_rng(2)
    for length in (1, 2, 16, 17, 18, 33, 200, 1000):
        scattered = elements((length,), name)
        for vector in (scattered, np.sort(elements((length,), "i2")).astype(scattered.dtype),
                       np.repeat(scattered, 20)[:length], np.zeros(length, scattered.dtype),
                       np.arange(length).astype(scattered.dtype), scattered[::-1]):
            check(vector, False)
            check(vector, True)
            check(vector, True, random.permutation(length))


@pytest.mark.parametrize("name", ["f4", "bfloat16", "i8"])
def test_interpreter_agrees(name, monkeypatch):
    seen = check_each_call(monkeypatch)
    monkeypatch.setattr(runs, "empty", np.zeros)    # what is not written is the same in both
    for length in (1, 16, 17, 60):
        vector = np.repeat(elements((length,), name), 3)[:length]
        check(vector, True)
        check(vector, True, np.arange(length)[::-1].copy())
    assert set(seen) == {1}
