"""Learning rate schedulers.

Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
"""

from iskra.optim.lr_scheduler.base import LRScheduler
from iskra.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from iskra.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from iskra.optim.lr_scheduler.cyclic import CyclicLR, OneCycleLR
from iskra.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from iskra.optim.lr_scheduler.plateau import ReduceLROnPlateau

_LRScheduler = LRScheduler  # its name in older programs

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]
