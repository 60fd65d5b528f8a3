"""The default random generator: its seed, its state, and blocks that leave it as it was.

Source: https://docs.pytorch.org/docs/stable/random.html
"""

from iskra.ops.seeding import (
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
    "set_rng_state", "thread_safe_generator",
]


def thread_safe_generator():
    """The generator of the loader's thread that runs this; None: take the default one.

    The workers of this package's loaders are processes, each with a default generator of its own,
    so that it is always None.

    >>> import iskra as torch
    >>> torch.rand(2, generator=torch.random.thread_safe_generator()).shape
    iskra.Size([2])
    """
    return None
