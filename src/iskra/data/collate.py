"""From a list of samples to a batch: `default_collate`, and `default_convert` for single samples.

Source: https://docs.pytorch.org/docs/stable/data.html#working-with-collate-fn
"""

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from iskra import ops
from iskra.core import float64
from iskra.tensor import Tensor

_NO_NUMBERS = "SaUOMmV"  # kinds of NumPy dtypes that no tensor can hold


def default_convert(data):
    """Turn NumPy arrays and numbers into tensors, also inside mappings and sequences.

    All else stays as it is.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_convert

    >>> import iskra as torch
    >>> import numpy as np
    >>> torch.utils.data.default_convert({"x": np.array([1, 2]), "y": "a"})
    {'x': tensor([1, 2]), 'y': 'a'}
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in _NO_NUMBERS else ops.as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(value) for key, value in data.items()})
    if _is_namedtuple(data):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(item) for item in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [default_convert(item) for item in data])
    return data


def default_collate(batch):
    """Put the samples of a list together: tensors, arrays and numbers get a new first dimension.

    Mappings and sequences are put together field by field; strings and bytes stay lists. Floats
    become float64, ints int64. Raises TypeError for anything else, RuntimeError where sequences
    differ in length.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate

    >>> import iskra as torch
    >>> torch.utils.data.default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
    {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch, *, collate_fn_map=None):
    """Put the samples of a list together by the first entry of the map that fits their type.

    `collate_fn_map` has functions ``f(batch, *, collate_fn_map)`` by class, or by tuple of classes.
    Mappings and sequences that it does not name are put together field by field.

    >>> import iskra as torch
    >>> from iskra.data.collate import collate
    >>> collate([1.5, 2.0], collate_fn_map={float: lambda batch, *, collate_fn_map: sum(batch)})
    3.5
    """
    first = batch[0]
    function = _function_for(first, collate_fn_map)
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        fields = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
            for key in first
        }
        return _mapping_like(first, fields)
    if isinstance(first, Sequence):
        return _collate_sequences(batch, first, collate_fn_map)
    raise TypeError(_unfit(type(first)))


def _function_for(sample, functions):
    """The function by the sample's class, or else by a class that it descends from."""
    if not functions:
        return None
    if type(sample) in functions:
        return functions[type(sample)]
    for kind in functions:
        if isinstance(sample, kind):
            return functions[kind]
    return None


def _collate_sequences(batch, first, functions):
    size = len(first)
    if any(len(sample) != size for sample in batch):
        raise RuntimeError(
            "each element in list of batch should be of equal size, but their lengths are "
            f"{sorted({len(sample) for sample in batch})}; pass collate_fn to pad them"
        )
    fields = [collate(list(field), collate_fn_map=functions) for field in zip(*batch)]
    if _is_namedtuple(first):
        return type(first)(*fields)
    return fields if isinstance(first, tuple) else _sequence_like(first, fields)


def _is_namedtuple(value):
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _mapping_like(mapping, fields):
    """`mapping` with `fields` for its own; a plain dict where its class does not allow that."""
    try:
        if not isinstance(mapping, MutableMapping):
            return type(mapping)(fields)
        result = copy.copy(mapping)  # keeps what it knows besides, as a defaultdict does
        result.update(fields)
        return result
    except TypeError:
        return fields


def _sequence_like(sequence, items):
    """`sequence` with `items` for its own; a plain list where its class does not allow that."""
    try:
        if not isinstance(sequence, MutableSequence):
            return type(sequence)(items)
        result = copy.copy(sequence)
        for i, item in enumerate(items):
            result[i] = item
        return result
    except TypeError:
        return items


def _unfit(kind):
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {kind}; pass collate_fn to say how to put those together"
    )


def collate_tensor_fn(batch, *, collate_fn_map=None):
    """Stack tensors along a new first dimension.

    >>> import iskra as torch
    >>> from iskra.data.collate import collate_tensor_fn
    >>> collate_tensor_fn([torch.ones(2), torch.zeros(2)])
    tensor([[1., 1.],
            [0., 0.]])
    """
    return ops.stack(batch, 0)


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    """Stack NumPy arrays along a new first dimension, as a tensor.

    >>> import numpy as np
    >>> from iskra.data.collate import collate_numpy_array_fn
    >>> collate_numpy_array_fn([np.array([1, 2]), np.array([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    if batch[0].dtype.kind in _NO_NUMBERS:
        raise TypeError(_unfit(batch[0].dtype))
    return ops.stack([ops.as_tensor(array) for array in batch], 0)


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    """A tensor of NumPy's numbers.

    >>> import numpy as np
    >>> from iskra.data.collate import collate_numpy_scalar_fn
    >>> collate_numpy_scalar_fn([np.float32(1), np.float32(2)])
    tensor([1., 2.])
    """
    if np.dtype(type(batch[0])).kind in _NO_NUMBERS:
        raise TypeError(_unfit(type(batch[0])))
    return ops.as_tensor(np.array(batch))


def collate_float_fn(batch, *, collate_fn_map=None):
    """A float64 tensor of Python floats.

    >>> from iskra.data.collate import collate_float_fn
    >>> collate_float_fn([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    return ops.tensor(batch, dtype=float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    """A tensor of Python ints or bools.

    >>> from iskra.data.collate import collate_int_fn
    >>> collate_int_fn([1, 2])
    tensor([1, 2])
    """
    return ops.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    """Strings and bytes stay a list.

    >>> from iskra.data.collate import collate_str_fn
    >>> collate_str_fn(["a", "b"])
    ['a', 'b']
    """
    return batch


default_collate_fn_map = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
