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
    "set_rng_state",
]
