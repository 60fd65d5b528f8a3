"""Convolutions in one, two and three dimensions, and transposed ones.

One operator, `convolution`, serves all: its two gradients are operators too, each of which is the
gradient of the others, so that derivatives of any order are convolutions.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#convolution-functions
"""

import numpy as np

from iskra.codegen import kernels
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.arithmetic import conj_of
from iskra.ops.correlation import Geometry, correlate, correlation_of, spread
from iskra.ops.formats import is_channels_last, laid_out_as
from iskra.ops.joining import cat
from iskra.ops.view import unsqueeze

INTERNAL = dict(method=False, function=False, out=False, computes=True)
BOTH = dict(namespace="torch nn.functional", method=False)


def windows(array, kernel, stride, dilation):
    """A view ``(N, C, *output, *kernel)`` of the places that a kernel visits in ``(N, C, *input)``.
    """
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(array.shape[2:], kernel, stride, dilation, strict=True)
    ]
    steps = array.strides[2:]
    shape = (*array.shape[:2], *sizes, *kernel)
    strides = (
        *array.strides[:2], *(s * st for s, st in zip(stride, steps, strict=True)),
        *(d * st for d, st in zip(dilation, steps, strict=True)),
    )
    return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=False)


def padded(array, padding, value=0):
    """`array` with `padding` elements of `value` at both ends of each spatial dimension."""
    if not any(padding):
        return array
    inner = tuple(slice(p, p + n) for p, n in zip(padding, array.shape[2:], strict=True))
    shape = [n + 2 * p for n, p in zip(array.shape[2:], padding, strict=True)]
    result = np.full((*array.shape[:2], *shape), value, array.dtype)
    result[(slice(None), slice(None), *inner)] = array
    return result


@operator(
    autocast="lower", **INTERNAL, operands="input weight bias", node="ConvolutionBackward0",
    repeats=True,
    grad={
        "input": lambda g, weight, input_shape, stride, padding, dilation, groups: conv_input(
            g, conj_of(weight), input_shape, stride, padding, dilation, groups
        ),
        "weight": lambda g, input, weight_shape, stride, padding, dilation, groups: conv_weight(
            g, conj_of(input), weight_shape, stride, padding, dilation, groups
        ),
        "bias": lambda g: g.sum((0, *range(2, g.ndim))),
    },
    samples=lambda make: [
        ((make((2, 4, 5)), make((6, 2, 3)), make((6,)), (2,), (1,), (1,), 2), {}),
        ((make((1, 2, 5, 4)), make((3, 2, 2, 3)), None, (1, 2), (1, 0), (2, 1), 1), {}),
        ((make((1, 16, 3)), make((2, 16, 2)), make((2,)), (1,), (1,), (1,), 1), {}),
        ((make((1, 3, 5)), make((3, 1, 2)), None, (2,), (0,), (1,), 3), {}),
    ],
)
def convolution(
    input, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1
):
    """Convolve ``(N, C, *input)`` with ``(out, C/groups, *kernel)``; add a number per channel.

    Here and in the gradients: if an operand has its channels last in memory, so has the result.
    """
    geometry = Geometry(stride, padding, dilation, groups)
    if _has_kernels(input, weight):
        return kernels.convolutions.convolve(input, weight, *geometry.settings(), bias)
    result = correlate(input, weight, geometry)
    if bias is not None:
        result += by_channel(bias, result.ndim)
    return _laid_out(result, input, weight)


def _laid_out(result, *operands):
    """What NumPy computed, channels last if an operand has them last."""
    return laid_out_as(result, next(filter(is_channels_last, operands), result))


def _has_kernels(first, second):
    """Whether the kernels of convolutions take these arrays, and are worth it."""
    return first.__class__ is second.__class__ is np.ndarray and (
        min(first.size, second.size) > 0 and kernels.convolutions.worthwhile(first, second))


def by_channel(values, rank):
    """One number per channel, shaped to broadcast over ``(N, C, *spatial)``."""
    return values.reshape((-1,) + (1,) * (rank - 2))


def _cut(result, shape):
    """Leave out windows that the operation of that shape did not have (output padding)."""
    if result.shape == shape:
        return result
    return result[(slice(None), slice(None), *[slice(n) for n in shape[2:]])]


@operator(**INTERNAL, operands="grad weight bias", repeats=True, node="ConvolutionBackward0", grad={
    "grad": lambda g, weight, grad_shape, stride, padding, dilation, groups: _cut(
        convolution(g, conj_of(weight), None, stride, padding, dilation, groups), grad_shape
    ),
    "weight": lambda g, grad, weight_shape, stride, padding, dilation, groups: conv_weight(
        conj_of(grad), g, weight_shape, stride, padding, dilation, groups
    ),
    "bias": lambda g: g.sum((0, *range(2, g.ndim))),
}, samples=lambda make: [
    ((make((2, 6, 3)), make((6, 2, 3)), (2, 4, 5), (2,), (1,), (1,), 2), {}),
])
def conv_input(grad, weight, shape, stride, padding, dilation, groups, bias=None):
    """The gradient of `convolution` with respect to an input of this shape; also: transposed."""
    geometry = Geometry(stride, padding, dilation, groups)
    size, kernel = tuple(shape[2:]), weight.shape[2:]
    if _has_kernels(grad, weight) and geometry.output_size(size, kernel) == grad.shape[2:]:
        result = kernels.convolutions.convolve_input(grad, weight, size, *geometry.settings())
    else:
        result = _laid_out(spread(grad, weight, shape, geometry), grad, weight)
    if bias is not None:
        result += by_channel(bias, result.ndim)
    return result


@operator(**INTERNAL, operands="grad input", repeats=True, node="ConvolutionBackward0", grad={
    "grad": lambda g, input, grad_shape, stride, padding, dilation, groups: _cut(
        convolution(conj_of(input), g, None, stride, padding, dilation, groups), grad_shape
    ),
    "input": lambda g, grad, input_shape, stride, padding, dilation, groups: conv_input(
        conj_of(grad), g, input_shape, stride, padding, dilation, groups
    ),
}, samples=lambda make: [
    ((make((2, 6, 3)), make((2, 4, 5)), (6, 2, 3), (2,), (1,), (1,), 2), {}),
])
def conv_weight(grad, input, shape, stride, padding, dilation, groups):
    """The gradient of `convolution` with respect to a weight of this shape."""
    geometry = Geometry(stride, padding, dilation, groups)
    size, kernel = input.shape[2:], tuple(shape[2:])
    if _has_kernels(grad, input) and geometry.output_size(size, kernel) == grad.shape[2:]:
        return kernels.convolutions.convolve_weight(grad, input, kernel, *geometry.settings())
    return _laid_out(correlation_of(grad, input, shape, geometry), grad, input)


def numbers(value, rank, name):
    """A setting per spatial dimension, from one number or from one per dimension."""
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            return tuple(value) * rank
        if len(value) != rank:
            raise RuntimeError(
                f"expected {name} to be a single integer value or a list of {rank} values to match "
                f"the convolution dimensions, but got {name}={list(value)}"
            )
        return tuple(value)
    return (value,) * rank


def _check(name, input, weight, bias, groups, rank, transposed=False):
    if weight.dim() != rank + 2:
        raise RuntimeError(
            f"{name}: Expected {rank + 2}D weight for {rank} spatial dimensions, but got weight of "
            f"size {format_shape(weight.shape)}"
        )
    if input.dim() not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got "
            f"input of size: {format_shape(input.shape)}"
        )
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"{name}: Input type ({input.dtype}) and weight type ({weight.dtype}) should be the "
            "same; convert one of them with .to(dtype)"
        )
    if bias is not None and bias.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Input type ({input.dtype}) and bias type ({bias.dtype}) should be the same"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    channels = input.size(-rank - 1)
    expected = weight.size(0) if transposed else weight.size(1) * groups
    outputs = weight.size(1) * groups if transposed else weight.size(0)
    if weight.size(0) % groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at "
            f"dimension 0, but got weight of size {format_shape(weight.shape)} instead"
        )
    if channels != expected:
        raise RuntimeError(
            f"{name}: Given groups={groups}, weight of size {format_shape(weight.shape)}, expected "
            f"input{format_shape(input.shape)} to have {expected} channels, but got {channels} "
            "channels instead"
        )
    if bias is not None and (bias.dim() != 1 or bias.size(0) != outputs):
        raise RuntimeError(
            f"{name}: Given weight of size {format_shape(weight.shape)}, expected bias to be "
            f"1-dimensional with {outputs} elements, but got bias of size "
            f"{format_shape(bias.shape)} instead"
        )


def _check_settings(name, stride, padding, dilation):
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"{name}: non-positive stride is not supported")
    if any(p < 0 for p in padding):
        raise RuntimeError(f"{name}: negative padding is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"{name}: dilation should be greater than zero")


def _named_padding(name, padding, input, kernel, stride, dilation):
    """``"same"`` and ``"valid"``; returns the input (padded where sides differ) and numbers."""
    if padding == "valid":
        return input, (0,) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    both = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    for dim, extra in enumerate(both):
        if extra % 2:  # one more at the end than at the beginning
            shape = list(input.shape)
            shape[dim - len(kernel)] = 1
            input = cat((input, input.new_zeros(shape)), dim - len(kernel))
    return input, tuple(extra // 2 for extra in both)


def _check_size(name, input, kernel, padding, dilation):
    sizes = [n + 2 * p for n, p in zip(input.shape[2:], padding, strict=True)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(n < r for n, r in zip(sizes, reach, strict=True)):
        raise RuntimeError(
            f"{name}: Calculated padded input size per channel: ({' x '.join(map(str, sizes))}). "
            f"Kernel size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than "
            "actual input size"
        )


def _convolve(rank, input, weight, bias, stride, padding, dilation, groups):
    name = f"conv{rank}d"
    _check(name, input, weight, bias, groups, rank)
    stride = numbers(stride, rank, "stride")
    dilation = numbers(dilation, rank, "dilation")
    batched = input.dim() == rank + 2
    if not batched:
        input = unsqueeze(input, 0)
    kernel = weight.shape[2:]
    if isinstance(padding, str):
        input, padding = _named_padding(name, padding, input, kernel, stride, dilation)
    padding = numbers(padding, rank, "padding")
    _check_settings(name, stride, padding, dilation)
    _check_size(name, input, kernel, padding, dilation)
    result = convolution(input, weight, bias, stride, padding, dilation, groups)
    return result if batched else result[0]


def _transpose(rank, input, weight, bias, stride, padding, output_padding, groups, dilation):
    name = f"conv_transpose{rank}d"
    _check(name, input, weight, bias, groups, rank, transposed=True)
    stride = numbers(stride, rank, "stride")
    padding = numbers(padding, rank, "padding")
    dilation = numbers(dilation, rank, "dilation")
    extra = numbers(output_padding, rank, "output_padding")
    _check_settings(name, stride, padding, dilation)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: output padding must be smaller than either stride or dilation, but got "
            f"output_padding={extra}, stride={stride}, dilation={dilation}"
        )
    batched = input.dim() == rank + 2
    if not batched:
        input = unsqueeze(input, 0)
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            input.shape[2:], stride, padding, dilation, weight.shape[2:], extra, strict=True
        )
    ]
    if any(n <= 0 for n in sizes):
        raise RuntimeError(
            f"{name}: the output would have size {sizes}; padding is too large for input of size "
            f"{format_shape(input.shape)}"
        )
    shape = (input.size(0), weight.size(1) * groups, *sizes)
    result = conv_input(input, weight, shape, stride, padding, dilation, groups, bias)
    return result if batched else result[0]


def _samples(rank, transposed=False):
    def samples(make):
        space, kernel = (5, 4, 4)[:rank], (3, 2, 2)[:rank]
        weight = (4, 3, *kernel) if transposed else (6, 2, *kernel)
        groups = 1 if transposed else 2
        calls = [((make((1, 4, *space)), make(weight)), {"groups": groups, "stride": 2})]
        weight = (4, 2, *kernel) if transposed else (2, 4, *kernel)
        calls += [((make((4, *space)), make(weight), make((2,))), {"padding": 1})]
        return calls

    return samples


@composite(autocast="lower", **BOTH, samples=_samples(1))
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve ``(N, C, L)`` (or ``(C, L)``) with a weight ``(out, C/groups, kernel)``.

    `padding` is numbers, ``"same"`` or ``"valid"``. Raises RuntimeError for shapes that don't fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv1d.html

    >>> import iskra as torch
    >>> x, weight = torch.arange(5.0).reshape(1, 1, 5), torch.ones(1, 1, 3)
    >>> torch.nn.functional.conv1d(x, weight)
    tensor([[[3., 6., 9.]]])
    """
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


@composite(autocast="lower", **BOTH, samples=_samples(2))
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve ``(N, C, H, W)`` (or without N) with a weight ``(out, C/groups, kH, kW)``.

    `padding` is numbers, ``"same"`` or ``"valid"``. Raises RuntimeError for shapes that don't fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html

    >>> import iskra as torch
    >>> x = torch.ones(1, 1, 3, 3)
    >>> torch.nn.functional.conv2d(x, torch.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


@composite(autocast="lower", **BOTH, samples=_samples(3))
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve ``(N, C, D, H, W)`` (or without N) with ``(out, C/groups, kD, kH, kW)``.

    `padding` is numbers, ``"same"`` or ``"valid"``. Raises RuntimeError for shapes that don't fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv3d.html

    >>> import iskra as torch
    >>> torch.nn.functional.conv3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2))
    tensor([[[[[8.]]]]])
    """
    return _convolve(3, input, weight, bias, stride, padding, dilation, groups)


@composite(autocast="lower", **BOTH, samples=_samples(1, transposed=True))
def conv_transpose1d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The gradient of a 1-d convolution as an operation: weight ``(C, out/groups, kernel)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose1d.html

    >>> import iskra as torch
    >>> x = torch.tensor([[[1.0, 2.0]]])
    >>> torch.nn.functional.conv_transpose1d(x, torch.ones(1, 1, 2), stride=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return _transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(autocast="lower", **BOTH, samples=_samples(2, transposed=True))
def conv_transpose2d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The gradient of a 2-d convolution as an operation: weight ``(C, out/groups, kH, kW)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html

    >>> import iskra as torch
    >>> x = torch.ones(1, 1, 1, 2)
    >>> torch.nn.functional.conv_transpose2d(x, torch.ones(1, 1, 1, 2))
    tensor([[[[1., 2., 1.]]]])
    """
    return _transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(autocast="lower", **BOTH, samples=_samples(3, transposed=True))
def conv_transpose3d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The gradient of a 3-d convolution as an operation: weight ``(C, out/groups, kD, kH, kW)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose3d.html

    >>> import iskra as torch
    >>> x = torch.ones(1, 1, 1, 1, 2)
    >>> torch.nn.functional.conv_transpose3d(x, torch.ones(1, 1, 1, 1, 2))
    tensor([[[[[1., 2., 1.]]]]])
    """
    return _transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
