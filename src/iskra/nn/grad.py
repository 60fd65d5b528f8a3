"""The gradients of convolutions as functions. Page: https://docs.pytorch.org/docs/stable/nn.html"""

from iskra.autograd import enable_grad, grad, is_grad_enabled
from iskra.nn import functional as F
from iskra.ops import zeros

__all__ = [
    "conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input",
    "conv3d_weight",
]


def _gradient(convolve, size, weight, of_input, grad_output, settings):
    """The gradient of a linear function of its input (or weight), which need not be known."""
    create_graph = is_grad_enabled() and (weight.requires_grad or grad_output.requires_grad)
    with enable_grad():
        unknown = zeros(size, dtype=grad_output.dtype, device=grad_output.device)
        unknown.requires_grad_()
        arguments = (unknown, weight) if of_input else (weight, unknown)
        output = convolve(*arguments, None, *settings)
        return grad(output, unknown, grad_output, create_graph=create_graph)[0]


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv1d with respect to its input, of shape `input_size`.

    Source: `torch.nn.grad.conv1d_input`.

    >>> import iskra as torch
    >>> from iskra.nn.grad import conv1d_input
    >>> conv1d_input((1, 1, 3), torch.ones(1, 1, 2), torch.ones(1, 1, 2))
    tensor([[[1., 2., 1.]]])
    """
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv1d, input_size, weight, True, grad_output, settings)


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv1d with respect to its weight, of shape `weight_size`."""
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv1d, weight_size, input, False, grad_output, settings)


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv2d with respect to its input, of shape `input_size`."""
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv2d, input_size, weight, True, grad_output, settings)


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv2d with respect to its weight, of shape `weight_size`."""
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv2d, weight_size, input, False, grad_output, settings)


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv3d with respect to its input, of shape `input_size`."""
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv3d, input_size, weight, True, grad_output, settings)


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv3d with respect to its weight, of shape `weight_size`."""
    settings = (stride, padding, dilation, groups)
    return _gradient(F.conv3d, weight_size, input, False, grad_output, settings)
