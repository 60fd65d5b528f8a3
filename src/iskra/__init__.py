"""Iskra: deep learning in pure Python, with PyTorch's API, semantics and numbers.

``import iskra as torch`` runs PyTorch code; ``python -m iskra script.py`` runs a PyTorch script.
"""

import importlib
import math

from iskra import autograd, ops
from iskra.autograd import (
    enable_grad,
    inference_mode,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from iskra.core import *  # noqa: F403
from iskra.core import bool_ as bool
from iskra.core import (
    complex32 as chalf,
)
from iskra.core import (
    complex64 as cfloat,
)
from iskra.core import (
    complex128 as cdouble,
)
from iskra.core import (
    float16 as half,
)
from iskra.core import (
    float32 as float,
)
from iskra.core import (
    float64 as double,
)
from iskra.core import (
    int16 as short,
)
from iskra.core import (
    int32 as int,
)
from iskra.core import (
    int64 as long,
)
from iskra.dispatch.namespaces import functions
from iskra.ops.seeding import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from iskra.tensor import Storage as UntypedStorage
from iskra.tensor import Tensor
from iskra.tensor.facts import FUNCTIONS as _FACTS
from iskra.tensor.legacy import TYPES as _TYPES
from iskra.tensor.legacy import typename
from iskra.tensor.printing import get_printoptions, printoptions, set_printoptions

__version__ = "0.1.0"

e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None

globals().update(functions("torch"))
globals().update(_TYPES)
globals().update({_fact.__name__: _fact for _fact in _FACTS})

# Loaded when first used, so that `import iskra` stays quick.
_LAZY = (
    "accelerator", "amp", "backends", "compat", "cpu", "cuda", "data", "distributed",
    "distributions", "fft", "func", "linalg", "masked", "multiprocessing", "nn", "optim",
    "overrides", "profiler", "quasirandom", "random", "serialization", "signal", "special",
    "storage", "testing", "utils", "version",
)
_LAZY_NAMES = {
    "explain": "iskra.explanation",
    "save": "iskra.compat.serialization", "load": "iskra.compat.serialization",
    "get_num_threads": "iskra.runtime.threads", "set_num_threads": "iskra.runtime.threads",
    **dict.fromkeys((
        "autocast", "autocast_decrement_nesting", "autocast_increment_nesting",
        "clear_autocast_cache", "get_autocast_cpu_dtype", "get_autocast_dtype",
        "get_autocast_gpu_dtype", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
        "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_cpu_dtype",
        "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
        "set_autocast_gpu_dtype", "GradScaler",
    ), "iskra.amp"),
    **dict.fromkeys((
        "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
        "get_float32_matmul_precision", "get_num_interop_threads",
        "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
        "set_default_tensor_type", "set_deterministic_debug_mode",
        "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads",
        "set_warn_always", "use_deterministic_algorithms",
    ), "iskra.settings"),
    **dict.fromkeys((
        "batch_norm", "bilinear", "detach", "detach_", "embedding", "embedding_renorm_",
        "from_file", "instance_norm", "zero_",
    ), "iskra.native"),
    "AcceleratorError": "iskra.accelerator", "Event": "iskra.cuda", "Stream": "iskra.cuda",
    "OutOfMemoryError": "iskra.cuda", "TypedStorage": "iskra.tensor.typed_storage",
    "thread_safe_generator": "iskra.random", "to_dlpack": "iskra.utils.dlpack",
}


def __getattr__(name):
    if name in _LAZY:
        try:
            return importlib.import_module(f"iskra.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"iskra.{name}":
                raise
    if name in _LAZY_NAMES:
        value = getattr(importlib.import_module(_LAZY_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'iskra' has no attribute '{name}'")
