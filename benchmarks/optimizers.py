"""An optimizer's step over 10M parameters in 100 tensors, each framework in its default way."""

import functools

from benchmarks.cases import case, normal

CASES = {}
TENSORS, SHAPE = 100, (250, 400)
optimizers = functools.partial(case, CASES, goal=0.7, checked_steps=3)


def stepping(T, optimizer, **options):
    """Steps with the same gradients again and again; returns the first tensor and the last."""
    parameters = [normal(T, *SHAPE, seed=seed, requires_grad=True) for seed in range(TENSORS)]
    for seed, parameter in enumerate(parameters, TENSORS):
        parameter.grad = normal(T, *SHAPE, seed=seed)
    optimizer = optimizer(parameters, **options)

    def step():
        optimizer.step()
        return parameters[0], parameters[-1]
    return step


@optimizers("Adam")
def adam(T):
    return stepping(T, T.optim.Adam, lr=1e-3)


@optimizers("AdamW")
def adamw(T):
    return stepping(T, T.optim.AdamW, lr=1e-3, weight_decay=0.1)


@optimizers("SGD, momentum")
def sgd(T):
    return stepping(T, T.optim.SGD, lr=1e-3, momentum=0.9)
