"""Images whose channels come last in memory: ``(N, C, H, W)`` laid out as ``(N, H, W, C)``.

What works on windows of images keeps that layout. To the kernels such an image is one plane for
each sample, of three dimensions (H, W, C), of which the last is left alone.
"""

import numpy as np


def is_channels_last(array):
    """Whether the channels of an image ``(N, C, H, W)`` lie side by side in memory.

    >>> image = np.zeros((1, 2, 3, 4))
    >>> is_channels_last(image), is_channels_last(image.transpose(0, 3, 1, 2))
    (False, True)
    """
    return (array.__class__ is np.ndarray and array.ndim == 4 and not array.flags.c_contiguous
            and array.transpose(0, 2, 3, 1).flags.c_contiguous)


def as_planes(array):
    """The image as ``(N, 1, H, W, C)``, a view."""
    return array.transpose(0, 2, 3, 1)[:, None]


def from_planes(array):
    """The image ``(N, C, H, W)`` that `as_planes` made ``(N, 1, H, W, C)``, a view."""
    return array[:, 0].transpose(0, 3, 1, 2)


def laid_out_as(result, image):
    """The result, copied if the image's channels come last and its own do not."""
    if result is None or not is_channels_last(image) or is_channels_last(result):
        return result
    return from_planes(np.ascontiguousarray(as_planes(result)))
