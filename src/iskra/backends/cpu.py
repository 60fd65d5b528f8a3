"""``iskra.backends.cpu``: what the processor can do."""

import numpy as np

__all__ = ["get_cpu_capability"]


def get_cpu_capability():
    """The widest vector instructions: "AVX512", "AVX2", "NEON" or "DEFAULT".

    >>> import iskra as torch
    >>> torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "NEON", "DEFAULT")
    True
    """
    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found = set(found.get("found", [])) | set(found.get("baseline", []))
    if any(name.startswith(("AVX512", "X86_V4")) for name in found):
        return "AVX512"
    if found & {"AVX2", "X86_V3"}:
        return "AVX2"
    return "NEON" if any(name.startswith(("NEON", "ASIMD")) for name in found) else "DEFAULT"
