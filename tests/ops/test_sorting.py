"""Sorting, selecting, searching and uniqueness: literal values, NaN, narrow floats, errors."""

import math

import numpy as np
import pytest

import iskra as torch

NAN, INF = math.nan, math.inf


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


@pytest.mark.parametrize("compute, dtypes, values", [
    (lambda: torch.sort(torch.tensor([3, 1, 2])), "int64+int64", [[1, 2, 3], [1, 2, 0]]),
    (lambda: torch.sort(torch.tensor([3, 1, 2]), descending=True),
     "int64+int64", [[3, 2, 1], [0, 2, 1]]),
    (lambda: torch.sort(torch.tensor([[3, 1], [2, 4]]), 0),
     "int64+int64", [[[2, 1], [3, 4]], [[1, 0], [0, 1]]]),
    (lambda: torch.sort(torch.tensor([NAN, 1.0, -INF, INF])),
     "float32+int64", [[-INF, 1.0, INF, NAN], [2, 1, 3, 0]]),
    (lambda: torch.sort(torch.tensor([NAN, 1.0, NAN, 2.0]), descending=True),
     "float32+int64", [[NAN, NAN, 2.0, 1.0], [0, 2, 3, 1]]),
    (lambda: torch.sort(torch.tensor([2, 1, 2, 1]), stable=True),
     "int64+int64", [[1, 1, 2, 2], [1, 3, 0, 2]]),
    (lambda: torch.sort(torch.tensor([2, 1, 2, 1]), descending=True, stable=True),
     "int64+int64", [[2, 2, 1, 1], [0, 2, 1, 3]]),
    (lambda: torch.sort(torch.tensor([True, False])), "bool+int64", [[False, True], [1, 0]]),
    (lambda: torch.sort(torch.tensor(3.0)), "float32+int64", [3.0, 0]),
    (lambda: torch.sort(torch.zeros(0)), "float32+int64", [[], []]),
    (lambda: torch.sort(torch.zeros(2, 0), 0), "float32+int64", [[[], []], [[], []]]),
    (lambda: torch.sort(torch.tensor([1.0, NAN, -INF, 0.5], dtype=torch.bfloat16)),
     "bfloat16+int64", [[-INF, 0.5, 1.0, NAN], [2, 3, 0, 1]]),
    (lambda: torch.sort(torch.tensor([1.0, NAN, -INF, 0.5], dtype=torch.float16), descending=True),
     "float16+int64", [[NAN, 1.0, 0.5, -INF], [1, 0, 3, 2]]),
    (lambda: torch.sort(torch.tensor([3, 1, 2], dtype=torch.uint8)),
     "uint8+int64", [[1, 2, 3], [1, 2, 0]]),
    (lambda: torch.argsort(torch.tensor([3, 1, 2])), "int64", [1, 2, 0]),
    (lambda: torch.argsort(torch.tensor([[3, 1], [2, 4]]), 0, descending=True),
     "int64", [[0, 1], [1, 0]]),
    (lambda: torch.argsort(torch.tensor([1.0, NAN, -INF], dtype=torch.bfloat16)),
     "int64", [2, 0, 1]),
    (lambda: torch.msort(torch.tensor([[3, 1], [2, 4]])), "int64", [[2, 1], [3, 4]]),
    (lambda: torch.topk(torch.tensor([1, 5, 2]), 2), "int64+int64", [[5, 2], [1, 2]]),
    (lambda: torch.topk(torch.tensor([1, 5, 2]), 2, largest=False),
     "int64+int64", [[1, 2], [0, 2]]),
    (lambda: torch.topk(torch.tensor([[1, 5], [2, 0]]), 1, dim=0),
     "int64+int64", [[[2, 5]], [[1, 0]]]),
    (lambda: torch.topk(torch.tensor([1.0, NAN, 3]), 1), "float32+int64", [[NAN], [1]]),
    (lambda: torch.topk(torch.tensor([1.0, NAN, 3], dtype=torch.bfloat16), 2),
     "bfloat16+int64", [[NAN, 3.0], [1, 2]]),
    (lambda: torch.topk(torch.tensor(3.0), 1), "float32+int64", [3.0, 0]),
    (lambda: torch.topk(torch.tensor([1, 2]), 0), "int64+int64", [[], []]),
    (lambda: torch.kthvalue(torch.tensor([3, 1, 2]), 2), "int64+int64", [2, 2]),
    (lambda: torch.kthvalue(torch.tensor([[3, 1], [2, 4]]), 1, dim=0, keepdim=True),
     "int64+int64", [[[2, 1]], [[1, 0]]]),
    (lambda: torch.kthvalue(torch.tensor([3.0, NAN, 1]), 3), "float32+int64", [NAN, 1]),
    (lambda: torch.kthvalue(torch.tensor([3.0, NAN, 1], dtype=torch.bfloat16), 2),
     "bfloat16+int64", [3.0, 0]),
    (lambda: torch.median(torch.tensor([1.0, NAN, 3], dtype=torch.bfloat16), 0),
     "bfloat16+int64", [NAN, 1]),
    (lambda: torch.nanmedian(torch.tensor([1.0, NAN, 3], dtype=torch.bfloat16)), "bfloat16", 1.0),
    (lambda: torch.nanmedian(torch.tensor([[1.0, NAN, 3], [NAN, NAN, 5]], dtype=torch.bfloat16), 1),
     "bfloat16+int64", [[1.0, 5.0], [0, 2]]),
    (lambda: torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4])), "int64", [1, 2]),
    (lambda: torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]), right=True),
     "int64", [2, 2]),
    (lambda: torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]), side="right"),
     "int64", [2, 2]),
    (lambda: torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]), out_int32=True),
     "int32", [1, 2]),
    (lambda: torch.searchsorted(torch.tensor([[1, 3], [2, 4]]), torch.tensor([[2], [2]])),
     "int64", [[1], [0]]),
    (lambda: torch.searchsorted(torch.tensor([5, 1, 3]),
             torch.tensor([3]), sorter=torch.tensor([1, 2, 0])),
     "int64", [1]),
    (lambda: torch.searchsorted(torch.tensor([1, 2, 3]), 2.5), "int64", 2),
    (lambda: torch.searchsorted(torch.tensor([1.0, 2, 3]), 2), "int64", 1),
    (lambda: torch.searchsorted(torch.tensor([1.0, 2, 3], dtype=torch.bfloat16),
             torch.tensor([NAN, 2.0], dtype=torch.bfloat16)),
     "int64", [3, 1]),
    (lambda: torch.bucketize(torch.tensor([3, 6]), torch.tensor([1, 3, 5])), "int64", [1, 3]),
    (lambda: torch.bucketize(torch.tensor([3, 6]), torch.tensor([1, 3, 5]), right=True),
     "int64", [2, 3]),
    (lambda: torch.bucketize(2.5, torch.tensor([1, 2, 3])), "int64", 2),
    (lambda: torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2])), "bool", [False, True, False]),
    (lambda: torch.isin(torch.tensor([1, 2, 3]), 2), "bool", [False, True, False]),
    (lambda: torch.isin(2, torch.tensor([1, 2])), "bool", True),
    (lambda: torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2]), invert=True),
     "bool", [True, False, True]),
    (lambda: torch.isin(torch.tensor([NAN]), torch.tensor([NAN])), "bool", [False]),
    (lambda: torch.unique(torch.tensor([3, 1, 3])), "int64", [1, 3]),
    (lambda: torch.unique(torch.tensor([3, 1, 3]), return_inverse=True, return_counts=True),
     "int64+int64+int64", [[1, 3], [1, 0, 1], [1, 2]]),
    (lambda: torch.unique(torch.tensor([[1, 2], [1, 2], [0, 5]]), dim=0, return_inverse=True,
             return_counts=True),
     "int64+int64+int64", [[[0, 5], [1, 2]], [1, 1, 0], [1, 2]]),
    (lambda: torch.unique(torch.tensor([[1, 1, 0], [2, 2, 5]]), dim=1), "int64", [[0, 1], [5, 2]]),
    (lambda: torch.unique(torch.tensor([NAN, 1.0, NAN])), "float32", [1.0, NAN, NAN]),
    (lambda: torch.unique(torch.zeros(0), return_inverse=True, return_counts=True),
     "float32+int64+int64", [[], [], []]),
    (lambda: torch.unique(torch.tensor([True, False, True]), return_inverse=True),
     "bool+int64", [[False, True], [1, 0, 1]]),
    (lambda: torch.unique(torch.tensor(5)), "int64", [5]),
    (lambda: torch.unique_consecutive(torch.tensor([1, 1, 2, 1])), "int64", [1, 2, 1]),
    (lambda: torch.unique_consecutive(torch.tensor([1, 1, 2, 1]), return_inverse=True,
             return_counts=True),
     "int64+int64+int64", [[1, 2, 1], [0, 0, 1, 2], [2, 1, 1]]),
    (lambda: torch.unique_consecutive(torch.tensor([[1, 2], [1, 2], [0, 5]]), dim=0),
     "int64", [[1, 2], [0, 5]]),
])
def test_values_and_dtypes(compute, dtypes, values):
    check(compute(), dtypes, values)


@pytest.mark.parametrize("compute, error, message", [
    (lambda: torch.sort(torch.tensor([1, 2]), 1),
     IndexError, "Dimension out of range .expected to be in"),
    (lambda: torch.sort(torch.tensor([1j])), RuntimeError, "sort..: complex numbers have no order"),
    (lambda: torch.topk(torch.tensor([1, 2]), 3),
     RuntimeError, "topk: selected index k out of range: k=3 f"),
    (lambda: torch.topk(torch.tensor([1, 2]), -1),
     RuntimeError, "topk: selected index k out of range: k=-1"),
    (lambda: torch.topk(torch.tensor([1j]), 1),
     RuntimeError, "topk..: complex numbers have no order"),
    (lambda: torch.kthvalue(torch.tensor([1, 2]), 3),
     RuntimeError, "kthvalue..: selected number k out of range"),
    (lambda: torch.kthvalue(torch.tensor([1, 2]), 0),
     RuntimeError, "kthvalue..: selected number k out of range"),
    (lambda: torch.kthvalue(torch.zeros(0), 1),
     IndexError, "kthvalue..: Expected reduction dim 0 to ha"),
    (lambda: torch.kthvalue(torch.tensor([True]), 1),
     NotImplementedError, '"kthvalue" not implemented for \'Bool\''),
    (lambda: torch.searchsorted(torch.tensor([1, 3]), torch.tensor([1]), side="left", right=True),
     RuntimeError, "searchsorted..: side and right can't be se"),
    (lambda: torch.searchsorted(torch.tensor([1, 3]), torch.tensor([1]), side="x"),
     RuntimeError, "searchsorted..: side can only be 'left' or"),
    (lambda: torch.searchsorted(torch.tensor(1), torch.tensor([1])),
     RuntimeError, "searchsorted..: boundaries tensor should h"),
    (lambda: torch.searchsorted(torch.tensor([[1, 3]]), torch.tensor([1])),
     RuntimeError, "searchsorted..: boundaries tensor should b"),
    (lambda: torch.searchsorted(torch.tensor([1, 3]), [1]),
     TypeError, "searchsorted..: argument 'input' must be T"),
    (lambda: torch.searchsorted(torch.tensor([1, 3]), torch.tensor([1]), sorter=torch.tensor([0])),
     RuntimeError, "searchsorted..: boundary and sorter must h"),
    (lambda: torch.bucketize(torch.tensor([1]), torch.tensor([[1]])),
     RuntimeError, "boundaries tensor must be 1 dimension, but"),
    (lambda: torch.isin(1, 2), TypeError, "isin..: elements and test_elements must be"),
    (lambda: torch.isin(torch.tensor([1]), [1]),
     TypeError, "isin..: elements and test_elements must be"),
    (lambda: torch.unique(torch.zeros(0, 2), dim=1),
     RuntimeError, "unique: There are 0 sized dimensions, and"),
    (lambda: torch.unique_consecutive(torch.zeros(0, 2), dim=1),
     RuntimeError, "unique_consecutive: There are 0 sized dime"),
])
def test_refusals(compute, error, message):
    with pytest.raises(error, match=message):
        compute()
