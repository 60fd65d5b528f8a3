"""Views and rearrangements: literal results, shared memory, node names, errors."""

import numpy as np
import pytest

import iskra


def numbers(*shape):
    return iskra.arange(int(np.prod(shape))).reshape(shape).float()


@pytest.mark.parametrize("make, shape, strides", [
    (lambda x: x.view(6, 4), (6, 4), (4, 1)), (lambda x: x.view(-1, 2, 2), (6, 2, 2), (4, 2, 1)),
    (lambda x: x.t() if x.dim() == 2 else x.mT, (2, 4, 3), (12, 1, 4)),
    (lambda x: x.permute(2, 0, 1), (4, 2, 3), (1, 12, 4)),
    (lambda x: x.transpose(0, -1), (4, 3, 2), (1, 4, 12)),
    (lambda x: x.movedim(0, 2), (3, 4, 2), (4, 1, 12)),
    (lambda x: x.movedim((0, 1), (2, 0)), (3, 4, 2), (4, 1, 12)),
    (lambda x: x.unsqueeze(1), (2, 1, 3, 4), (12, 12, 4, 1)),
    (lambda x: x.unsqueeze(-1), (2, 3, 4, 1), (12, 4, 1, 1)),
    (lambda x: x.unsqueeze(0).squeeze(0), (2, 3, 4), (12, 4, 1)),
    (lambda x: x.select(1, 2), (2, 4), (12, 1)),
    (lambda x: x.narrow(2, 1, 2), (2, 3, 2), (12, 4, 1)),
    (lambda x: x.diagonal(), (4, 2), (1, 16)), (lambda x: x.diagonal(-1, 1, 2), (2, 2), (12, 5)),
    (lambda x: x.unfold(2, 3, 1), (2, 3, 2, 3), (12, 4, 1, 1)),
    (lambda x: x[:1].expand(5, 3, 4), (5, 3, 4), (0, 4, 1)),
    (lambda x: x.unflatten(2, (2, -1)), (2, 3, 2, 2), (12, 4, 2, 1)),
    (lambda x: x.flatten(1), (2, 12), (12, 1)), (lambda x: x.T, (4, 3, 2), (1, 4, 12)),
    (lambda x: x.as_strided((2, 2), (1, 5), 3), (2, 2), (1, 5)),
    (lambda x: x.swapaxes(1, 2), (2, 4, 3), (12, 1, 4)),
    (lambda x: x.chunk(2, 2)[1], (2, 3, 2), (12, 4, 1)),
    (lambda x: x.split([1, 2], 1)[1], (2, 2, 4), (12, 4, 1)),
    (lambda x: x.unbind(1)[2], (2, 4), (12, 1)),
    (lambda x: x.tensor_split(3, 2)[0], (2, 3, 2), (12, 4, 1)),
    (lambda x: x.detach(), (2, 3, 4), (12, 4, 1)),
])
def test_shape_strides_and_shared_memory(make, shape, strides):
    x = numbers(2, 3, 4)
    y = make(x)
    assert tuple(y.shape) == shape and y.stride() == strides
    y.zero_() if 0 not in strides else x.zero_()
    assert (x == 0).sum() >= len(set(y.flatten().tolist())) and y.eq(0).all()
    assert y.untyped_storage() == x.untyped_storage()


@pytest.mark.parametrize("call, name", [
    (lambda x: x.view(6), "ViewBackward0"), (lambda x: x.reshape(6), "ViewBackward0"),
    (lambda x: x.t().reshape(6), "UnsafeViewBackward0"), (lambda x: x.flatten(), "ViewBackward0"),
    (lambda x: x.t(), "TBackward0"), (lambda x: x.T, "PermuteBackward0"),
    (lambda x: x.mT, "TransposeBackward0"), (lambda x: x.swapdims(0, 1), "TransposeBackward0"),
    (lambda x: x.squeeze(), "SqueezeBackward0"), (lambda x: x.squeeze(0), "SqueezeBackward1"),
    (lambda x: x.squeeze((0, 1)), "SqueezeBackward2"), (lambda x: x.unsqueeze(0),
                                                        "UnsqueezeBackward0"),
    (lambda x: x.split(1)[0], "SplitBackward0"), (lambda x: x.chunk(2)[0], "SplitBackward0"),
    (lambda x: x.split([1, 1])[0], "SplitWithSizesBackward0"),
    (lambda x: x.unbind()[0], "UnbindBackward0"), (lambda x: x.narrow(0, 0, 1), "SliceBackward0"),
    (lambda x: x.diagonal(), "DiagonalBackward0"), (lambda x: x.expand(2, 2, 3), "ExpandBackward0"),
    (lambda x: x.unfold(0, 1, 1), "UnfoldBackward0"), (lambda x: x.roll(1), "RollBackward0"),
    (lambda x: iskra.cat([x, x]), "CatBackward0"),
    (lambda x: iskra.stack([x, x]), "StackBackward0"),
    (lambda x: iskra.hstack([x, x]), "CatBackward0"), (lambda x: x.flip(0), "FlipBackward0"),
    (lambda x: x.repeat(2, 1), "RepeatBackward0"), (lambda x: x.tril(), "TrilBackward0"),
    (lambda x: x.select(0, 1), "SelectBackward0"), (lambda x: x.permute(1, 0), "PermuteBackward0"),
])
def test_node_names(call, name):
    assert call(numbers(2, 3).requires_grad_()).grad_fn.name() == name


def test_reshape_copies_only_where_it_must():
    x = numbers(2, 3)
    assert x.reshape(3, 2)._is_view() and x[:, :2].reshape(2, 1, 2)._is_view()
    copied = x.t().reshape(6)
    assert not copied._is_view() and copied.tolist() == [0, 3, 1, 4, 2, 5]
    assert numbers(4)[:0].reshape(0, 3).shape == (0, 3)
    assert iskra.tensor(3).reshape(1, 1).tolist() == [[3]] and numbers(1).view(()).shape == ()


def test_view_as_another_dtype():
    x = iskra.tensor([1.0, -2.0])
    assert x.view(iskra.int32).tolist() == [0x3F800000, -0x40000000]
    assert x.view(iskra.uint8).shape == (8,) and x.view(dtype=iskra.float64).shape == (1,)
    bits = x.view(iskra.int32)
    bits[0] = 0
    assert x[0] == 0
    assert not x.clone().requires_grad_().view(iskra.float16).requires_grad
    with pytest.raises(RuntimeError, match="divisible by 2"):
        numbers(3).view(iskra.float64)
    with pytest.raises(RuntimeError, match="cannot be 0"):
        iskra.tensor(1.0).view(iskra.float64)


@pytest.mark.parametrize("call, error, text", [
    (lambda x: x.view(4), RuntimeError, "shape '[4]' is invalid for input of size 6"),
    (lambda x: x.view(-1, -1), RuntimeError, "only one dimension can be inferred"),
    (lambda x: x.view(-2, 3), RuntimeError, "invalid shape dimension -2"),
    (lambda x: x.t().view(6), RuntimeError, "Use .reshape(...) instead"),
    (lambda x: x.reshape(7), RuntimeError, "shape '[7]' is invalid for input of size 6"),
    (lambda x: x[:0].view(0, -1), RuntimeError, "ambiguous"),
    (lambda x: x.transpose(0, 2), IndexError, "[-2, 1], but got 2"),
    (lambda x: x.permute(0), RuntimeError, "input.dim() = 2 is not equal to len(dims) = 1"),
    (lambda x: x.permute(0, 0), RuntimeError, "duplicate dims are not allowed"),
    (lambda x: x.view(1, 2, 3).t(), RuntimeError, "t() expects a tensor with <= 2 dimensions"),
    (lambda x: x[0].mT, RuntimeError, "only supported on matrices"),
    (lambda x: x.view(1, 2, 3).H, RuntimeError, "Got 3-D tensor"),
    (lambda x: x.squeeze(2), IndexError, "but got 2"),
    (lambda x: x.unsqueeze(3), IndexError, "[-3, 2], but got 3"),
    (lambda x: x.select(1, 3), IndexError, "index 3 out of range for tensor of size [2, 3]"),
    (lambda x: x.narrow(1, 2, 2), RuntimeError, "start (2) + length (2) exceeds"),
    (lambda x: x.split(0), RuntimeError, "split_size can only be 0 if dimension size is 0"),
    (lambda x: x.split([1, 2], 0), RuntimeError, "sum exactly to 2"),
    (lambda x: x.chunk(0), RuntimeError, "greater than 0, got: 0"),
    (lambda x: x.expand(3, 3), RuntimeError, "expanded size of the tensor (3) must match"),
    (lambda x: x.expand(3), RuntimeError, "must be greater or equal to the number"),
    (lambda x: x.diagonal(0, 1, 1), RuntimeError, "cannot be identical"),
    (lambda x: x.unfold(1, 4, 1), RuntimeError, "maximum size for tensor at dimension 1 is 3"),
    (lambda x: x.unflatten(1, (2, 2)), RuntimeError, "don't multiply up to the size of dim 1 (3)"),
    (lambda x: x.flatten(1, 0), RuntimeError, "start_dim cannot come after end_dim"),
    (lambda x: x.movedim(0, (0, 1)), RuntimeError, "same number of dims"),
    (lambda x: x.as_strided((9,), (1,)), RuntimeError, "out of bounds for storage"),
    (lambda x: x.imag, RuntimeError, "not implemented for tensors with non-complex"),
    (lambda x: iskra.cat([]), ValueError, "non-empty list"),
    (lambda x: iskra.cat([x, x[0]]), RuntimeError, "same number of dimensions: got 2 and 1"),
    (lambda x: iskra.cat([x, x.t()]), RuntimeError, "Expected size 3 but got size 2 for tensor "
                                                    "number 1"),
    (lambda x: iskra.cat([x[0, 0]]), RuntimeError, "zero-dimensional tensor (at position 0)"),
    (lambda x: iskra.stack([x, x[:1]]), RuntimeError, "got [2, 3] at entry 0 and [1, 3]"),
    (lambda x: x.repeat(2), RuntimeError, "can not be smaller than number of dimensions"),
    (lambda x: x.roll((1, 2), 0), RuntimeError, "shifts and dimensions must align"),
    (lambda x: x.flip(0, 0), RuntimeError, "appears multiple times"),
    (lambda x: x[0].tril(), RuntimeError, "at least 2 dimensions"),
    (lambda x: x.hsplit(2), RuntimeError, "not divisible by the split_size 2"),
    (lambda x: x.rot90(1, (0, 0)), RuntimeError, "rotation dims to be different"),
    (lambda x: x.repeat_interleave(-1), RuntimeError, "non-negative"),
    (lambda x: x.repeat_interleave(iskra.tensor([1, 2, 3]), 0), RuntimeError, "same size as input"),
])
def test_errors_name_what_was_seen_and_change_nothing(call, error, text):
    x = numbers(2, 3)
    with pytest.raises(error) as caught:
        call(x)
    assert text in str(caught.value)
    assert x.equal(numbers(2, 3)) and x._version == 0


def test_joining_promotes_skips_empties_and_keeps_empties():
    joined = iskra.cat([iskra.tensor([1]), iskra.tensor([2.5]), iskra.tensor([], dtype=iskra.int8)])
    assert joined.dtype is iskra.float32 and joined.tolist() == [1.0, 2.5]
    assert iskra.cat([iskra.empty(0), numbers(2, 3)], 1).shape == (2, 3)
    assert iskra.cat([iskra.empty(0), iskra.empty(0)]).shape == (0,)
    half = iskra.cat([iskra.ones(1, dtype=iskra.float16), iskra.ones(1, dtype=iskra.bfloat16)])
    assert half.dtype is iskra.float32
    assert iskra.stack([iskra.tensor(1), iskra.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert iskra.vstack([numbers(3), numbers(2, 3)]).shape == (3, 3)
    assert iskra.dstack([numbers(2), numbers(2)]).shape == (1, 2, 2)
    assert iskra.column_stack([numbers(2), numbers(2, 2)]).tolist() == [[0, 0, 1], [1, 2, 3]]
    assert iskra.concat is iskra.cat and iskra.row_stack is iskra.vstack


def test_joining_lists_takes_part_in_gradients_by_need():
    a, b = numbers(2).requires_grad_(), numbers(2)
    iskra.cat([a, b, a * 2]).mul(iskra.arange(6.0)).sum().backward()
    assert a.grad.tolist() == [8.0, 11.0] and b.grad is None


def test_gradients_of_several_outputs_with_some_unused():
    for parts in (lambda x: x.split(2), lambda x: x.unbind(), lambda x: x.chunk(3),
                  lambda x: x.split_with_sizes([1, 4])):
        x = numbers(5).requires_grad_()
        parts(x)[1].sum().backward()
        expected = iskra.zeros(5)
        expected[parts(numbers(5))[1].long()] = 1
        assert x.grad.equal(expected)
    x = numbers(3).requires_grad_()
    (x.chunk(1)[0] * 2).sum().backward()  # one output of an operator with many
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_parts():
    x = numbers(2, 5)
    assert [p.shape[1] for p in x.split(2, 1)] == [2, 2, 1]
    assert [p.shape[1] for p in x.chunk(4, 1)] == [2, 2, 1]
    assert [p.shape[1] for p in x.tensor_split(3, 1)] == [2, 2, 1]
    assert [p.shape[1] for p in x.tensor_split((1, 3), 1)] == [1, 2, 2]
    assert [p.shape[1] for p in x.tensor_split(iskra.tensor([4]), 1)] == [4, 1]
    assert [p.shape[0] for p in numbers(0).chunk(3)] == [0, 0, 0]
    assert x.split(split_size=5, dim=1)[0].shape == (2, 5)
    assert [p.tolist() for p in numbers(4).hsplit(2)] == [[0, 1], [2, 3]]
    assert len(x.vsplit(2)) == 2 and len(numbers(1, 1, 4).dsplit((1, 2))) == 3
    assert x.narrow(1, iskra.tensor(-2), 2).tolist() == [[3, 4], [8, 9]]


def test_rearranging():
    x = numbers(2, 3)
    assert x.flip(0, 1).tolist() == [[5, 4, 3], [2, 1, 0]] and min(x.flip(1).stride()) >= 0
    assert x.roll(1).tolist() == [[5, 0, 1], [2, 3, 4]]
    assert x.roll((1, 1), (0, 1)).tolist() == [[5, 3, 4], [2, 0, 1]]
    assert x.rot90().tolist() == [[2, 5], [1, 4], [0, 3]]
    assert x.rot90(-1).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert x.fliplr().tolist() == [[2, 1, 0], [5, 4, 3]] and x.flipud()[0].tolist() == [3, 4, 5]
    assert x.tril().tolist() == [[0, 0, 0], [3, 4, 0]] and x.triu(1).tolist() == [[0, 1, 2],
                                                                                 [0, 0, 5]]
    assert x.repeat_interleave(iskra.tensor([1, 0, 2]), 1).tolist() == [[0, 2, 2], [3, 5, 5]]
    assert x.tile(2).shape == (2, 6) and x.tile(2, 1, 1).shape == (2, 2, 3)
    assert iskra.diag(iskra.tensor([1, 2]), 1).tolist() == [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    assert iskra.block_diag(iskra.tensor([[1]]), iskra.tensor([2, 3])).tolist() == [[1, 0, 0],
                                                                                   [0, 2, 3]]
    nan = iskra.full((2, 2), float("nan")).tril()
    assert nan[0, 1] == 0 and nan[0, 0].isnan()


def test_scatters_of_views_leave_the_source():
    x = iskra.zeros(2, 3)
    assert iskra.select_scatter(x, iskra.ones(2), 1, -1)[:, 2].tolist() == [1, 1]
    assert iskra.slice_scatter(x, iskra.ones(2, 2), 1, 0, 3, 2).tolist() == [[1, 0, 1], [1, 0, 1]]
    assert iskra.diagonal_scatter(x, iskra.ones(2), 1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert iskra.as_strided_scatter(x, iskra.ones(2), (2,), (5,)).flatten().tolist() == [
        1, 0, 0, 0, 0, 1]
    assert x.eq(0).all()
    with pytest.raises(RuntimeError, match="expected src to have a size equal"):
        iskra.select_scatter(x, iskra.ones(3), 1, 0)


def test_complex_views():
    z = iskra.tensor([1 + 2j, 3 - 4j])
    z.real.add_(1)
    z.imag = iskra.tensor([9.0, 8.0])
    assert z.tolist() == [2 + 9j, 4 + 8j]
    pairs = iskra.view_as_real(z)
    assert pairs.tolist() == [[2, 9], [4, 8]] and iskra.view_as_complex(pairs).equal(z)
    assert iskra.view_as_real(iskra.ones(3, 2, dtype=iskra.complex64).t()).shape == (2, 3, 2)
    assert z.conj().imag.tolist() == [-9, -8] and not z.conj().is_conj()
    plain = numbers(2)
    assert plain.conj() is plain and plain.real is plain
    m = iskra.tensor([[1j, 2.0]])
    assert m.mH.tolist() == [[-1j], [2.0]] and m.adjoint().shape == (2, 1)
    leaf = iskra.tensor([1 + 2j], requires_grad=True)
    (leaf.real * 3 + leaf.imag * 5).sum().backward()
    assert leaf.grad.tolist() == [3 + 5j]


def test_atleast_and_broadcasting():
    assert iskra.atleast_1d(iskra.tensor(1), iskra.ones(2))[0].shape == (1,)
    assert iskra.atleast_2d(iskra.ones(3)).shape == (1, 3)
    assert isinstance(iskra.atleast_3d([iskra.ones(2)]), tuple)
    a, b = iskra.broadcast_tensors(iskra.ones(3, 1), iskra.ones(4))
    assert a.shape == b.shape == (3, 4) and a.stride() == (1, 0)
    with pytest.raises(RuntimeError, match="must match the size"):
        iskra.broadcast_tensors(iskra.ones(3), iskra.ones(4))
