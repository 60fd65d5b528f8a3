"""Activations as layers; all keep the shape of their input, GLU excepted.

Page: https://docs.pytorch.org/docs/stable/nn.html#non-linear-activations-weighted-sum-nonlinearity
"""

import warnings

from iskra.nn import functional as F
from iskra.nn import init as _init
from iskra.nn.module import Module
from iskra.nn.modules.multihead import MultiheadAttention
from iskra.nn.modules.utils import shown
from iskra.nn.parameter import Parameter
from iskra.ops import empty, sigmoid, tanh

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "MultiheadAttention", "PReLU", "RReLU", "ReLU", "ReLU6",
    "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink", "Threshold",
]


class _Inplace(Module):
    """An activation whose only setting is `inplace`."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


def _with_inplace(text, module):
    return text + ", inplace=True" if module.inplace else text


class Threshold(Module):
    """y = x if x > threshold else value. Source: `torch.nn.Threshold`.

    >>> import iskra as torch
    >>> torch.nn.Threshold(0.1, 20)(torch.tensor([0.0, 1.0]))
    tensor([20.,  1.])
    """

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "threshold", "value"), self)


class ReLU(_Inplace):
    """y = max(x, 0). Source: `torch.nn.ReLU`.

    >>> import iskra as torch
    >>> torch.nn.ReLU()(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """

    def forward(self, input):
        return F.relu(input, inplace=self.inplace)


class RReLU(Module):
    """y = x if x >= 0 else a x; a is drawn from [lower, upper] in training, else their mean.

    Source: `torch.nn.RReLU`.

    >>> import iskra as torch
    >>> torch.nn.RReLU(0.1, 0.3).eval()(torch.tensor([-1.0, 1.0]))
    tensor([-0.2000,  1.0000])
    """

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "lower", "upper"), self)


class Hardtanh(Module):
    """y = x held between min_val and max_val. Source: `torch.nn.Hardtanh`.

    >>> import iskra as torch
    >>> torch.nn.Hardtanh(-2, 2)(torch.tensor([-3.0, 1.0]))
    tensor([-2.,  1.])
    """

    def __init__(
        self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None
    ):
        super().__init__()
        if min_value is not None or max_value is not None:
            warnings.warn(
                "keyword arguments `min_value` and `max_value` are deprecated and renamed to "
                "`min_val` and `max_val`",
                FutureWarning,
                stacklevel=2,
            )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "min_val", "max_val"), self)


class ReLU6(Hardtanh):
    """y = x held between 0 and 6. Source: `torch.nn.ReLU6`.

    >>> import iskra as torch
    >>> torch.nn.ReLU6()(torch.tensor([-1.0, 7.0]))
    tensor([0., 6.])
    """

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)). Source: `torch.nn.Sigmoid`.

    >>> import iskra as torch
    >>> torch.nn.Sigmoid()(torch.zeros(1))
    tensor([0.5000])
    """

    def forward(self, input):
        return sigmoid(input)


class Hardsigmoid(_Inplace):
    """y = x / 6 + 1/2 held between 0 and 1. Source: `torch.nn.Hardsigmoid`.

    >>> import iskra as torch
    >>> torch.nn.Hardsigmoid()(torch.tensor([0.0, 3.0]))
    tensor([0.5000, 1.0000])
    """

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self):
        return ""


class Tanh(Module):
    """y = tanh(x). Source: `torch.nn.Tanh`.

    >>> import iskra as torch
    >>> torch.nn.Tanh()(torch.zeros(1))
    tensor([0.])
    """

    def forward(self, input):
        return tanh(input)


class SiLU(_Inplace):
    """y = x sigmoid(x), also known as swish. Source: `torch.nn.SiLU`.

    >>> import iskra as torch
    >>> torch.nn.SiLU()(torch.ones(1))
    tensor([0.7311])
    """

    def forward(self, input):
        return F.silu(input, inplace=self.inplace)


class Mish(_Inplace):
    """y = x tanh(softplus(x)). Source: `torch.nn.Mish`.

    >>> import iskra as torch
    >>> torch.nn.Mish()(torch.ones(1))
    tensor([0.8651])
    """

    def forward(self, input):
        return F.mish(input, inplace=self.inplace)


class Hardswish(_Inplace):
    """y = x hardsigmoid(x). Source: `torch.nn.Hardswish`.

    >>> import iskra as torch
    >>> torch.nn.Hardswish()(torch.tensor([-3.0, 3.0]))
    tensor([-0., 3.])
    """

    def forward(self, input):
        return F.hardswish(input, self.inplace)

    def extra_repr(self):
        return ""


class ELU(Module):
    """y = x if x > 0 else alpha (exp(x) - 1). Source: `torch.nn.ELU`.

    >>> import iskra as torch
    >>> torch.nn.ELU()(torch.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "alpha"), self)


class CELU(Module):
    """y = max(x, 0) + min(alpha (exp(x / alpha) - 1), 0). Source: `torch.nn.CELU`.

    >>> import iskra as torch
    >>> torch.nn.CELU(2.0)(torch.tensor([-2.0, 1.0]))
    tensor([-1.2642,  1.0000])
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "alpha"), self)


class SELU(_Inplace):
    """A scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Source: `torch.nn.SELU`.

    >>> import iskra as torch
    >>> torch.nn.SELU()(torch.ones(1))
    tensor([1.0507])
    """

    def forward(self, input):
        return F.selu(input, self.inplace)


class GLU(Module):
    """y = a sigmoid(b), a and b the halves of x along `dim`. Source: `torch.nn.GLU`.

    >>> import iskra as torch
    >>> torch.nn.GLU()(torch.ones(2, 6)).shape
    iskra.Size([2, 3])
    """

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.glu(input, self.dim)

    def extra_repr(self):
        return shown(self, "dim")


class GELU(Module):
    """y = x times the normal distribution function of x; `approximate` is "none" or "tanh".

    Source: `torch.nn.GELU`.

    >>> import iskra as torch
    >>> torch.nn.GELU()(torch.ones(1))
    tensor([0.8413])
    """

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class Hardshrink(Module):
    """y = x if |x| > lambd else 0. Source: `torch.nn.Hardshrink`.

    >>> import iskra as torch
    >>> torch.nn.Hardshrink()(torch.tensor([0.4, 0.6]))
    tensor([0.0000, 0.6000])
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return F.hardshrink(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class LeakyReLU(Module):
    """y = x if x > 0 else negative_slope x. Source: `torch.nn.LeakyReLU`.

    >>> import iskra as torch
    >>> torch.nn.LeakyReLU(0.1)(torch.tensor([-1.0, 1.0]))
    tensor([-0.1000,  1.0000])
    """

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self):
        return _with_inplace(shown(self, "negative_slope"), self)


class LogSigmoid(Module):
    """y = log(1 / (1 + exp(-x))). Source: `torch.nn.LogSigmoid`.

    >>> import iskra as torch
    >>> torch.nn.LogSigmoid()(torch.zeros(1))
    tensor([-0.6931])
    """

    def forward(self, input):
        return F.logsigmoid(input)


class Softplus(Module):
    """y = log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    Source: `torch.nn.Softplus`.

    >>> import iskra as torch
    >>> torch.nn.Softplus()(torch.zeros(1))
    tensor([0.6931])
    """

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        return shown(self, "beta", "threshold")


class Softshrink(Module):
    """y = x moved by lambd towards 0. Source: `torch.nn.Softshrink`.

    >>> import iskra as torch
    >>> torch.nn.Softshrink()(torch.tensor([0.4, 1.0]))
    tensor([0.0000, 0.5000])
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return F.softshrink(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class PReLU(Module):
    """y = x if x >= 0 else weight x, the weight learned, one or one per channel (dimension 1).

    Source: `torch.nn.PReLU`.

    >>> import iskra as torch
    >>> torch.nn.PReLU()(torch.tensor([-1.0, 1.0])).detach()
    tensor([-0.2500,  1.0000])
    """

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Set the weight to `init` again."""
        _init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return shown(self, "num_parameters")


class Softsign(Module):
    """y = x / (1 + |x|). Source: `torch.nn.Softsign`.

    >>> import iskra as torch
    >>> torch.nn.Softsign()(torch.ones(1))
    tensor([0.5000])
    """

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(Module):
    """y = x - tanh(x). Source: `torch.nn.Tanhshrink`.

    >>> import iskra as torch
    >>> torch.nn.Tanhshrink()(torch.ones(1))
    tensor([0.2384])
    """

    def forward(self, input):
        return F.tanhshrink(input)


class _AlongDim(Module):
    """Softmax and its kin; without `dim` one is guessed, with a warning."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def extra_repr(self):
        return shown(self, "dim")


class Softmin(_AlongDim):
    """softmax(-x) along `dim`. Source: `torch.nn.Softmin`.

    >>> import iskra as torch
    >>> torch.nn.Softmin(dim=0)(torch.zeros(2))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongDim):
    """exp(x) divided by its sum along `dim`. Source: `torch.nn.Softmax`.

    >>> import iskra as torch
    >>> torch.nn.Softmax(dim=0)(torch.zeros(2))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W). Source: `torch.nn.Softmax2d`.

    >>> import iskra as torch
    >>> torch.nn.Softmax2d()(torch.zeros(2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return F.softmax(input, -3, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """log(softmax(x)) along `dim`, computed without overflow. Source: `torch.nn.LogSoftmax`.

    >>> import iskra as torch
    >>> torch.nn.LogSoftmax(dim=0)(torch.zeros(2))
    tensor([-0.6931, -0.6931])
    """

    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)
