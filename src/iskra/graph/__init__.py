"""Graphs of expressions: tracing operators' bodies, fusing them into kernels, running those."""
