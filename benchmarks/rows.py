"""Row by row: softmax, the norms and cross-entropy, forward, and forward with backward."""

import functools

import numpy

from benchmarks.cases import case, normal

CASES = {}
SHAPES = {"4096×768": (4096, 768), "512×32000": (512, 32000)}


def rows(name, short=None, **fields):
    """A case for each shape of a `make` that takes T and the numbers of rows and columns.

    `short` is one more shape, of many short rows.
    """
    def register(make):
        more = {} if short is None else {f"{short[0]}×{short[1]}": short}
        for label, (m, n) in {**SHAPES, **more}.items():
            case(CASES, f"{name}, {label}", goal=0.7, checked_steps=1,
                 **fields)(functools.partial(make, m=m, n=n))
        return make
    return register


def forward_and_backward(function, x, *weights):
    """The step from the rows to the gradients of everything that they pass through."""
    parameters = [tensor.requires_grad_() for tensor in (x, *weights)]

    def step(g=None):
        for parameter in parameters:
            parameter.grad = None
        function(*parameters).backward(g)
        return [parameter.grad for parameter in parameters]
    return step


@rows("softmax", short=(65536, 10))
def softmax(T, m, n):
    x = normal(T, m, n)
    return lambda: x.softmax(1)


@rows("softmax, both ways", short=(65536, 10))
def softmax_both(T, m, n):
    g = normal(T, m, n, seed=1)
    step = forward_and_backward(lambda x: x.softmax(1), normal(T, m, n))
    return lambda: step(g)


@rows("log_softmax")
def log_softmax(T, m, n):
    x = normal(T, m, n)
    return lambda: x.log_softmax(1)


@rows("log_softmax, both ways", tolerance=1e-4)
def log_softmax_both(T, m, n):
    g = normal(T, m, n, seed=1)
    step = forward_and_backward(lambda x: x.log_softmax(1), normal(T, m, n))
    return lambda: step(g)


@rows("layer_norm", short=(16384, 64))
def layer_norm(T, m, n):
    x, weight, bias = normal(T, m, n), normal(T, n, seed=2), normal(T, n, seed=3)
    return lambda: T.nn.functional.layer_norm(x, (n,), weight, bias)


# Of 16384 rows PyTorch's sums for the weight are off by several 1e-4.
@rows("layer_norm, both ways", short=(16384, 64), tolerance=1e-3)
def layer_norm_both(T, m, n):
    g = normal(T, m, n, seed=1)
    step = forward_and_backward(
        lambda x, weight, bias: T.nn.functional.layer_norm(x, (n,), weight, bias),
        normal(T, m, n), normal(T, n, seed=2), normal(T, n, seed=3))
    return lambda: step(g)


@rows("rms_norm")
def rms_norm(T, m, n):
    x, weight = normal(T, m, n), normal(T, n, seed=2)
    return lambda: T.nn.functional.rms_norm(x, (n,), weight)


@rows("rms_norm, both ways", tolerance=1e-4)
def rms_norm_both(T, m, n):
    g = normal(T, m, n, seed=1)
    step = forward_and_backward(lambda x, weight: T.nn.functional.rms_norm(x, (n,), weight),
                                normal(T, m, n), normal(T, n, seed=2))
    return lambda: step(g)


def classes(T, m, n):
    """A class of n for each of m rows."""
    return T.from_numpy(numpy.random.default_rng(1).integers(0, n, m))


@rows("cross_entropy")
def cross_entropy(T, m, n):
    x, target = normal(T, m, n), classes(T, m, n)
    return lambda: T.nn.functional.cross_entropy(x, target)


@rows("cross_entropy, both ways")
def cross_entropy_both(T, m, n):
    target = classes(T, m, n)
    return forward_and_backward(lambda x: T.nn.functional.cross_entropy(x, target),
                                normal(T, m, n))


IMAGES = {"32×256×14×14": (32, 256, 14, 14), "16×64×56×56": (16, 64, 56, 56)}


def norm(name, shapes, function, goal=1.0):
    """Cases of a norm with a weight and a bias for each channel: forward, and both ways.

    function: takes T, the elements, the weight, the bias and running statistics.
    """
    def inputs(T, shape):
        channels = shape[1]
        given = [normal(T, *shape), normal(T, channels, seed=2), normal(T, channels, seed=3)]
        return given, (T.zeros(channels), T.ones(channels))

    def forward(T, shape):
        given, running = inputs(T, shape)
        return lambda: function(T, *given, *running)

    def both(T, shape):
        given, running = inputs(T, shape)
        g = normal(T, *shape, seed=1)
        step = forward_and_backward(lambda *given: function(T, *given, *running), *given)
        return lambda: step(g)

    for label, shape in shapes.items():
        fields = dict(goal=goal, checked_steps=1, tolerance=1e-4)
        case(CASES, f"{name}, {label}", **fields)(functools.partial(forward, shape=shape))
        case(CASES, f"{name}, both ways, {label}", **fields)(functools.partial(both, shape=shape))


norm("group_norm of 8 groups", {**IMAGES, "4×32×8×8": (4, 32, 8, 8)},
     lambda T, x, weight, bias, *running: T.nn.functional.group_norm(x, 8, weight, bias))
norm("instance_norm", IMAGES,
     lambda T, x, weight, bias, *running: T.nn.functional.instance_norm(
         x, weight=weight, bias=bias))
for training in (True, False):
    norm("batch_norm, training" if training else "batch_norm, fixed",
         {"4096×512": (4096, 512), **IMAGES},
         lambda T, x, weight, bias, *running, training=training: T.nn.functional.batch_norm(
             x, *running, weight, bias, training))
norm("layer_norm", {"64×32": (64, 32)},
     lambda T, x, weight, bias, *running: T.nn.functional.layer_norm(
         x, (x.shape[1],), weight, bias), goal=0.7)
