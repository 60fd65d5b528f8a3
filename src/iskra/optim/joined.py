"""Many small parameters updated as one vector: the calls cost more than the arithmetic."""

import numpy as np

from iskra.dispatch.variants import bump


def can_join(members):
    """Whether these may be joined: plain memory, and state that is no view of other tensors."""
    return all(
        tensors[0]._array.__class__ is np.ndarray
        and tensors[0]._array.dtype.char in "fd"
        and all(t._base is None for t in tensors[1:])
        for _, tensors in members
    )


class Joined:
    """The state of several parameters, moved into one vector for each name.

    The tensors in the optimizer's state stay what they are, but their memory now lies in these
    vectors. Gradients and parameters are gathered at each step, and parameters written back.
    `members` is a list of ``(grad, [parameter, state tensor, ...])``.
    """

    def __init__(self, members):
        self.count = len(members)
        self.vectors, self.parts = [], []
        columns = list(zip(*[tensors[1:] for _, tensors in members]))
        for column in columns:
            vector = np.concatenate([t._array for t in column], None)
            parts = _parts(vector, [t._array.shape for t in column])
            for t, part in zip(column, parts):
                t._array, t._storage = part, None
            self.vectors.append(vector)
            self.parts.append(parts)

    def holds(self, members):
        """Whether the state of just these parameters lies in the vectors."""
        if len(members) != self.count:
            return False
        for i, (_, tensors) in enumerate(members):
            if tensors[0]._array.__class__ is not np.ndarray:
                return False
            for k, parts in enumerate(self.parts, 1):
                if tensors[k]._array is not parts[i]:
                    return False
        return True

    def rewrite(self, formula, members, numbers):
        """Give parameters and state the values that `formula` computes for them."""
        grad = np.concatenate([grad._array for grad, _ in members], None)
        param = np.concatenate([tensors[0]._array for _, tensors in members], None)
        param, *state = formula(np, grad, [param, *self.vectors], *numbers)
        for vector, new in zip(self.vectors, state):
            vector[...] = new
        start = 0
        for _, tensors in members:
            array = tensors[0]._array
            stop = start + array.size
            array[...] = param[start:stop].reshape(array.shape)
            start = stop
            for t in tensors:
                bump(t)


def _parts(vector, shapes):
    """Views of consecutive parts of a vector, in the given shapes."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + int(np.prod(shape))
        parts.append(vector[start:stop].reshape(shape))
        start = stop
    return parts
