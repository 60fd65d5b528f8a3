"""Optimizers and learning rate schedulers.

Source: https://docs.pytorch.org/docs/stable/optim.html
"""

import importlib
import os

from iskra.optim import lr_scheduler
from iskra.optim.adadelta import Adadelta
from iskra.optim.adafactor import Adafactor
from iskra.optim.adagrad import Adagrad
from iskra.optim.adam import Adam, AdamW
from iskra.optim.adamax import Adamax
from iskra.optim.asgd import ASGD
from iskra.optim.lbfgs import LBFGS
from iskra.optim.muon import Muon
from iskra.optim.nadam import NAdam
from iskra.optim.optimizer import Optimizer
from iskra.optim.radam import RAdam
from iskra.optim.rmsprop import RMSprop
from iskra.optim.rprop import Rprop
from iskra.optim.sgd import SGD
from iskra.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam", "lr_scheduler",
]

# `iskra.optim.swa_utils` needs `nn`, an equal of this room, and so lies in `compat`.
__path__.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "compat", "optim"))


def __getattr__(name):
    if name == "swa_utils":
        return importlib.import_module("iskra.optim.swa_utils")
    raise AttributeError(f"module 'iskra.optim' has no attribute '{name}'")
