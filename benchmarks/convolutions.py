"""Convolutions of the shapes that networks have, forward and backward."""

import functools

from benchmarks.cases import case, normal

CASES = {}
convolutions = functools.partial(case, CASES, tolerance=1e-3, checked_steps=1)

# samples, channels in, height and width, channels out, kernel, stride, padding, groups
SHAPES = {
    "3×3, 64 → 64 at 56×56": (16, 64, 56, 64, 3, 1, 1, 1),
    "3×3, 1 → 32 at 28×28": (64, 1, 28, 32, 3, 1, 1, 1),
    "3×3, 32 → 64 at 14×14": (64, 32, 14, 64, 3, 1, 1, 1),
    "3×3, 256 → 256 at 14×14": (16, 256, 14, 256, 3, 1, 1, 1),
    "3×3, stride 2, 64 → 128 at 56×56": (16, 64, 56, 128, 3, 2, 1, 1),
    "7×7, stride 2, 3 → 64 at 224×224": (4, 3, 224, 64, 7, 2, 3, 1),
    "1×1, 256 → 64 at 56×56": (16, 256, 56, 64, 1, 1, 0, 1),
    "3×3, each of 128 channels at 28×28": (16, 128, 28, 128, 3, 1, 1, 128),
}


# Those that are timed with their channels last in memory too.
CHANNELS_LAST = ("3×3, 64 → 64 at 56×56", "1×1, 256 → 64 at 56×56",
                 "3×3, each of 128 channels at 28×28")


def add(name, shape, last=False):
    """The convolution, its input's gradient and its weight's; last: with channels last."""
    samples, channels, size, out, kernel, stride, padding, groups = shape
    if last:
        name = f"{name}, channels last"

    def laid_out(T, *shape, requires_grad=False, seed=0):
        x = normal(T, *shape, seed=seed)
        if last:
            x = x.contiguous(memory_format=T.channels_last)
        return x.requires_grad_(requires_grad)

    def operands(T, gradient):
        x = laid_out(T, samples, channels, size, size, requires_grad=gradient == "input")
        w = laid_out(T, out, channels // groups, kernel, kernel, seed=1,
                     requires_grad=gradient == "weight")
        return x, w

    def convolve(T, x, w):
        return T.nn.functional.conv2d(x, w, stride=stride, padding=padding, groups=groups)

    @convolutions(name, goal=1.0)
    def forward(T):
        x, w = operands(T, None)
        return lambda: convolve(T, x, w)

    def add_gradient(gradient):
        @convolutions(f"{name}: the {gradient}'s gradient", goal=1.0)
        def backward(T):
            x, w = operands(T, gradient)
            result = convolve(T, x, w)
            g = laid_out(T, *result.shape, seed=2)
            wanted = x if gradient == "input" else w
            return lambda: T.autograd.grad(result, wanted, g, retain_graph=True)[0]

    add_gradient("input")
    add_gradient("weight")


for name, shape in SHAPES.items():
    add(name, shape)
    if name in CHANNELS_LAST:
        add(name, shape, last=True)
