"""The default generator's seed and state, and the tensor form of a generator's state.

Source: https://docs.pytorch.org/docs/stable/random.html
"""

import contextlib

import numpy as np

from iskra.core import Generator, default_generator, uint8
from iskra.tensor import Tensor, wrap

__all__ = [
    "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
    "set_rng_state",
]


def manual_seed(seed):
    """Seed the default generator with an int from ``-2**63`` to ``2**64 - 1``; return it.

    The streams that follow are PyTorch's on the CPU, bit for bit.
    Raises ValueError outside that range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.manual_seed.html

    >>> import iskra as torch
    >>> torch.manual_seed(0).initial_seed()
    0
    >>> torch.randint(10, (5,))
    tensor([4, 9, 3, 0, 3])
    """
    return default_generator.manual_seed(int(seed))


def seed():
    """Seed the default generator from the operating system's randomness; return that seed.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.seed.html

    >>> import iskra as torch
    >>> torch.seed() == torch.initial_seed()
    True
    """
    return default_generator.seed()


def initial_seed():
    """Return the seed of the default generator.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.initial_seed.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(3)
    >>> torch.initial_seed()
    3
    """
    return default_generator.initial_seed()


def get_rng_state():
    """Return the default generator's state: a uint8 tensor of 5056 elements, PyTorch's layout.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.get_rng_state.html

    >>> import iskra as torch
    >>> state = torch.get_rng_state()
    >>> first = torch.rand(3)
    >>> torch.set_rng_state(state)
    >>> torch.equal(torch.rand(3), first)
    True
    """
    return default_generator.get_state()


def set_rng_state(new_state):
    """Let the default generator continue from a state that `get_rng_state` returned.

    Raises TypeError unless it is a uint8 tensor, RuntimeError if it is no such state.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_rng_state.html
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, device_type=None):
    """A block after which the default generator is again in the state it had before.

    Source: https://docs.pytorch.org/docs/stable/random.html#torch.random.fork_rng

    >>> import iskra as torch
    >>> with torch.random.fork_rng():
    ...     first = torch.rand(2)
    >>> torch.equal(torch.rand(2), first)
    True
    """
    if not enabled or device_type == "meta":
        yield
        return
    state = default_generator.state_bytes()
    try:
        yield
    finally:
        default_generator.load_state_bytes(state)


def _get_state(self):
    """Return the state: a uint8 tensor of 5056 elements, in PyTorch's layout.

    >>> import iskra as torch
    >>> torch.Generator().get_state().shape
    iskra.Size([5056])
    """
    return wrap(self.state_bytes(), uint8)


def _set_state(self, new_state):
    """Continue from a state that `get_state` (or PyTorch's) returned.

    Raises TypeError unless it is a uint8 tensor, RuntimeError if it is no such state.
    """
    if not isinstance(new_state, Tensor):
        raise TypeError(f"expected a ByteTensor, but got {type(new_state).__name__}")
    if new_state._dtype is not uint8:
        raise TypeError(f"RNG state must be a ByteTensor, but its dtype is {new_state._dtype}")
    self.load_state_bytes(np.ascontiguousarray(new_state._array))


# The generator itself knows no tensors.
Generator.get_state = _get_state
Generator.set_state = _set_state
