"""Attention: forward, and forward with backward, with and without masks; a layer of several heads.
"""

import functools

import numpy

from benchmarks.cases import case, normal

CASES = {}
attention = functools.partial(case, CASES, checked_steps=1)
# (batch, heads, queries, keys, depth)
SIZES = {
    "8×12×512×64": (8, 12, 512, 512, 64), "32×12×128×64": (32, 12, 128, 128, 64),
    "1×16×1024×128": (1, 16, 1024, 1024, 128), "1×2×4096×64": (1, 2, 4096, 4096, 64),
    "8×8×196×32 with 50 keys": (8, 8, 196, 50, 32),
}
MASKS = ("", ", causal", ", bool mask", ", added mask")


def operands(T, batch, heads, queries, keys, depth, inside=False, requires_grad=False):
    """Queries, keys and values; with `inside` heads lie between a token's elements."""
    def make(length, seed):
        if inside:
            x = normal(T, batch, length, heads, depth, seed=seed).transpose(1, 2)
        else:
            x = normal(T, batch, heads, length, depth, seed=seed)
        return x.requires_grad_(requires_grad)
    return make(queries, 0), make(keys, 1), make(keys, 2)


def settings(T, mask, queries, keys):
    """The keyword arguments for a mask."""
    if mask == ", causal":
        return {"is_causal": True}
    kept = numpy.random.default_rng(3).random((queries, keys), numpy.float32) < 0.8
    if mask == ", bool mask":
        return {"attn_mask": T.from_numpy(kept)}
    if mask == ", added mask":
        return {"attn_mask": T.from_numpy(numpy.where(kept, numpy.float32(0), -numpy.inf))}
    return {}


def forward(T, size, mask, inside=False):
    tensors, given = operands(T, *size, inside), settings(T, mask, *size[2:4])
    attend = T.nn.functional.scaled_dot_product_attention
    return lambda: attend(*tensors, **given)


def both_ways(T, size, mask, inside=False):
    tensors = operands(T, *size, inside, requires_grad=True)
    given = settings(T, mask, *size[2:4])
    attend = T.nn.functional.scaled_dot_product_attention
    grad = normal(T, *size[:3], size[4], seed=4)

    def step():
        for tensor in tensors:
            tensor.grad = None
        attend(*tensors, **given).backward(grad)
        return [tensor.grad for tensor in tensors]
    return step


for label, size in SIZES.items():
    for mask in MASKS if label == "8×12×512×64" else MASKS[:2]:
        attention(f"{label}{mask}", goal=0.9)(functools.partial(forward, size=size, mask=mask))
        attention(f"{label}{mask}, both ways", goal=1.0, tolerance=1e-4)(
            functools.partial(both_ways, size=size, mask=mask))
attention("8×12×512×64, heads inside, both ways", goal=1.0, tolerance=1e-4)(functools.partial(
    both_ways, size=SIZES["8×12×512×64"], mask="", inside=True))


@attention("MultiheadAttention 768 of 12 heads, 4×256, both ways", goal=1.0, tolerance=1e-3)
def layer(T):
    module = T.nn.MultiheadAttention(768, 12, batch_first=True)
    x, grad = normal(T, 4, 256, 768, requires_grad=True), normal(T, 4, 256, 768, seed=1)

    def step():
        x.grad = None
        module.zero_grad()
        module(x, x, x, need_weights=False)[0].backward(grad)
        return x.grad
    return step
