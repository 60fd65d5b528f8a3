"""Runs kernels both ways, interpreted and as machine code, on copies of the same arguments."""

import ctypes
import platform

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np

from iskra.codegen import interpret, lower
from iskra.codegen.semantics import numpy_dtype
from iskra.runtime import jit

KINDS = ("i1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64")
INTEGERS = KINDS[1:9]
FLOATS = ("f32", "f64")
NUMBERS = (*INTEGERS, *FLOATS)
_SAME = {
    **dict.fromkeys(("add", "sub", "mul", "div", "rem", "neg", "abs"), NUMBERS),
    **dict.fromkeys(("and", "or", "xor", "not"), ("i1", *INTEGERS)),
    **dict.fromkeys(("shl", "shr"), INTEGERS),
    **dict.fromkeys(("sqrt", "floor", "ceil", "trunc", "rint", "copysign", "fma", "maximum",
                     "minimum"), FLOATS),
}
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
# Operands of an operation; of all others there are two.
ARITY = dict.fromkeys(("neg", "abs", "not", "sqrt", "floor", "ceil", "trunc", "rint"), 1) | {
    "fma": 3}
OPERATIONS = [(op, kind) for op, kinds in _SAME.items() for kind in kinds] + [
    (op, kind) for op in COMPARISONS for kind in ("i1", *NUMBERS)]

_COMMON = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 1 / 3, -1e-3, 100.7, 255.0, 256.0,
           -129.0, 65504.0, 2.0**31, -(2.0**31), 2.0**31 - 128, 2.0**32, 2.0**63, -(2.0**63),
           2.0**64, np.inf, -np.inf, np.nan]


def edges(kind):
    """Values of a kind that are likely to be got wrong."""
    dtype = numpy_dtype(kind)
    if kind == "i1":
        return np.array([False, True])
    if kind in INTEGERS:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        near = [low, low + 1, high - 1, high, high // 2, high // 2 + 1, 8 * dtype.itemsize]
        return np.array([*range(4), *near, 100, *([-1, -2, -7] if low else [])], dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    infinity = int(np.array(np.inf, dtype).view(unsigned))
    # The largest numbers, and those around the least that is normal, by their bits.
    least = int(np.array(ml_dtypes.finfo(dtype).smallest_normal, dtype).view(unsigned))
    raw = np.array([1, 3, least - 1, least, least + 1, infinity - 1, infinity - 2], unsigned)
    with np.errstate(over="ignore"):
        common = np.array(_COMMON, np.float32 if dtype.itemsize < 4 else dtype).astype(dtype)
    return np.concatenate([common, raw.view(dtype), -raw.view(dtype)])


def random_elements(rng, kind, count):
    """Any bits: integers and floats of every magnitude."""
    dtype = numpy_dtype(kind)
    if kind == "i1":
        return rng.integers(0, 2, count).astype(bool)
    return rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)


def machine(*functions, cpu=None):
    """The functions as machine code: callables that take slots and the number of tasks.

    cpu: a plainer processor than this one, whose code it can run.
    """
    text = lower.text(*functions)
    address = _plainer(text, cpu) if cpu else jit.load(text).address
    return [_caller(address(f.name)) for f in functions]


def _plainer(text, cpu):
    jit.assembly("", cpu=cpu)  # makes LLVM ready
    target = llvm.Target.from_default_triple()
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(text), target.create_target_machine(cpu=cpu, opt=2, jit=True))
    engine.finalize_object()
    _engines.append(engine)  # the code lives as long
    return engine.get_function_address


_engines = []


def can_run(cpu):
    """Whether this machine runs code for `cpu`, a name of LLVM's or None for this machine's."""
    if cpu is None:
        return True
    has = {"x86-64": "sse2", "x86-64-v3": "avx2"}[cpu]
    return platform.machine() == "x86_64" and llvm.get_host_cpu_features().get(has, False)


def _caller(address):
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)

    def run(slots, tasks=1):
        keep = []
        words = np.array([_word(s, keep) for s in slots], np.uint64)
        for task in range(tasks):
            call(words.ctypes.data, task)

    return run


def _word(given, keep):
    if given is None:
        return 0
    if isinstance(given, np.ndarray):
        return given.__array_interface__["data"][0]
    if isinstance(given, list):
        keep.append(np.array([_word(g, keep) for g in given], np.uint64))
        return keep[-1].ctypes.data
    return int(np.array(given, np.float64 if isinstance(given, float) else np.int64).view("u8"))


def compare(function, slots, tasks=1, run=None, exact=False, **options):
    """Run both ways; raise AssertionError where the arrays differ. Returns the interpreter's.

    exact: whether NaNs too must have the same bits, since nothing is computed.
    """
    first, second = copied(slots), copied(slots)
    interpret.run(function, first, tasks, **options)
    (run or machine(function)[0])(second, tasks)
    for index, (ours, machines) in enumerate(zip(first, second)):
        if isinstance(ours, np.ndarray):
            same_bits(ours, machines, f"{function}\nslot {index}", exact)
    return first


def copied(slots):
    """The slots, with arrays of their own."""
    return [copied(s) if isinstance(s, list) else s.copy() if isinstance(s, np.ndarray) else s
            for s in slots]


def same_bits(ours, machines, what, exact=False):
    """Assert that arrays are equal bit for bit, perhaps except for which NaN a NaN is."""
    assert ours.dtype == machines.dtype and ours.shape == machines.shape
    differ = bits(ours, exact) != bits(machines, exact)
    if differ.any():
        places = np.flatnonzero(differ)
        lines = [f"  [{i}]: interpreted {ours.flat[i]!r}, machine {machines.flat[i]!r}"
                 for i in places[:10]]
        raise AssertionError(f"{what}: {places.size} of {ours.size} differ\n" + "\n".join(lines))


def bits(array, exact):
    """The elements' bits as unsigned integers, two of a complex number; unless `exact`, all NaNs of
    real ones are one.
    """
    found = array.view(f"u{array.dtype.alignment}").copy()
    if not exact and array.dtype.kind in "fV":  # bfloat16 is a V to NumPy
        with np.errstate(invalid="ignore"):  # signalling NaNs
            found[np.isnan(array)] = np.iinfo(found.dtype).max
    return found
