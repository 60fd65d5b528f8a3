"""A linear layer and cross-entropy in one function."""

import math

from iskra import ops


def linear_cross_entropy(
    input, linear_weight, target, *, linear_bias=None, weight=None, reduction="mean",
    ignore_index=None, label_smoothing=0.0, options=None,
):
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ...).

    Shapes: input (N, I) or (I); linear_weight (C, I), or (C, d1, ..., I) for a loss with more
    dimensions; target as for cross_entropy. `ignore_index` None means -100. `options` tunes memory
    in PyTorch and changes nothing here.

    Raises RuntimeError where shapes do not fit, or for `ignore_index` with class probabilities.
    Source: `torch.nn.functional.linear_cross_entropy`.

    >>> import iskra as torch
    >>> x, w = torch.zeros(2, 3), torch.ones(4, 3)
    >>> torch.nn.functional.linear_cross_entropy(x, w, torch.tensor([0, 3]))
    tensor(1.3863)
    """
    classes, features = _check(input, linear_weight, linear_bias)
    shape = (*input.shape[:-1], *classes)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    flat_weight = linear_weight.reshape(math.prod(classes), features)
    flat_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = ops.linear(input, flat_weight, flat_bias).reshape(shape)
    return ops.cross_entropy(
        logits, target, weight=weight, reduction=reduction, label_smoothing=label_smoothing,
        ignore_index=-100 if ignore_index is None else ignore_index,
    )


def _check(input, weight, bias):
    """The shape of one sample's logits and the number of features."""
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {weight.dim()}"
        )
    if input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {input.shape[-1]} and {weight.shape[-1]}, respectively"
        )
    classes = tuple(weight.shape[:-1])
    if bias is not None and tuple(bias.shape) != classes:
        raise RuntimeError(f"expected linear_bias shape {classes}, got {tuple(bias.shape)}")
    if len(classes) > 1 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires "
            f"batched input, got unbatched input with shape {tuple(input.shape)}"
        )
    return classes, weight.shape[-1]
