"""Making tensors: literal values and dtypes, layouts, shared memory, errors."""

import array

import numpy as np
import pytest

import iskra as torch

NAN, INF = float("nan"), float("inf")


def check(result, dtypes, values):
    """The tensors have these dtypes ("int64+int64" for two) and, in them, these values."""
    results = result if isinstance(result, tuple) else (result,)
    values = values if isinstance(result, tuple) else [values]
    assert [str(r.dtype) for r in results] == [f"iskra.{d}" for d in dtypes.split("+")]
    for found, expected in zip(results, values, strict=True):
        wanted = np.array(expected, found.detach().numpy().dtype)
        np.testing.assert_array_equal(found.detach().numpy().ravel(), wanted.ravel())
        assert wanted.shape == tuple(found.shape) or not found.numel()


@pytest.mark.parametrize("make, dtypes, values", [
    (lambda: torch.tensor([1, 2.5]), "float32", [1.0, 2.5]),
    (lambda: torch.tensor([True, 1]), "int64", [1, 1]),
    (lambda: torch.tensor([True, 2.5]), "float32", [1.0, 2.5]),
    (lambda: torch.tensor([1, 2j]), "complex64", [(1+0j), 2j]),
    (lambda: torch.tensor([]), "float32", []),
    (lambda: torch.tensor([[]]), "float32", [[]]),
    (lambda: torch.tensor(2**62), "int64", 4611686018427387904),
    (lambda: torch.tensor([2**40]), "int64", [1099511627776]),
    (lambda: torch.tensor(1, dtype=torch.uint8), "uint8", 1),
    (lambda: torch.tensor(-1, dtype=torch.uint8), "uint8", 255),
    (lambda: torch.tensor([1.7, -1.7], dtype=torch.int32), "int32", [1, -1]),
    (lambda: torch.tensor(NAN, dtype=torch.float64), "float64", NAN),
    (lambda: torch.tensor(1.5, dtype=torch.bool), "bool", True),
    (lambda: torch.tensor([0, 2], dtype=torch.bool), "bool", [False, True]),
    (lambda: torch.tensor(np.float32(1.5)), "float32", 1.5),
    (lambda: torch.tensor(np.array([1, 2], dtype=np.int16)), "int16", [1, 2]),
    (lambda: torch.tensor(np.array(1.5)), "float64", 1.5),
    (lambda: torch.tensor([np.float64(1), np.float64(2)]), "float64", [1.0, 2.0]),
    (lambda: torch.tensor([np.array([1, 2]), np.array([3, 4])]), "int64", [[1, 2], [3, 4]]),
    (lambda: torch.tensor([torch.tensor(1), torch.tensor(2)]), "int64", [1, 2]),
    (lambda: torch.tensor([torch.tensor([1.0]), torch.tensor([2.0])]), "float32", [1.0, 2.0]),
    (lambda: torch.tensor(range(3)), "int64", [0, 1, 2]),
    (lambda: torch.tensor([1.0, 2], requires_grad=True), "float32", [1.0, 2.0]),
    (lambda: torch.tensor([1+1j], requires_grad=True), "complex64", [(1+1j)]),
    (lambda: torch.tensor([1.0], dtype=float), "float64", [1.0]),
    (lambda: torch.tensor([1.0], dtype=int), "int64", [1]),
    (lambda: torch.tensor(array.array("i", [1, 2])), "int64", [1, 2]),
    (lambda: torch.tensor(memoryview(b"ab")), "int64", [97, 98]),
    (lambda: torch.as_tensor(np.array([1.0, 2])), "float64", [1.0, 2.0]),
    (lambda: torch.asarray([1, 2]), "int64", [1, 2]),
    (lambda: torch.asarray(np.array([1, 2]), dtype=torch.float32), "float32", [1.0, 2.0]),
    (lambda: torch.asarray(5), "int64", 5),
    (lambda: torch.asarray([1.0], requires_grad=True), "float32", [1.0]),
    (lambda: torch.zeros(2, 3), "float32", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    (lambda: torch.zeros((2, 3)), "float32", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    (lambda: torch.zeros([2, 3], dtype=torch.int8), "int8", [[0, 0, 0], [0, 0, 0]]),
    (lambda: torch.zeros(()), "float32", 0.0),
    (lambda: torch.zeros(torch.tensor(2)), "float32", [0.0, 0.0]),
    (lambda: torch.zeros(torch.Size([1, 2])), "float32", [[0.0, 0.0]]),
    (lambda: torch.zeros(2, dtype=torch.complex64), "complex64", [0j, 0j]),
    (lambda: torch.zeros(2, requires_grad=True), "float32", [0.0, 0.0]),
    (lambda: torch.ones(2, dtype=torch.bool), "bool", [True, True]),
    (lambda: torch.full((2,), 3), "int64", [3, 3]),
    (lambda: torch.full((2,), 3.0), "float32", [3.0, 3.0]),
    (lambda: torch.full((2,), True), "bool", [True, True]),
    (lambda: torch.full((2,), 1j), "complex64", [1j, 1j]),
    (lambda: torch.full((), 5), "int64", 5),
    (lambda: torch.full((2,), 3, dtype=torch.float16), "float16", [3.0, 3.0]),
    (lambda: torch.full((2,), 3.7, dtype=torch.int32), "int32", [3, 3]),
    (lambda: torch.full((2,), NAN), "float32", [NAN, NAN]),
    (lambda: torch.full((2,), torch.tensor(4.0)), "float32", [4.0, 4.0]),
    (lambda: torch.ones_like(torch.ones(2, 3, dtype=torch.int8), dtype=torch.float64),
     "float64", [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]),
    (lambda: torch.full_like(torch.ones(2, dtype=torch.int64), 2.9), "int64", [2, 2]),
    (lambda: torch.full_like(torch.ones(2), 2), "float32", [2.0, 2.0]),
    (lambda: torch.arange(5), "int64", [0, 1, 2, 3, 4]),
    (lambda: torch.arange(5.0), "float32", [0.0, 1.0, 2.0, 3.0, 4.0]),
    (lambda: torch.arange(1, 5, 2), "int64", [1, 3]),
    (lambda: torch.arange(5, 1, -1), "int64", [5, 4, 3, 2]),
    (lambda: torch.arange(0, 1, 0.3), "float32", [0.0, 0.3, 0.6, 0.9]),
    (lambda: torch.arange(0), "int64", []),
    (lambda: torch.arange(1, 2, 0.25, dtype=torch.float16), "float16", [1.0, 1.25, 1.5, 1.75]),
    (lambda: torch.arange(True), "int64", [0]),
    (lambda: torch.arange(end=4), "int64", [0, 1, 2, 3]),
    (lambda: torch.arange(start=1, end=4), "int64", [1, 2, 3]),
    (lambda: torch.arange(torch.tensor(3)), "int64", [0, 1, 2]),
    (lambda: torch.arange(2**31, 2**31+2), "int64", [2147483648, 2147483649]),
    (lambda: torch.arange(0, -0.5, -0.1), "float32", [0.0, -0.1, -0.2, -0.3, -0.4]),
    (lambda: torch.range(1, 4), "float32", [1.0, 2.0, 3.0, 4.0]),
    (lambda: torch.linspace(0, 1, 5), "float32", [0.0, 0.25, 0.5, 0.75, 1.0]),
    (lambda: torch.linspace(0, 1, 1), "float32", [0.0]),
    (lambda: torch.linspace(0, 1, 0), "float32", []),
    (lambda: torch.linspace(1, 10, 4, dtype=torch.int64), "int64", [1, 4, 7, 10]),
    (lambda: torch.linspace(0, 1j, 3), "complex64", [0j, 0.5j, 1j]),
    (lambda: torch.linspace(torch.tensor(0.0), torch.tensor(2.0), 3), "float32", [0.0, 1.0, 2.0]),
    (lambda: torch.linspace(5, 5, 3), "float32", [5.0, 5.0, 5.0]),
    (lambda: torch.logspace(0, 2, 3), "float32", [1.0, 10.0, 100.0]),
    (lambda: torch.logspace(0, 3, 4, base=2), "float32", [1.0, 2.0, 4.0, 8.0]),
    (lambda: torch.logspace(0, 2, 3, dtype=torch.int32), "int32", [1, 10, 100]),
    (lambda: torch.logspace(0, 2, 1), "float32", [1.0]),
    (lambda: torch.eye(2), "float32", [[1.0, 0.0], [0.0, 1.0]]),
    (lambda: torch.eye(2, 3), "float32", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    (lambda: torch.eye(0), "float32", []),
    (lambda: torch.eye(2, dtype=torch.bool), "bool", [[True, False], [False, True]]),
    (lambda: torch.complex(torch.ones(2), torch.zeros(2)), "complex64", [(1+0j), (1+0j)]),
    (lambda: torch.polar(torch.tensor([1.0, 2]), torch.tensor([0.0, 0])),
     "complex64", [(1+0j), (2+0j)]),
    (lambda: torch.tril_indices(3, 3), "int64", [[0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]),
    (lambda: torch.triu_indices(2, 4, 1), "int64", [[0, 0, 0, 1, 1], [1, 2, 3, 2, 3]]),
    (lambda: torch.tril_indices(3, 3, -1, dtype=torch.int32), "int32", [[1, 2, 2], [0, 0, 1]]),
    (lambda: torch.vander(torch.tensor([1, 2, 3])), "int64", [[1, 1, 1], [4, 2, 1], [9, 3, 1]]),
    (lambda: torch.vander(torch.tensor([1.0, 2, 3]), 2, True),
     "float32", [[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]),
    (lambda: torch.hann_window(4), "float32", [0.0, 0.5, 1.0, 0.5]),
    (lambda: torch.hamming_window(1), "float32", [1.0]),
    (lambda: torch.blackman_window(0), "float32", []),
    (lambda: torch.bartlett_window(4), "float32", [0.0, 0.5, 1.0, 0.5]),
    (lambda: torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4])),
     "int64", [[1, 3], [1, 4], [2, 3], [2, 4]]),
    (lambda: torch.cartesian_prod(torch.tensor([1, 2])), "int64", [1, 2]),
    (lambda: torch.combinations(torch.tensor([1, 2, 3])), "int64", [[1, 2], [1, 3], [2, 3]]),
    (lambda: torch.combinations(torch.tensor([1, 2, 3]), 0), "int64", []),
    (lambda: torch.combinations(torch.tensor([1, 2, 3]), 2, True),
     "int64", [[1, 1], [1, 2], [1, 3], [2, 2], [2, 3], [3, 3]]),
    (lambda: torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij"),
     "int64+int64", [[[0, 0, 0], [1, 1, 1]], [[0, 1, 2], [0, 1, 2]]]),
    (lambda: torch.meshgrid(torch.arange(2), torch.arange(3), indexing="xy"),
     "int64+int64", [[[0, 1], [0, 1], [0, 1]], [[0, 0], [1, 1], [2, 2]]]),
    (lambda: torch.meshgrid([torch.arange(2), torch.tensor(1)], indexing="ij"),
     "int64+int64", [[[0], [1]], [[1], [1]]]),
    (lambda: torch.block_diag(torch.ones(1, 2), torch.tensor(3.0)),
     "float32", [[1.0, 1.0, 0.0], [0.0, 0.0, 3.0]]),
    (lambda: torch.scalar_tensor(3), "float32", 3.0),
    (lambda: torch.scalar_tensor(3, dtype=torch.int8), "int8", 3),
    (lambda: torch.ones(2).new_zeros(2, 3), "float32", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    (lambda: torch.ones(2, dtype=torch.int8).new_ones((2,)), "int8", [1, 1]),
    (lambda: torch.ones(2, dtype=torch.int8).new_full((2,), 3.7), "int8", [3, 3]),
    (lambda: torch.ones(2).new_full((2,), True), "float32", [1.0, 1.0]),
    (lambda: torch.ones(2, dtype=torch.int8).new_tensor([1.7]), "int8", [1]),
    (lambda: torch.ones(2, dtype=torch.int8).new_tensor([1.7], dtype=torch.float64),
     "float64", [1.7]),
    (lambda: torch.ones(2).new([3]), "float32", [3.0]),
    (lambda: torch.ones(2).new(), "float32", []),
    (lambda: torch.Tensor([2, 3]), "float32", [2.0, 3.0]),
    (lambda: torch.Tensor(), "float32", []),
    (lambda: torch.FloatTensor([1, 2]), "float32", [1.0, 2.0]),
    (lambda: torch.LongTensor([1.5, 2]), "int64", [1, 2]),
    (lambda: torch.BoolTensor([1, 0]), "bool", [True, False]),
    (lambda: torch.FloatTensor(torch.ones(2)), "float32", [1.0, 1.0]),
    (lambda: torch.frombuffer(bytearray(b"\x01\x00\x02\x00"), dtype=torch.int16), "int16", [1, 2]),
    (lambda: torch.frombuffer(bytearray(b"\x01\x00\x02\x00"), dtype=torch.int16, count=1),
     "int16", [1]),
    (lambda: torch.frombuffer(bytearray(b"\x01\x00\x02\x00"), dtype=torch.int16, offset=2),
     "int16", [2]),
    (lambda: torch.rand(2, 3, generator=torch.Generator().manual_seed(3)),
     "float32", [[0.0042635202, 0.10556936, 0.28584248], [0.02695483, 0.47161436, 0.06011629]]),
    (lambda: torch.randperm(5, generator=torch.Generator().manual_seed(3)),
     "int64", [1, 0, 3, 4, 2]),
    (lambda: torch.randint(5, (2,), generator=torch.Generator().manual_seed(3)), "int64", [1, 3]),
    (lambda: torch.randint(3, 9, (4,), generator=torch.Generator().manual_seed(3),
                           dtype=torch.uint8),
     "uint8", [7, 5, 4, 6]),
    (lambda: torch.normal(0.0, 1.0, (2,), generator=torch.Generator().manual_seed(3)),
     "float32", [0.80327606, 0.17483339]),
])
def test_values_and_dtypes(make, dtypes, values):
    check(make(), dtypes, values)


@pytest.mark.parametrize("make, error, message", [
    (lambda: torch.tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1 .go"),
    (lambda: torch.tensor("a"), TypeError, "new..: invalid data type 'str'"),
    (lambda: torch.tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
    (lambda: torch.tensor([None]), RuntimeError, "Could not infer dtype of NoneType"),
    (lambda: torch.tensor(2**63), ValueError, "Overflow when unpacking long long"),
    (lambda: torch.tensor(300, dtype=torch.uint8),
     RuntimeError, "value cannot be converted to type uint8 wi"),
    (lambda: torch.tensor(1+2j, dtype=torch.float32),
     TypeError, "must be real number, not complex"),
    (lambda: torch.tensor([torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])]),
     ValueError, "only one element tensors can be converted"),
    (lambda: torch.tensor((1, (2,))), TypeError, "'tuple' object cannot be interpreted as a"),
    (lambda: torch.tensor({1:2}), RuntimeError, "Could not infer dtype of dict"),
    (lambda: torch.tensor({1, 2}), RuntimeError, "Could not infer dtype of set"),
    (lambda: torch.tensor([1, 2], requires_grad=True),
     RuntimeError, "only Tensors of floating point and complex"),
    (lambda: torch.tensor([1.0], device="cuda"),
     RuntimeError, 'cannot place a tensor on cuda: no GPU is a'),
    (lambda: torch.tensor([1.0], dtype="float32"),
     TypeError, "tensor..: argument 'dtype' must be iskra.d"),
    (lambda: torch.tensor(b"ab"), TypeError, "new..: invalid data type 'bytes'"),
    (lambda: torch.tensor([b"ab"]), TypeError, "new..: invalid data type 'bytes'"),
    (lambda: torch.asarray([1.0, 2], copy=False),
     ValueError, "can't alias arbitrary sequence into a tens"),
    (lambda: torch.asarray(np.array([1, 2]), dtype=torch.float32, copy=False),
     ValueError, "can't alias tensor with dtype 'iskra.int64"),
    (lambda: torch.zeros(), TypeError, "zeros.. missing 1 required positional argu"),
    (lambda: torch.zeros(-1), RuntimeError, "zeros: Dimension size must be non-negative"),
    (lambda: torch.zeros(2, "a"), TypeError, "zeros..: argument 'size' failed to unpack"),
    (lambda: torch.zeros(2.5), TypeError, "zeros..: argument 'size' .position 1. must"),
    (lambda: torch.zeros((2, 3), (1,)), TypeError, "zeros..: argument 'size' failed to unpack"),
    (lambda: torch.zeros(2, dtype=torch.int64, requires_grad=True),
     RuntimeError, "only Tensors of floating point and complex"),
    (lambda: torch.full(2, 5), TypeError, "full..: argument 'size' .position 1. must"),
    (lambda: torch.full((2,), torch.tensor([4.0])),
     RuntimeError, "full..: fill_value must be a number or a z"),
    (lambda: torch.full((2,), "a"), TypeError, "full..: argument 'fill_value' .position 2."),
    (lambda: torch.full([2], 3, requires_grad=True),
     RuntimeError, "only Tensors of floating point and complex"),
    (lambda: torch.empty(2, memory_format=torch.channels_last),
     RuntimeError, "required rank 4 tensor to use channels_las"),
    (lambda: torch.empty_strided((2, 3), (1,)),
     RuntimeError, "dimensionality of sizes .2. must match dim"),
    (lambda: torch.empty_strided((2, 3), (-1, 2)),
     RuntimeError, "empty_strided: strides must not be negativ"),
    (lambda: torch.zeros_like([1]), TypeError, "zeros_like..: argument 'input' .position 1"),
    (lambda: torch.rand_like(torch.ones(2, dtype=torch.int64)),
     NotImplementedError, '"check_uniform_bounds" not implemented for'),
    (lambda: torch.arange(5, 1), RuntimeError, "upper bound and lower bound inconsistent w"),
    (lambda: torch.arange(0, 5, 0), RuntimeError, "step must be nonzero"),
    (lambda: torch.arange(3, dtype=torch.bool),
     NotImplementedError, '"arange_cpu" not implemented for \'Bool\''),
    (lambda: torch.arange(3, dtype=torch.complex64),
     NotImplementedError, '"arange_cpu" not implemented for \'ComplexF'),
    (lambda: torch.arange(NAN), RuntimeError, "unsupported range: 0 -> nan"),
    (lambda: torch.arange(INF), RuntimeError, "unsupported range: 0 -> inf"),
    (lambda: torch.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
    (lambda: torch.linspace(0, 1), TypeError, "linspace.. missing 1 required positional a"),
    (lambda: torch.eye(-1), RuntimeError, "n must be greater or equal to 0, got -1"),
    (lambda: torch.eye(2, -1), RuntimeError, "m must be greater or equal to 0, got -1"),
    (lambda: torch.complex(torch.ones(2), torch.zeros(2).double()),
     RuntimeError, "complex: Expected object of scalar type Fl"),
    (lambda: torch.complex(torch.ones(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)),
     RuntimeError, "complex: Expected both inputs to be Half,"),
    (lambda: torch.tril_indices(-1, 3), RuntimeError, "tril_indices: row must be non-negative, go"),
    (lambda: torch.hann_window(-1), RuntimeError, "hann_window requires non-negative window_l"),
    (lambda: torch.hann_window(4, dtype=torch.int64),
     RuntimeError, "hann_window expects floating point dtypes,"),
    (lambda: torch.combinations(torch.ones(2, 2)),
     RuntimeError, "Expect a 1D vector, but got shape .2, 2."),
    (lambda: torch.meshgrid(torch.arange(2), torch.arange(3), indexing="q"),
     RuntimeError, 'meshgrid: indexing must be one of "xy" or'),
    (lambda: torch.meshgrid(torch.ones(2, 2), indexing="ij"),
     RuntimeError, 'meshgrid: Expected 0D or 1D tensor in the'),
    (lambda: torch.Tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1 .go"),
    (lambda: torch.Tensor(2.5), TypeError, "new..: data must be a sequence .got float."),
    (lambda: torch.ByteTensor([1, 300]),
     RuntimeError, "value cannot be converted to type uint8 wi"),
    (lambda: torch.DoubleTensor(torch.ones(2)),
     TypeError, "expected a tensor of dtype iskra.float64 ."),
    (lambda: torch.frombuffer(bytearray(b"\x01\x00\x02"), dtype=torch.int16),
     ValueError, 'buffer length .3 bytes. after offset .0 by'),
    (lambda: torch.frombuffer(bytearray(b""), dtype=torch.int16),
     ValueError, 'both buffer length .0. and count .-1. must'),
    (lambda: torch.frombuffer(bytearray(b"abcd"), dtype=torch.int16, offset=9),
     ValueError, 'offset .9 bytes. must be non-negative and'),
    (lambda: torch.frombuffer([1], dtype=torch.int16),
     ValueError, "object does not implement Python buffer pr"),
    (lambda: torch.randint(0, 0, (2,)), RuntimeError, "random_ expects 'from' to be less than 'to"),
    (lambda: torch.randint(0, 300, (2,), dtype=torch.uint8),
     RuntimeError, "random_: to - 1 is out of bounds for iskra"),
    (lambda: torch.randn(3, dtype=torch.int64),
     NotImplementedError, '"normal_kernel_cpu" not implemented for \'L'),
    (lambda: torch.rand(-1), RuntimeError, "rand: Trying to create tensor with negativ"),
    (lambda: torch.normal(torch.zeros(2), -1.0),
     RuntimeError, "normal expects std >= 0.0, but found std -"),
    (lambda: torch.bernoulli(torch.tensor([2.0])),
     RuntimeError, "bernoulli expects all probabilities p to b"),
    (lambda: torch.randperm(-1), RuntimeError, "randperm: Trying to create tensor with neg"),
])
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("make, shape, strides", [
    (lambda: torch.empty(1, 2, 3, 4, memory_format=torch.channels_last), (1, 2, 3, 4),
     (24, 1, 8, 2)),
    (lambda: torch.empty_strided((2, 3), (1, 2)), (2, 3), (1, 2)),
    (lambda: torch.empty_like(torch.ones(2, 3).t()), (3, 2), (1, 3)),
    (lambda: torch.zeros_like(torch.ones(2, 3)[:, ::2]), (2, 2), (2, 1)),
    (lambda: torch.zeros_like(torch.ones(3, 1).expand(3, 4)), (3, 4), (4, 1)),
    (lambda: torch.zeros(0, 3), (0, 3), (3, 1)), (lambda: torch.empty(()), (), ()),
    (lambda: torch.Tensor(2, 3), (2, 3), (3, 1)), (lambda: torch.LongTensor(2, 1), (2, 1), (1, 1)),
    (lambda: torch.ones(2).new(3), (3,), (1,)), (lambda: torch.ones(2).new_empty(3, 2), (3, 2),
                                                 (2, 1)),
])
def test_shapes_and_strides(make, shape, strides):
    made = make()
    assert tuple(made.shape) == shape and made.stride() == strides


def test_the_default_dtype_is_that_of_python_floats():
    torch.set_default_dtype(torch.float64)
    try:
        made = [torch.tensor(1.0), torch.zeros(1), torch.arange(1.0), torch.tensor([1]) / 2]
        assert [t.dtype for t in made] == [torch.float64] * 4
        assert torch.tensor(1j).dtype is torch.complex128
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError, match="only floating-point types"):
        torch.set_default_dtype(torch.int32)
    assert torch.get_default_dtype() is torch.float32


def test_as_tensor_shares_what_it_can():
    numbers = np.array([1.0, 2.0])
    torch.as_tensor(numbers)[0] = 7
    torch.as_tensor(numbers, dtype=torch.float32)[0] = 9
    assert numbers.tolist() == [7, 2]
    tensor = torch.ones(2)
    assert torch.as_tensor(tensor) is tensor
    assert torch.as_tensor(tensor, dtype=torch.float32) is tensor
    assert torch.asarray(tensor) is tensor
    torch.asarray(tensor, copy=True)[0] = 5
    assert tensor.tolist() == [1, 1]


def test_frombuffer_shares_the_buffer():
    buffer = bytearray(4)
    tensor = torch.frombuffer(buffer, dtype=torch.uint8)
    buffer[1] = 9
    assert tensor.tolist() == [0, 9, 0, 0]


def test_tensor_types_tell_dtypes():
    assert isinstance(torch.ones(2), torch.FloatTensor)
    assert not isinstance(torch.ones(2), torch.DoubleTensor)


@pytest.mark.parametrize("floats", [torch.zeros(2, requires_grad=True), torch.asarray(
    [1.0], requires_grad=True), torch.tensor([1 + 1j], requires_grad=True)])
def test_leaves_that_require_a_gradient(floats):
    assert floats.requires_grad and floats.is_leaf and floats.grad_fn is None


def test_like_is_outside_the_graph_of_its_model():
    assert not torch.zeros_like(torch.ones(2, requires_grad=True)).requires_grad
    assert torch.randint_like(torch.ones(2, 3), 5).dtype is torch.float32
    assert torch.randn_like(torch.ones(2, dtype=torch.int64), dtype=torch.float64).dtype is (
        torch.float64
    )


def test_a_tensor_of_a_tensor_is_a_copy_and_warns():
    source = torch.tensor([1, 2])
    with pytest.warns(UserWarning, match="sourceTensor.detach"):
        made = torch.tensor(source)
    made[0] = 7
    assert source.tolist() == [1, 2] and made.dtype is torch.int64
