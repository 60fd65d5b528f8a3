"""Parameters as one vector and back.

Page: https://docs.pytorch.org/docs/stable/nn.html#utilities
"""

from iskra.ops import cat
from iskra.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters):
    """All elements of the parameters, one after another, in one differentiable vector.

    Raises TypeError if they live on several devices.
    Source: `torch.nn.utils.parameters_to_vector`.

    >>> import iskra as torch
    >>> torch.nn.utils.parameters_to_vector([torch.ones(2, 1), torch.zeros(1)])
    tensor([1., 1., 0.])
    """
    parameters = _on_one_device(parameters)
    return cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec, parameters):
    """Let the parameters hold the elements of a vector, which they share.

    Source: `torch.nn.utils.vector_to_parameters`.

    >>> import iskra as torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> torch.nn.utils.vector_to_parameters(torch.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias.detach()
    tensor([3.])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a Tensor, but got: {type(vec).__name__}")
    start = 0
    for param in _on_one_device(parameters):
        end = start + param.numel()
        param.data = vec[start:end].view_as(param).data
        start = end


def _on_one_device(parameters):
    parameters = list(parameters)
    if len({param.device for param in parameters}) > 1:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )
    return parameters
