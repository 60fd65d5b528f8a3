"""``iskra.version``: which release this is, and which of PyTorch's it stands in for.

>>> import iskra as torch
>>> torch.version.cuda is None
True
"""

import re

__all__ = ["TorchVersion", "__version__", "cuda", "debug", "git_version", "hip", "torch", "xpu"]


class TorchVersion(str):
    """A version as text, that compares with texts and tuples by its numbers.

    >>> TorchVersion("2.13.0+iskra") >= "2.9", TorchVersion("2.13.0") < (3, 0)
    (True, True)
    """

    __slots__ = ()

    def _beside(self, other):
        mine, theirs = _numbers(self), _numbers(other)
        width = max(len(mine), len(theirs))
        return mine + (0,) * (width - len(mine)), theirs + (0,) * (width - len(theirs))

    def __lt__(self, other):
        mine, theirs = self._beside(other)
        return mine < theirs

    def __le__(self, other):
        mine, theirs = self._beside(other)
        return mine <= theirs

    def __gt__(self, other):
        mine, theirs = self._beside(other)
        return mine > theirs

    def __ge__(self, other):
        mine, theirs = self._beside(other)
        return mine >= theirs

    def __eq__(self, other):
        if isinstance(other, str):
            return str(self) == str(other)
        mine, theirs = self._beside(other)
        return mine == theirs

    __hash__ = str.__hash__


def _numbers(version):
    """The release part of a version: (2, 13, 0) of "2.13.0+cpu"."""
    if isinstance(version, str):
        return tuple(map(int, re.match(r"[0-9.]*", version)[0].strip(".").split(".")))
    return tuple(version)


__version__ = TorchVersion("0.1.0")
# The release whose documented behaviour Iskra follows; a PyTorch script is told this one.
torch = TorchVersion(f"2.13.0+iskra.{__version__}")
cuda = hip = xpu = git_version = None
debug = False
