"""Sampling of NumPy arrays at the places of a grid, in machine code.

>>> import numpy as np
>>> image, grid = np.arange(4.0).reshape(1, 1, 2, 2), np.zeros((1, 1, 1, 2))
>>> sample(image, grid, Setting("bilinear", "zeros", False, 2))
array([[[[1.5]]]])
"""

import math

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.kernels import sampling_kernels
from iskra.codegen.kernels.gemm_plan import workspace
from iskra.codegen.kernels.sampling_kernels import POINTERS, Spec
from iskra.codegen.kernels.sampling_places import Setting
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.primitives import kind_of
from iskra.runtime.memory import empty

_FEWEST = 4096  # results: fewer are not worth a kernel's compilation

__all__ = ["Setting", "gradients", "sample", "serves"]


def serves(image, grid):
    """Whether the kernels take an image (N, C, *sizes) and a grid (N, *out, rank)."""
    arrays = (image, grid)
    results = grid.size // max(grid.shape[-1], 1) * image.shape[1]
    return (all(type(a) is np.ndarray and a.dtype == image.dtype for a in arrays)
            and image.dtype.name in ("float32", "float64") and is_served(image.size)
            and is_served(results) and is_served(grid.size) and results >= _FEWEST)


def sample(image, grid, setting):
    """Return the image (N, C, *out) at the places of the grid."""
    call = _Call(image.shape, grid, setting)
    result = empty((*image.shape[:2], *grid.shape[1:-1]), image.dtype)
    call.run("sample", call.image(image), grid, result)
    return result


def gradients(grad, image, grid, setting, of_image, of_grid):
    """Return the gradients of `sample` for image and grid; None for what is not asked."""
    call, found = _Call(image.shape, grid, setting), [None, None]
    if of_image:
        arranged = call.memory()
        call.run("gradient_of_image", grad, grid, arranged)
        found[0] = empty(image.shape, image.dtype)
        call.run("restore", arranged, found[0])
    if of_grid and setting.mode == "nearest":
        found[1] = np.zeros(grid.shape, grid.dtype)
    elif of_grid:
        found[1] = empty(grid.shape, grid.dtype)
        call.run("gradient_of_grid", call.image(image), grid, grad, found[1])
    return tuple(found)


class _Call:
    """How operands of certain shapes are served."""

    def __init__(self, shape, grid, setting):
        self.samples, channels, *sizes = shape
        self.dtype, self.elements = grid.dtype, math.prod(sizes)
        count = math.prod(grid.shape[1:-1])
        lanes = min(LANES, 1 << (channels - 1).bit_length())
        self.blocks, self.groups = -(-count // LANES), -(-channels // lanes)
        # Arranging an image takes about as long as reading as many elements where they lie.
        arranged = count * setting.taps >= self.elements
        self.spec = Spec(setting, kind_of(self.dtype), lanes, arranged)
        sizes = (*(1,) * (3 - len(sizes)), *sizes)
        self.numbers = (self.samples, channels, *sizes, count, self.blocks, self.groups)
        self.work = self.samples * channels * max(count * setting.taps // 4, self.elements // 4)

    def memory(self):
        """Memory for an arranged image."""
        lanes = self.spec.lanes
        return workspace(self.samples * self.groups * (self.elements + 1) * lanes, self.dtype)

    def image(self, image):
        """The image as `Spec.arranged` says."""
        if not self.spec.arranged:
            return image
        arranged = self.memory()
        self.run("arrange", image, arranged)
        return arranged

    def run(self, name, *arrays):
        """Run a kernel."""
        by_places = name in ("sample", "gradient_of_grid")
        units = self.samples * (self.blocks if by_places else self.groups)
        tasks = tasks_for(units, self.work)
        spec = self.spec
        if name in ("arrange", "restore"):
            spec = spec._replace(setting=None, arranged=True)
        elif name == "gradient_of_image":
            spec = spec._replace(arranged=True)
        kernel = compiled(getattr(sampling_kernels, name), (spec,),
                          "a" * len(POINTERS[name]) + "tn")
        kernel(*map(np.ascontiguousarray, arrays), (*self.numbers, units, tasks), tasks)
