"""Bilinear sampling of NumPy arrays in machine code.

>>> import numpy as np
>>> image, half = np.arange(4.0).reshape(1, 1, 2, 2), np.full((1, 1, 1), 0.5)
>>> sample(image, half, half)
array([[[[1.5]]]])
"""

import math

import numpy as np

from iskra.codegen.kernels import sampling_kernels
from iskra.codegen.kernels.sampling_kernels import LANES
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.primitives import kind_of
from iskra.runtime.memory import empty

_FEWEST = 4096  # results: fewer are not worth a kernel's compilation


def serves(image, rows, columns):
    """Whether the kernels take an image (N, C, H, W) and places (N, h, w)."""
    arrays = (image, rows, columns)
    return (all(type(a) is np.ndarray and a.dtype == image.dtype for a in arrays)
            and image.dtype.name in ("float32", "float64") and image.ndim == 4
            and is_served(image.size) and is_served(rows.size * image.shape[1])
            and rows.size * image.shape[1] >= _FEWEST)


def sample(image, rows, columns):
    """Return the weighted means (N, C, h, w) of the four elements around each place."""
    result = empty((*image.shape[:2], *rows.shape[1:]), image.dtype)
    _run("sample", image.shape, rows, [image, rows, columns, result])
    return result


def gradients(grad, image, rows, columns, of_image, of_places):
    """Return the gradients of `sample` for image, rows and columns; None for what is not asked."""
    found = [None, None, None]
    if of_image:
        found[0] = empty(image.shape, image.dtype)
        _run("gradient_of_image", image.shape, rows, [grad, rows, columns, found[0]])
    if of_places:
        found[1:] = empty(rows.shape, rows.dtype), empty(rows.shape, rows.dtype)
        _run("gradient_of_places", image.shape, rows, [image, rows, columns, grad, *found[1:]])
    return tuple(found)


def _run(name, shape, rows, arrays):
    samples, channels, height, width = shape
    count = math.prod(rows.shape[1:])
    blocks = -(-count // LANES)
    units = samples * channels if name == "gradient_of_image" else samples * blocks
    tasks = tasks_for(units, samples * channels * max(count, height * width))
    kernel = compiled(getattr(sampling_kernels, name), (kind_of(rows.dtype),),
                      "a" * len(arrays) + "tn")
    kernel(*map(np.ascontiguousarray, arrays),
           (channels, height, width, count, blocks, units, tasks), tasks)
