"""The operators, a file per family. Importing this package binds them onto `Tensor`."""

import gc
import importlib

# Order matters only where a family builds on names of another at import time.
_FAMILIES = (
    "creation", "ranges", "comparison", "quotients", "arithmetic", "slopes", "stepping",
    "mathematics",
    "conversion", "casting",
    "shares", "reduction", "extrema", "view", "dunders",
    "activation", "softmax",
    "axes", "slicing", "joining", "rearranging", "view_writes", "grids",
    "indexing", "subscript", "callables",
    "scan", "sorting", "searching", "special", "polynomials",
    "normalization", "group_norms", "rms", "embedding", "conv", "pool", "adaptive_pool", "fold",
    "loss", "likelihood", "class_indices", "classification", "distance", "ctc",
    "seeding", "sampling", "random", "dropout", "gamma",
    "matmul", "linear",
    "addmm", "contraction",
    "gathering", "scattering", "scatter_reduce",
    "cdist",
    "padding",
    "solving", "decompositions", "determinants", "least_squares", "norms",
    "factorizations", "linalg",
    "lowrank", "statistics",
    "fft", "attention", "image", "sampling_grid",
    "spectrogram", "recurrent",
)
# Many small objects that all stay: the garbage collector would look through them in vain.
_collecting = gc.isenabled()
gc.disable()
for _family in _FAMILIES:
    importlib.import_module(f"iskra.ops.{_family}")

from iskra.ops.attach import attach  # noqa: E402

globals().update(attach())
if _collecting:
    gc.enable()
