"""Every operator of the table against itself, finite differences and PyTorch.

A new operator is tested by being declared: pointwise operators and reductions have default
samples, all others bring theirs.
"""

import doctest
import warnings

import numpy as np
import pytest
from ops.table import Make, replaced, sampled_operators, samples_of, tensors_in

import iskra
from iskra.autograd import gradcheck, gradgradcheck
from iskra.dispatch import OPERATORS

SAMPLED = sampled_operators()
# Pointwise operators whose calls follow from their declaration alone.
POINTWISE = [
    n for n in SAMPLED if OPERATORS[n].kind == "pointwise" and OPERATORS[n].samples is None
]
DIFFERENTIABLE = [n for n in SAMPLED if OPERATORS[n].formulas]
# What these give depends on the memory behind the operand, by definition.
ON_MEMORY = {"as_strided", "as_strided_copy", "as_strided_scatter", "view"}
# Which of several equal elements these point to is not specified.
ANY_OF_EQUALS = {"topk", "kthvalue", "mode", "sort"}
RANDOM = {"next_number"}  # results of another precision are other numbers by their nature


def dtype_for(op, wide=True):
    """A dtype that the operator takes: float64 (float32) unless it takes integers only."""
    if op.accepts is not None and 2 not in op.accepts:
        return iskra.int64 if 1 in op.accepts else iskra.bool
    return iskra.float64 if wide else iskra.float32


def arrays_of(result):
    return [np.array(t.detach()._array) for t in tensors_in(result)]


def assert_close(found, expected, rtol=1e-12, atol=1e-12):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        if b.dtype.kind in "fc":
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [n for n in SAMPLED if n not in ON_MEMORY])
@pytest.mark.parametrize("layout", ["transposed", "gaps"])
def test_strided_operands_give_the_same_values(name, layout):
    op = OPERATORS[name]
    dtype = dtype_for(op)
    plain = samples_of(op, Make(dtype))
    strided = samples_of(op, Make(dtype, layout=layout))
    for (args, kwargs), (other_args, other_kwargs) in zip(plain, strided, strict=True):
        expected = arrays_of(op.public(*args, **kwargs))
        assert_close(arrays_of(op.public(*other_args, **other_kwargs)), expected)


@pytest.mark.parametrize("name", SAMPLED)
def test_operands_are_left_as_they_were(name):
    op = OPERATORS[name]
    for args, kwargs in samples_of(op, Make(dtype_for(op))):
        before = arrays_of((args, kwargs))
        op.public(*args, **kwargs)
        for a, b in zip(arrays_of((args, kwargs)), before, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", sorted(set(SAMPLED) - RANDOM))
def test_float32_agrees_with_float64(name):
    op = OPERATORS[name]
    if dtype_for(op) is not iskra.float64:
        pytest.skip("takes no floating-point operand")
    wide = samples_of(op, Make(iskra.float64))
    for args, kwargs in wide:
        tensors = [t.to(iskra.float32) if t.is_floating_point() else t
                   for t in tensors_in((args, kwargs))]
        narrow_args, narrow_kwargs = replaced((args, kwargs), iter(tensors))
        found = op.public(*narrow_args, **narrow_kwargs)
        expected = op.public(*args, **kwargs)
        assert_close(arrays_of(found), arrays_of(expected), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPERATORS[n].computes])
@pytest.mark.parametrize("dtype", [iskra.bfloat16, iskra.float16])
def test_narrow_floats_are_computed_wide_and_stored_narrow(name, dtype):
    op = OPERATORS[name]
    if dtype_for(op) is not iskra.float64:
        pytest.skip("takes no floating-point operand")
    for args, kwargs in samples_of(op, Make(iskra.float32)):
        narrow = [t.to(dtype) if t.is_floating_point() else t for t in tensors_in((args, kwargs))]
        widened = [t.to(iskra.float32) if t.dtype is dtype else t for t in narrow]
        a, k = replaced((args, kwargs), iter(narrow))
        found = tensors_in(op.public(*a, **k))
        a, k = replaced((args, kwargs), iter(widened))
        expected = tensors_in(op.public(*a, **k))
        for x, y in zip(found, expected, strict=True):
            assert x.dtype is (dtype if y.dtype is iskra.float32 else y.dtype)
            if name not in RANDOM:
                rounded = y.to(x.dtype)
                assert_close(arrays_of(x.to(y.dtype)), arrays_of(rounded.to(y.dtype)),
                             rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("name", POINTWISE)
def test_empty_operands_give_empty_results(name):
    op = OPERATORS[name]
    make = Make(dtype_for(op))
    count = len(op.operands)
    result = op.public(*[make((0, 3)) for _ in range(count)])
    assert all(t.shape == (0, 3) for t in tensors_in(result))


@pytest.mark.parametrize("name", [n for n in POINTWISE if len(OPERATORS[n].operands) > 1])
def test_shapes_that_do_not_broadcast_are_refused(name):
    op = OPERATORS[name]
    make = Make(dtype_for(op))
    operands = [make((2, 3)), *[make((4,)) for _ in op.operands[1:]]]
    before = arrays_of(operands)
    with pytest.raises(RuntimeError, match="size of tensor a"):
        op.public(*operands)
    assert_close(arrays_of(operands), before, 0, 0)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_string_is_no_operand(name):
    op = OPERATORS[name]
    (args, kwargs), *_ = samples_of(op, Make(dtype_for(op)))
    if not args or 0 not in op.operands:
        pytest.skip("takes no operand first")
    with pytest.raises((TypeError, AttributeError, ValueError)):
        op.public("text", *args[1:], **kwargs)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_agree_with_finite_differences(name):
    op = OPERATORS[name]
    if dtype_for(op) is not iskra.float64:
        pytest.skip("takes no floating-point operand")
    for args, kwargs in samples_of(op, Make(iskra.float64, requires_grad=True)):
        leaves = [t for t in tensors_in((args, kwargs)) if t.requires_grad]

        def call(*tensors, args=args, kwargs=kwargs):
            rest = iter(tensors)
            everything = [next(rest) if t.requires_grad else t for t in tensors_in((args, kwargs))]
            a, k = replaced((args, kwargs), iter(everything))
            return tuple(t for t in tensors_in(op.public(*a, **k)))

        if not any(t.requires_grad for t in call(*leaves)):
            continue
        assert gradcheck(call, tuple(leaves), atol=1e-4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = [t for t in call(*leaves) if t.requires_grad]
        if sum(t.numel() for t in leaves) * sum(t.numel() for t in outputs) <= 500:
            assert gradgradcheck(call, tuple(leaves), atol=1e-4)


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPERATORS[n].out])
def test_out_receives_the_result(name):
    op = OPERATORS[name]
    for args, kwargs in samples_of(op, Make(dtype_for(op))):
        expected = op.public(*args, **kwargs)
        parts = tensors_in(expected)
        out = tuple(p.new_empty(p.shape) for p in parts)
        given = out if isinstance(expected, tuple) else out[0]
        returned = op.public(*args, **kwargs, out=given)
        assert all(a is b for a, b in zip(tensors_in(returned), out, strict=True))
        assert_close(arrays_of(out), arrays_of(expected))


@pytest.mark.parametrize("name", [
    n for n in SAMPLED if OPERATORS[n].inplace and OPERATORS[n].kind != "view"
])
def test_in_place_form_writes_the_result(name):
    op = OPERATORS[name]
    dtype = dtype_for(op)
    for args, kwargs in samples_of(op, Make(dtype)):
        expected = op.public(*args, **kwargs)
        target = args[0].clone()
        if expected.shape != target.shape:
            with pytest.raises(RuntimeError, match="shape"):
                op.inplace_variant(target, *args[1:], **kwargs)
            continue
        version = target._version
        if not iskra.can_cast(expected.dtype, target.dtype) and not op.casts:
            with pytest.raises(RuntimeError, match="can't be cast"):
                op.inplace_variant(target, *args[1:], **kwargs)
            continue
        assert op.inplace_variant(target, *args[1:], **kwargs) is target
        assert target._version == version + 1
        assert_close(arrays_of(target), arrays_of(expected.to(dtype)))


@pytest.mark.parametrize("name", [
    # An operator declared in place refers to its twin for the example.
    n for n, op in OPERATORS.items() if op.function and not n.endswith("_")
])
def test_docstring_runs(name):
    op = OPERATORS[name]
    assert op.doc, f"{name} has no docstring"
    parser = doctest.DocTestParser()
    test = parser.get_doctest(op.doc, {}, name, op.body.__code__.co_filename, 0)
    assert test.examples, f"{name} has no example"
    failures = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=failures.append)
    assert not failures, "".join(failures)


def torch_function(op, torch):
    """PyTorch's function of the same name, or None."""
    spaces = {"torch": torch, "nn.functional": torch.nn.functional, "linalg": torch.linalg,
              "special": torch.special, "fft": torch.fft}
    for space in op.namespace.split():
        name = op.name.removeprefix(space.rpartition(".")[2] + "_")
        found = getattr(spaces[space], name, None) or getattr(torch.Tensor, name, None)
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "complex64"])
def test_values_and_dtypes_are_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    op = OPERATORS[name]
    reference = torch_function(op, torch)
    if reference is None:
        pytest.skip("PyTorch has no function of this name")
    if op.accepts is not None and getattr(iskra, dtype).category not in op.accepts:
        pytest.skip("refused by its declaration")

    def theirs(value):
        tensors = [torch.from_numpy(np.array(t.detach()._array)) for t in tensors_in(value)]
        return replaced(value, iter(tensors))

    try:
        samples = samples_of(op, Make(getattr(iskra, dtype)))
    except (NotImplementedError, TypeError, RuntimeError):
        pytest.skip("its samples cannot be made of this dtype")
    for args, kwargs in samples:
        try:
            expected = reference(*theirs(args), **theirs(kwargs))
        except (RuntimeError, TypeError, NotImplementedError, IndexError, ValueError):
            continue  # PyTorch does not take this dtype; whether we do is our business
        found = tensors_in(op.public(*args, **kwargs))
        parts = [expected] if isinstance(expected, torch.Tensor) else [
            t for t in expected if isinstance(t, torch.Tensor)
        ] if isinstance(expected, (tuple, list)) else []
        if name in ANY_OF_EQUALS:
            found, parts = found[:1], parts[:1]
        for a, b in zip(found, parts, strict=True):
            b = b.detach().resolve_conj()
            assert a.dtype.name == str(b.dtype)[6:], f"{args} {kwargs}"
            narrow = dtype in ("float32", "complex64", "int64", "bool")
            tolerance = 1e-4 if narrow else 1e-9
            if b.is_floating_point() or b.is_complex():
                np.testing.assert_allclose(np.array(a._array), b.numpy(), tolerance, tolerance)
            else:
                np.testing.assert_array_equal(np.array(a._array), b.numpy())
