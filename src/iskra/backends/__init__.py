"""``iskra.backends``: the switches of PyTorch's vendor libraries.

Scripts set them and ask for them; none of those libraries is used here, so they change nothing:
results never depend on them.

Source: https://docs.pytorch.org/docs/stable/backends.html
"""

from iskra.backends import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
