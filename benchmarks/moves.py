"""Scans; reading and writing at indices; joining: where elements are moved more than computed."""

import functools

import numpy

from benchmarks.cases import case, normal

CASES = {}
moves = functools.partial(case, CASES, goal=1.0, checked_steps=1)


def indices(T, high, *shape, seed=9):
    """An int64 tensor of indices below `high`, the same in every framework."""
    return T.from_numpy(numpy.random.default_rng(seed).integers(0, high, shape))


def add_scan(name, dim):
    @moves(f"{name} of 4096×768, dim {dim}", tolerance=1e-4)
    def make(T):
        x = normal(T, 4096, 768)
        return lambda: getattr(x, name)(dim)


for scan in ("cumsum", "cummax", "logcumsumexp"):
    add_scan(scan, 0)
    add_scan(scan, 1)


@moves("cumsum of 4M", tolerance=1e-3)
def long_cumsum(T):
    x = normal(T, 1 << 22)
    return lambda: x.cumsum(0)


@moves("embedding, 8192 of 32000×512")
def embedding(T):
    table, index = normal(T, 32000, 512), indices(T, 32000, 8192)
    return lambda: T.nn.functional.embedding(index, table)


@moves("embedding, both ways, 8192 of 32000×512")
def embedding_both(T):
    table, index = normal(T, 32000, 512, requires_grad=True), indices(T, 32000, 8192)
    g = normal(T, 8192, 512, seed=1)

    def step():
        table.grad = None
        T.nn.functional.embedding(index, table).backward(g)
        return table.grad
    return step


def add_bags(mode):
    @moves(f"embedding_bag, {mode} of 1024 × 16 of 32000×512")
    def make(T):
        table, index = normal(T, 32000, 512), indices(T, 32000, 1024 * 16)
        offsets = T.arange(0, 1024 * 16, 16)
        return lambda: T.nn.functional.embedding_bag(index, table, offsets, mode=mode)


add_bags("mean")
add_bags("max")


@moves("x[index], 8192 of 32000×512")
def rows_at(T):
    x, index = normal(T, 32000, 512), indices(T, 32000, 8192)
    return lambda: x[index]


@moves("x[index] of 1M")
def elements_at(T):
    x, index = normal(T, 1 << 20), indices(T, 1 << 20, 1 << 20)
    return lambda: x[index]


def add_gather(dim):
    @moves(f"gather of 4096×768, dim {dim}")
    def gather(T):
        x, index = normal(T, 4096, 768), indices(T, (4096, 768)[dim], 4096, 768)
        return lambda: x.gather(dim, index)

    @moves(f"scatter_add of 4096×768, dim {dim}")
    def scatter_add(T):
        x, index = normal(T, 4096, 768), indices(T, (4096, 768)[dim], 4096, 768)
        return lambda: x.scatter_add(dim, index, x)


add_gather(0)
add_gather(1)


def add_sum(name):
    @moves(f"{name} of 1M")
    def make(T):
        x, index, source = T.zeros(1 << 20), indices(T, 1 << 20, 1 << 20), normal(T, 1 << 20)
        return lambda: getattr(x, name)(0, index, source)


for adding in ("index_add", "scatter_add", "scatter"):
    add_sum(adding)


@moves("index_add of 8192 to 1000×512")
def index_add_rows(T):
    x, index, source = T.zeros(1000, 512), indices(T, 1000, 8192), normal(T, 8192, 512)
    return lambda: x.index_add(0, index, source)


@moves("cat of 4 × 1M")
def cat(T):
    parts = [normal(T, 1 << 20, seed=n) for n in range(4)]
    return lambda: T.cat(parts)


@moves("cat of 4 × 1024×512, dim 1")
def cat_columns(T):
    parts = [normal(T, 1024, 512, seed=n) for n in range(4)]
    return lambda: T.cat(parts, 1)
