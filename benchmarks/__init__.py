"""Iskra beside PyTorch: `python -m benchmarks overhead`.

A group of cases is a file (`overhead.py`), a case is a function that takes a torch-like module `T`
and returns the step to be timed, so every case is written once for both frameworks.
"""
