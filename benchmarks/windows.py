"""Windows over images: pooling, resizing, columns, sampling; and recurrent layers."""

from benchmarks.cases import case, normal

CASES = {}


def windows(name, goal=1.0, tolerance=1e-4):
    """The decorator of a case."""
    return case(CASES, name, goal=goal, tolerance=tolerance, checked_steps=1)


def both_ways(name, shape, function, goal=1.0):
    """A case for the function of an image, and one for its gradient."""
    @windows(name, goal=goal)
    def forward(T):
        x = normal(T, *shape)
        return lambda: function(T.nn.functional, x)

    @windows(f"{name}: the gradient", goal=goal)
    def backward(T):
        x = normal(T, *shape, requires_grad=True)
        result = function(T.nn.functional, x)
        g = normal(T, *result.shape, seed=1)
        return lambda: T.autograd.grad(result, x, g, retain_graph=True)[0]


LARGE, SMALL = (64, 64, 56, 56), (16, 32, 28, 28)
both_ways("max_pool2d 3, stride 2, 64×64×56×56", LARGE, lambda F, x: F.max_pool2d(x, 3, 2, 1))
both_ways("max_pool2d 2, 16×32×28×28", SMALL, lambda F, x: F.max_pool2d(x, 2))
both_ways("avg_pool2d 3, stride 2, 64×64×56×56", LARGE, lambda F, x: F.avg_pool2d(x, 3, 2, 1))
both_ways("avg_pool2d 2, 16×32×28×28", SMALL, lambda F, x: F.avg_pool2d(x, 2))
both_ways("adaptive_avg_pool2d to 7×7, 16×64×28×28", (16, 64, 28, 28),
          lambda F, x: F.adaptive_avg_pool2d(x, 7))
both_ways("adaptive_max_pool2d to 7×7, 16×64×28×28", (16, 64, 28, 28),
          lambda F, x: F.adaptive_max_pool2d(x, 7))
both_ways("adaptive_max_pool2d to 7×7, 16×64×30×30", (16, 64, 30, 30),
          lambda F, x: F.adaptive_max_pool2d(x, 7))
both_ways("max_pool3d 2, 4×8×16×28×28", (4, 8, 16, 28, 28), lambda F, x: F.max_pool3d(x, 2))
for mode in ("nearest", "bilinear", "bicubic"):
    both_ways(f"interpolate to twice the size, {mode}", SMALL,
              lambda F, x, mode=mode: F.interpolate(x, scale_factor=2, mode=mode))
both_ways("interpolate 224×224 to 112×112, bilinear", (8, 3, 224, 224),
          lambda F, x: F.interpolate(x, size=(112, 112), mode="bilinear"))
both_ways("pixel_shuffle 2, 16×64×28×28", (16, 64, 28, 28), lambda F, x: F.pixel_shuffle(x, 2))
both_ways("unfold 3, 16×32×56×56", (16, 32, 56, 56), lambda F, x: F.unfold(x, 3, padding=1))
both_ways("unfold 16, stride 16, 16×3×224×224", (16, 3, 224, 224),
          lambda F, x: F.unfold(x, 16, stride=16))


def grid_of(T, count, height, width):
    """Places within and a little beyond the image."""
    return normal(T, count, height, width, 2, seed=3) * 0.5


def sampled(mode):
    """Cases for sampling an image at a grid's places, and for the gradients of both."""
    label = f"grid_sample, {mode}, 8×16×56×56"

    def sample(T, x, grid):
        return T.nn.functional.grid_sample(x, grid, mode, align_corners=False)

    @windows(label)
    def forward(T):
        x, grid = normal(T, 8, 16, 56, 56), grid_of(T, 8, 56, 56)
        return lambda: sample(T, x, grid)

    # What the grid's gradient adds up cancels, and its places are rounded.
    @windows(f"{label}: both gradients", tolerance=5e-3)
    def backward(T):
        x = normal(T, 8, 16, 56, 56, requires_grad=True)
        grid = grid_of(T, 8, 56, 56).requires_grad_()
        result = sample(T, x, grid)
        g = normal(T, *result.shape, seed=1)
        return lambda: list(T.autograd.grad(result, (x, grid), g, retain_graph=True))


for mode in ("bilinear", "nearest", "bicubic"):
    sampled(mode)


def recurrent(kind, width, steps, rows, goal, packed=False, **settings):
    """The forward pass of a layer, and a training step's way from its input to all gradients.

    packed: over sequences of unequal length, from 1 to `steps`.
    """
    def prepared(T):
        layer = getattr(T.nn, kind)(width, width, **settings)
        for seed, parameter in enumerate(layer.parameters()):
            parameter.data.copy_(normal(T, *parameter.shape, seed=seed) * width ** -0.5)
        x = normal(T, steps, rows, width, seed=9)
        if not packed:
            return lambda x: layer(x)[0], x, layer
        lengths = [steps - steps * row // rows for row in range(rows)]
        sequences = T.nn.utils.rnn.pack_padded_sequence(x, lengths)

        def over_data(x):
            return layer(type(sequences)(x, sequences.batch_sizes))[0].data
        return over_data, sequences.data.detach(), layer

    label = f"{kind}, {steps} steps of {rows}×{width}" + ", packed" * packed
    label += "".join(f", {name} {value}" for name, value in settings.items())

    @windows(label, goal=goal)
    def forward(T):
        run, x, _ = prepared(T)

        def step():
            with T.no_grad():
                return run(x)
        return step

    @windows(f"{label}: forward and backward", goal=goal)
    def both(T):
        run, x, layer = prepared(T)
        x.requires_grad_()
        wanted = [x, *layer.parameters()]

        def step():
            output = run(x)
            return list(T.autograd.grad((output * output).mean(), wanted))
        return step


for kind in ("LSTM", "GRU", "RNN"):
    recurrent(kind, 256, 50, 32, 0.8)
    recurrent(kind, 64, 20, 16, 0.8)
recurrent("LSTM", 256, 50, 32, 0.8, packed=True)
recurrent("LSTM", 256, 50, 32, 0.8, proj_size=128)
