"""Checks of options that optimizers share; each raises PyTorch's class of error."""

from iskra.tensor import Tensor


def check_lr(lr, foreach=None, capturable=False, name="learning rate"):
    """Raise ValueError unless `lr` is at least 0 and, as a tensor, has one element."""
    if isinstance(lr, Tensor):
        if foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True; "
                "leave foreach out"
            )
        if lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element, but has shape {tuple(lr.shape)}")
    check_at_least_0(name, lr)


def check_at_least_0(name, value):
    """Raise ValueError unless ``value >= 0``."""
    if not value >= 0:
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas):
    """Raise ValueError unless both betas are at least 0 and below 1."""
    for i, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_speed_options(foreach=None, fused=None, differentiable=False):
    """Raise RuntimeError for contradictory ways to run the step. They change no result here."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`; leave fused out")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together; give one of them")
