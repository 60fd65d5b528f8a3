"""``iskra.backends.cuda``: its switches, which may be set, to no effect."""

import contextlib

__all__ = [
    "allow_fp16_bf16_reduction_math_sdp", "cudnn_sdp_enabled", "enable_cudnn_sdp",
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled",
    "is_built", "is_flash_attention_available", "math_sdp_enabled", "matmul",
    "mem_efficient_sdp_enabled", "preferred_blas_library", "preferred_linalg_library",
    "sdp_kernel",
]


class _Switches:
    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        if name not in self.__dict__:
            raise AttributeError(f"there is no switch {name!r}; there are {', '.join(vars(self))}")
        self.__dict__[name] = value


matmul = _Switches(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
    allow_fp16_accumulation=False,
    fp32_precision="none",
)
_attention = _Switches(flash=True, math=True, mem_efficient=True, cudnn=True)


def is_built():
    """Whether there is code for CUDA."""
    return False


def is_flash_attention_available():
    """Whether there is flash attention for CUDA."""
    return False


def flash_sdp_enabled():
    """Whether attention may use flash attention."""
    return _attention.flash


def enable_flash_sdp(enabled):
    """Let attention use flash attention, or not; on the CPU it changes nothing."""
    _attention.flash = bool(enabled)


def math_sdp_enabled():
    """Whether attention may use plain operators."""
    return _attention.math


def enable_math_sdp(enabled):
    """Let attention use plain operators, or not; on the CPU it changes nothing."""
    _attention.math = bool(enabled)


def mem_efficient_sdp_enabled():
    """Whether attention may use the memory-efficient kernel."""
    return _attention.mem_efficient


def enable_mem_efficient_sdp(enabled):
    """Let attention use the memory-efficient kernel, or not; on the CPU it changes nothing."""
    _attention.mem_efficient = bool(enabled)


def cudnn_sdp_enabled():
    """Whether attention may use cuDNN."""
    return _attention.cudnn


def enable_cudnn_sdp(enabled):
    """Let attention use cuDNN, or not; on the CPU it changes nothing."""
    _attention.cudnn = bool(enabled)


def allow_fp16_bf16_reduction_math_sdp(enabled):
    """Let attention by plain operators reduce in half precision: it never does."""


def preferred_linalg_library(backend=None):
    """The library for linear algebra on CUDA: accepted, not used."""
    return "default" if backend is None else backend


def preferred_blas_library(backend=None):
    """The library for matrix products on CUDA: accepted, not used."""
    return "default" if backend is None else backend


@contextlib.contextmanager
def sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    """Choose the kernels of attention inside a `with` block; on the CPU it changes nothing."""
    before = dict(vars(_attention))
    vars(_attention).update(
        flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient,
        cudnn=enable_cudnn,
    )
    try:
        yield
    finally:
        vars(_attention).update(before)
