"""Whole training steps of networks so small that what a call costs decides, as in `training`."""

import functools

from benchmarks import networks
from benchmarks.cases import case, normal
from benchmarks.training import classes, training_step

CASES = {}
small = functools.partial(case, CASES, goal=1.0, tolerance=1e-4, checked_steps=3)


@small("MLP 16-32-32-4 with LayerNorm, 32 rows")
def mlp(T):
    nn = T.nn
    model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 32),
                          nn.Tanh(), nn.Linear(32, 4))
    return training_step(T, model, T.optim.AdamW, normal(T, 32, 16), classes(T, 4, 32), lr=1e-3)


@small("CNN of 8 and 16 channels, 16 images of 8×8")
def cnn(T):
    nn = T.nn
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    return training_step(T, model, T.optim.AdamW, normal(T, 16, 1, 8, 8), classes(T, 10, 16),
                         lr=1e-3)


@small("LSTM of 32, 8 × 10")
def lstm(T):
    return training_step(T, networks.lstm_reader(T, 8, 32, 4), T.optim.AdamW, normal(T, 8, 10, 8),
                         classes(T, 4, 8), lr=1e-3)


@small("GPT 2 × 32, 4 × 16 tokens")
def gpt(T):
    tokens = classes(T, 32, 4, 17)
    return training_step(T, networks.gpt(T, 2, 32, 4, 16, 32), T.optim.AdamW, tokens[:, :-1],
                         tokens[:, 1:], lr=1e-3)
