"""Matrix products: ranks, layouts, integers, narrow floats, node names, errors to the letter."""

import numpy as np
import pytest

import iskra
from iskra.codegen import kernels

F = iskra.nn.functional
RANKS = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
         ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 2)), ((3,), (5, 3, 2)),
         ((5, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (0, 3, 1))]


def random(*shape, dtype="float64"):
    values = np.random.default_rng(3).uniform(-2, 2, shape)
    return (values * (1 + 1j) if "complex" in dtype else values).astype(dtype)


@pytest.mark.parametrize("shapes", RANKS)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64"])
def test_every_rank_agrees_with_numpy(shapes, dtype):
    a, b = (np.asarray(random(*s) * 5, dtype) if dtype == "int64" else random(*s, dtype=dtype)
            for s in shapes)
    found = iskra.tensor(a) @ iskra.tensor(b)
    assert found.shape == np.matmul(a, b).shape
    np.testing.assert_allclose(found.numpy(), np.matmul(a, b), rtol=1e-12, atol=1e-12)


def test_strided_operands():
    a, b = random(4, 6, 8), random(4, 8, 10)
    x, y = iskra.tensor(a), iskra.tensor(b)
    for left, right, u, v in (
        (x[..., ::2], y[:, ::2], a[..., ::2], b[:, ::2]), (x.mT[:, :6, :6], y[:, :6],
                                                          a.swapaxes(1, 2)[:, :6, :6], b[:, :6]),
        (x.transpose(0, 1).contiguous().transpose(0, 1), y, a, b),
        (x[:1].expand(4, 6, 8), y, np.broadcast_to(a[:1], a.shape), b),
    ):
        np.testing.assert_allclose((left @ right).numpy(), u @ v, rtol=1e-12)


def test_large_integer_products_are_exact():
    values = np.random.default_rng(0)
    a = values.integers(-1000, 1000, (60, 70))
    b = values.integers(-1000, 1000, (70, 50))
    assert np.array_equal((iskra.tensor(a) @ iskra.tensor(b)).numpy(), a @ b)
    huge = np.full((40, 40), 2**40)
    assert np.array_equal((iskra.tensor(huge) @ iskra.tensor(huge)).numpy(), huge @ huge)  # wraps


@pytest.mark.parametrize("dtype", [iskra.float16, iskra.bfloat16])
def test_narrow_floats_are_summed_wide(dtype):
    ones = iskra.ones(1, 4096, dtype=dtype)
    assert (ones @ ones.t()).item() == 4096 and (ones @ ones.t()).dtype is dtype
    with pytest.raises(RuntimeError, match="same dtype"):
        ones @ ones.t().float()
    other = iskra.float16 if dtype is iskra.bfloat16 else iskra.bfloat16
    with pytest.raises(RuntimeError, match="same dtype"):
        ones @ ones.t().to(other)


@pytest.mark.parametrize("call, name", [
    (lambda m, v, x: m @ m, "MmBackward0"), (lambda m, v, x: m.mm(m), "MmBackward0"),
    (lambda m, v, x: m @ v, "MvBackward0"), (lambda m, v, x: v @ v, "DotBackward0"),
    (lambda m, v, x: v @ m, "SqueezeBackward4"), (lambda m, v, x: x @ m, "UnsafeViewBackward0"),
    (lambda m, v, x: x.bmm(x), "BmmBackward0"), (lambda m, v, x: m.addmm(m, m), "AddmmBackward0"),
    (lambda m, v, x: F.linear(m, m, v), "AddmmBackward0"),
    (lambda m, v, x: F.linear(m, m), "MmBackward0"),
    (lambda m, v, x: F.linear(x, m, v), "ViewBackward0"),
    (lambda m, v, x: F.linear(x, m), "UnsafeViewBackward0"),
    (lambda m, v, x: F.linear(v, m, v), "ViewBackward0"),
])
def test_node_names(call, name):
    m, v, x = (iskra.ones(s, requires_grad=True) for s in ((3, 3), (3,), (2, 3, 3)))
    assert call(m, v, x).grad_fn.name() == name


A, B = iskra.ones(2, 3), iskra.ones(2, 3)
V, T = iskra.ones(4), iskra.ones(2, 2, 3)


@pytest.mark.parametrize("call, error, text", [
    (lambda: A.mm(B), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    (lambda: A @ B, RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    (lambda: T @ A, RuntimeError, "mat1 and mat2 shapes cannot be multiplied (4x3 and 2x3)"),
    (lambda: V @ A, RuntimeError, "mat1 and mat2 shapes cannot be multiplied (1x4 and 2x3)"),
    (lambda: A @ B.double().t(), RuntimeError,
     "expected m1 and m2 to have the same dtype, but got: float != double"),
    (lambda: A.mm(V), RuntimeError, "mat2 must be a matrix"),
    (lambda: V.mm(A), RuntimeError, "self must be a matrix"),
    (lambda: A @ V, RuntimeError, "size mismatch, got input (2), mat (2x3), vec (4)"),
    (lambda: A.mv(V), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (4)"),
    (lambda: V @ iskra.ones(3), RuntimeError, "inconsistent tensor size, expected tensor [4] and "
     "src [3] to have the same number of elements, but got 4 and 3 elements respectively"),
    (lambda: A.dot(V), RuntimeError, "1D tensors expected, but got 2D and 1D tensors"),
    (lambda: V.dot(V.double()), RuntimeError,
     "dot : expected both vectors to have same dtype, but found Float and Double"),
    (lambda: T.bmm(T), RuntimeError,
     "Expected size for first two dimensions of batch2 tensor to be: [2, 3] but got: [2, 2]."),
    (lambda: T.bmm(A), RuntimeError, "batch2 must be a 3D tensor"),
    (lambda: iskra.ones(3, 2, 3) @ iskra.ones(2, 3, 2), RuntimeError,
     "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 0"),
    (lambda: iskra.tensor(1.0) @ A, RuntimeError,
     "both arguments to matmul need to be at least 1D, but they are 0D and 2D"),
    (lambda: A.addmm(A, B), RuntimeError, "cannot be multiplied (2x3 and 2x3)"),
    (lambda: V.addmm(A, B.t()), RuntimeError, "The expanded size of the tensor (2) must match"),
    (lambda: F.linear(A, iskra.ones(4, 5)), RuntimeError, "(2x3 and 5x4)"),
    (lambda: F.linear(A, iskra.ones(4, 3), iskra.ones(5)), RuntimeError,
     "The expanded size of the tensor (4) must match the existing size (5)"),
    (lambda: iskra.ones(2, 2, dtype=iskra.bool) @ iskra.ones(2, 2, dtype=iskra.bool),
     NotImplementedError, "Bool"),
    (lambda: A @ 3, TypeError, "unsupported operand"), (lambda: 3 @ A, TypeError, "unsupported"),
    (lambda: A.mm(3), TypeError, "mm(): argument 'mat2' (position 2) must be Tensor, not int"),
    (lambda: iskra.outer(A, V), RuntimeError, "Expected 1-D argument self, but got 2-D"),
    (lambda: iskra.tensordot(A, B, 1), RuntimeError, "contracted dimensions need to match"),
    (lambda: iskra.linalg.multi_dot([A]), RuntimeError, "at least 2 tensors but got 1"),
    (lambda: iskra.linalg.multi_dot([A, B]), RuntimeError, "cannot be multiplied"),
    (lambda: iskra.cdist(A, V), RuntimeError, "X2 got: 1D"),
    (lambda: iskra.cdist(A, B, p=-1), RuntimeError, "non-negative p"),
])
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert A.eq(1).all() and V.eq(1).all()


def test_added_products():
    nan = iskra.full((2, 2), float("nan"))
    assert nan.addmm(A, B.t(), beta=0).eq(3).all()
    assert iskra.ones(2).addmm(A, B.t(), beta=2, alpha=3).eq(11).all()
    ints = iskra.ones(2, 2, dtype=iskra.int64)
    assert ints.addmm(ints, ints, beta=0.5).eq(2).all()  # factors become integers
    x = iskra.zeros(2, 2)
    assert x.addmm_(A, B.t()) is x and x.eq(3).all()
    assert iskra.zeros(2, 2).addbmm(T, T.mT).eq(6).all()
    assert iskra.zeros(4).addmv(iskra.ones(4, 3), iskra.ones(3)).eq(3).all()
    assert iskra.addr(iskra.zeros(2), iskra.ones(3), iskra.tensor([1.0, 2.0]))[0].tolist() == [1, 2]


def test_gradients_of_linear_in_every_rank():
    for shape in ((3,), (2, 3), (2, 2, 3)):
        x = iskra.tensor(random(*shape), requires_grad=True)
        weight, bias = iskra.tensor(random(4, 3)), iskra.tensor(random(4))
        weight.requires_grad_(), bias.requires_grad_()
        y = F.linear(x, weight, bias)
        g = random(*y.shape)
        (y * iskra.tensor(g)).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), g @ weight.detach().numpy())
        rows = g.reshape(-1, 4)
        np.testing.assert_allclose(bias.grad.numpy(), rows.sum(0))
        np.testing.assert_allclose(
            weight.grad.numpy(), rows.T @ x.detach().numpy().reshape(-1, 3)
        )


# -- einsum and kin -------------------------------------------------------------------------------


@pytest.mark.parametrize("equation, shapes", [
    ("ij,jk", [(2, 3), (3, 4)]), ("ij,jk->ki", [(2, 3), (3, 4)]), ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]), ("iij->j", [(3, 3, 2)]), ("i,j", [(2,), (3,)]), ("i,i->", [(3,), (3,)]),
    ("ba", [(2, 3)]), ("...ij,...jk->...ik", [(4, 2, 3), (3, 2)]), ("ij,...j->i...", [(2, 3),
                                                                                 (5, 3)]),
    ("abc,cde,ea->bd", [(2, 3, 4), (4, 5, 6), (6, 2)]), ("ij->", [(2, 3)]),
    (" i j -> j ", [(2, 3)]),
    ("a,b,c->cab", [(2,), (3,), (4,)]), ("...,...", [(2, 3), (3,)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("i...->...", [(3, 2, 2)]), ("ij,jk->ik", [(2, 0), (0, 3)]), ("bhqd,bhkd->bhqk",
                                                                [(2, 2, 3, 4), (2, 2, 5, 4)]),
])
def test_einsum_agrees_with_numpy(equation, shapes):
    arrays = [random(*s) for s in shapes]
    found = iskra.einsum(equation, *[iskra.tensor(a) for a in arrays])
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-13)


def test_einsum_forms():
    a, b = iskra.tensor(random(2, 3)), iskra.tensor(random(3, 4))
    expected = (a @ b).t()
    assert iskra.einsum("ij,jk->ki", [a, b]).allclose(expected)
    assert iskra.einsum(a, [0, 1], b, [1, 2], [2, 0]).allclose(expected)
    assert iskra.einsum(a, [..., 1], a, [..., 1]).allclose((a * a).sum(1))
    one = iskra.tensor(random(1, 3))
    assert iskra.einsum("ij,ij->ij", a, one).allclose(a * one)  # a size of 1 broadcasts
    assert iskra.einsum("ij,kj->ik", a, iskra.tensor(random(2, 1))).shape == (2, 2)


@pytest.mark.parametrize("equation, count, text", [
    ("ij,jk", 1, "fewer operands were provided"), ("ij", 2, "more operands were provided"),
    ("ijk", 1, "number of subscripts in the equation (3) does not match"),
    ("i-j", 1, "invalid subscript given at index 1"), ("ij->ik", 1, "subscript k does not appear"),
    ("ij->ii", 1, "subscript i appears more than once in the output"),
    ("i..j", 1, "not part of any ellipsis"), ("ii", 1, "sizes don't match"),
    ("ij,jk", 2, "subscript j has size 2 for operand 1 which does not broadcast"),
])
def test_einsum_errors(equation, count, text):
    with pytest.raises(RuntimeError) as caught:
        iskra.einsum(equation, *[A] * count)
    assert text in str(caught.value)


def test_contractions_agree_with_numpy():
    a, b = random(2, 3, 4), random(4, 3, 5)
    x, y = iskra.tensor(a), iskra.tensor(b)
    for dims in (1, ([2], [0]), ([1, 2], [1, 0]), ([-1], [-3])):
        np.testing.assert_allclose(iskra.tensordot(x, y, dims).numpy(), np.tensordot(a, b, dims))
    np.testing.assert_allclose(iskra.kron(x[0], y[0]).numpy(), np.kron(a[0], b[0]))
    np.testing.assert_allclose(iskra.inner(x, x).numpy(), np.inner(a, a))
    chain = [random(2, 30), random(30, 3), random(3, 40), random(40, 1)]
    found = iskra.linalg.multi_dot([iskra.tensor(c) for c in chain])
    np.testing.assert_allclose(found.numpy(), np.linalg.multi_dot(chain))


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("rows", [4, 40])
def test_distances(p, rows):
    a, b = random(rows, 3), random(2, 5, 3)
    found = iskra.cdist(iskra.tensor(a), iskra.tensor(b), p)
    differences = np.abs(a[None, :, None] - b[:, None])
    expected = (differences != 0).sum(-1) if p == 0 else np.linalg.norm(differences, p, axis=-1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


def test_the_distance_of_equal_points_has_a_gradient_of_zero():
    x = iskra.ones(2, 3, requires_grad=True)
    iskra.cdist(x, x.detach()).sum().backward()
    assert x.grad.eq(0).all()


def test_kernels_serve_products_of_one_float_dtype(monkeypatch):
    served = []
    matmul = kernels.products.matmul
    monkeypatch.setattr(
        kernels.products, "matmul", lambda *a, **k: served.append(a[0].shape) or matmul(*a, **k))
    large, vector = iskra.rand(64, 64), iskra.rand(64)
    large @ large.t()
    iskra.nn.functional.linear(large, large, vector)
    iskra.rand(300, 300) @ iskra.rand(300)
    large @ vector
    assert served == [(64, 64), (64, 64), (300, 300), (64, 64)]
    served.clear()
    large[:1] @ large[:, :60]  # so small that it is traced
    large.to(iskra.complex64) @ large.to(iskra.complex64)
    assert served == []
    large.bfloat16() @ large.bfloat16()  # computed in float32
    assert served == [(64, 64)]
