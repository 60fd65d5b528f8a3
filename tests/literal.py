"""Results compared with what a test has written down."""

import numpy as np


def check(result, dtypes, values):
    """The tensors have these dtypes ("int64+int64" for two) and, rounded to them, these values."""
    results = result if isinstance(result, tuple) else (result,)
    values = values if isinstance(result, tuple) else [values]
    assert [r.dtype.name for r in results] == dtypes.split("+")
    for found, expected in zip(results, values, strict=True):
        wanted = np.array(expected)
        assert wanted.size == 0 or wanted.shape == tuple(found.shape)
        tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(found.dtype.name, 3e-6)
        np.testing.assert_allclose(
            np.array(found.tolist()).ravel(), wanted.ravel(), tolerance, tolerance / 3
        )
