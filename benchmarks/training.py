"""Whole training steps: forward, loss, backward, optimizer. What is checked is the losses.

`manual_seed` gives the same initial weights in both frameworks; both train on one batch.
"""

import functools
import subprocess
import sys

import numpy

from benchmarks import networks
from benchmarks.cases import case, normal

CASES = {}
# Later losses drift apart: an Adam step divides small gradients by their own size.
training = functools.partial(case, CASES, goal=1.0, tolerance=1e-4, checked_steps=3)


def training_step(T, model, optimizer, inputs, targets, **options):
    """A step that returns its loss."""
    cross_entropy = T.nn.functional.cross_entropy
    optimizer = optimizer(model.parameters(), **options)

    def step():
        optimizer.zero_grad()
        scores = model(inputs)
        loss = cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss
    return step


def classes(T, count, *shape, seed=1):
    """Random numbers below `count`."""
    return T.from_numpy(numpy.random.default_rng(seed).integers(0, count, shape))


@training("MLP 784-512-256-10, 128 images")
def mlp(T):
    return training_step(T, networks.digits_mlp(T), T.optim.Adam, normal(T, 128, 1, 28, 28),
                         classes(T, 10, 128), lr=1e-3)


@training("CNN, 64 images of 28×28")
def cnn(T):
    return training_step(T, networks.digits_cnn(T), T.optim.Adam, normal(T, 64, 1, 28, 28),
                         classes(T, 10, 64), lr=1e-3)


# Batch norms make rounding grow: after two steps the losses lie 1e-4 around float64's.
@training("ResNet-18, 16 images of 32×32", checked_steps=2)
def resnet(T):
    return training_step(T, networks.resnet18(T), T.optim.SGD, normal(T, 16, 3, 32, 32),
                         classes(T, 10, 16), lr=0.01, momentum=0.9, weight_decay=5e-4)


@training("LSTM of 256, 32 × 50")
def lstm(T):
    return training_step(T, networks.lstm_reader(T, 64, 256, 10), T.optim.Adam,
                         normal(T, 32, 50, 64), classes(T, 10, 32), lr=1e-3)


def gpt_step(T, layers, width, heads, length, batch, vocabulary):
    model = networks.gpt(T, layers, width, heads, length, vocabulary)
    tokens = classes(T, vocabulary, batch, length + 1)
    return training_step(T, model, T.optim.AdamW, tokens[:, :-1], tokens[:, 1:], lr=1e-3,
                         weight_decay=0.1)


@training("GPT 4 × 128, 12 × 64 tokens")
def small_gpt(T):
    return gpt_step(T, 4, 128, 4, 64, 12, 65)


@training("GPT 2 × 512, 4 × 256 tokens")
def wide_gpt(T):
    return gpt_step(T, 2, 512, 8, 256, 4, 1000)


# A process of its own, since a process's peak is that of all it ever did.
MEMORY = """
import importlib, resource, sys
T = importlib.import_module(sys.argv[1])
T.set_num_threads(int(sys.argv[2]))
from benchmarks.training import wide_gpt
step = wide_gpt(T)
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@training("GPT 2 × 512: peak memory in MiB", measures_itself=True, shown=1)
def memory(T):
    run = subprocess.run([sys.executable, "-c", MEMORY, T.__name__, str(T.get_num_threads())],
                         check=True, capture_output=True, text=True)
    return lambda: float(run.stdout)
