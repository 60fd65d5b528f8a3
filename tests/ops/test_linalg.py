"""Linear algebra: identities, batches, gradients by finite differences, errors."""

import numpy as np
import pytest

import iskra
from iskra.autograd import gradcheck, gradgradcheck

L = iskra.linalg
SHAPES = [(3, 3), (2, 3, 3), (2, 1, 4, 4), (0, 3, 3), (2, 0, 0)]


def random(*shape, dtype=iskra.float64, seed=0):
    values = np.random.default_rng(seed)
    array = values.uniform(-1, 1, shape)
    if dtype.is_complex:
        array = array + 1j * values.uniform(-1, 1, shape)
    return iskra.tensor(array).to(dtype)


def square(*shape, dtype=iskra.float64, by=3.0):
    return random(*shape, dtype=dtype) + by * iskra.eye(shape[-1], dtype=dtype)


def hermitian(*shape, dtype=iskra.float64):
    a = random(*shape, dtype=dtype)
    return a @ a.mH + iskra.eye(shape[-1], dtype=dtype)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), tolerance, tolerance)


FLOATS = [iskra.float64, iskra.complex128]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_inverses_solvers_and_determinants(shape, dtype):
    a = square(*shape, dtype=dtype)
    eye = iskra.eye(shape[-1], dtype=dtype).expand(shape)
    close(a @ L.inv(a), eye)
    b = random(*shape[:-1], 2, dtype=dtype)
    close(a @ L.solve(a, b), b)
    close((a @ L.solve(a, b[..., 0]).unsqueeze(-1)).squeeze(-1), b[..., 0])
    close(L.solve(a, b.mT, left=False) @ a, b.mT)
    sign, log = L.slogdet(a)
    close(sign * log.exp().to(dtype), L.det(a))
    close(L.det(a @ a), L.det(a) * L.det(a), 1e-8)
    close(L.matrix_power(a, -2) @ L.matrix_power(a, 2), eye)
    assert L.inv(a).dtype is dtype and L.inv_ex(a).info.eq(0).all()


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (3, 5), (0, 3, 2)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_decompositions_multiply_back(shape, dtype):
    a = random(*shape, dtype=dtype)
    u, s, vh = L.svd(a, full_matrices=False)
    close(u @ iskra.diag_embed(s).to(dtype) @ vh, a)
    close(L.svdvals(a), s)
    assert L.svd(a).U.shape == (*shape[:-1], shape[-2])
    for mode in ("reduced", "complete"):
        q, r = L.qr(a, mode)
        close(q @ r, a)
        close(q.mH @ q, iskra.eye(q.size(-1), dtype=dtype).expand(*shape[:-2], -1, -1))
    assert L.qr(a, "r").Q.shape == (0,)
    p, lower, upper = L.lu(a)
    close(p @ lower @ upper, a)
    close(L.pinv(L.pinv(a)), a, 1e-8)
    close(a @ L.pinv(a) @ a, a)
    packed, tau = iskra.geqrf(a)
    if shape[-2] >= shape[-1]:
        q = L.householder_product(packed, tau)
        close(q @ packed[..., : q.size(-1), :].triu(), a)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_decompositions_of_square_matrices(shape, dtype):
    h = hermitian(*shape, dtype=dtype)
    lower = L.cholesky(h)
    close(lower @ lower.mH, h)
    close(L.cholesky(h, upper=True), lower.mH)
    close(h @ iskra.cholesky_inverse(lower), iskra.eye(shape[-1], dtype=dtype).expand(shape))
    values, vectors = L.eigh(h)
    close((vectors * values.unsqueeze(-2).to(dtype)) @ vectors.mH, h)
    close(L.eigvalsh(h, UPLO="U"), values)
    a = random(*shape, dtype=dtype)
    values, vectors = L.eig(a)
    assert values.dtype is iskra.complex128
    close(a.to(iskra.complex128) @ vectors, vectors * values.unsqueeze(-2))
    packed, pivots = L.lu_factor(a)
    b = random(*shape[:-1], 2, dtype=dtype)
    close(a @ L.lu_solve(packed, pivots, b), b, 1e-8)
    close(a.mH @ L.lu_solve(packed, pivots, b, adjoint=True), b, 1e-8)
    close(L.lu_solve(packed, pivots, b.mT, left=False) @ a, b.mT, 1e-8)
    sym = a + a.mT
    close(sym @ L.ldl_solve(*L.ldl_factor(sym), b), b, 1e-8)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_triangular_systems_read_one_triangle(upper, left, unit):
    a = square(2, 3, 3)
    b = random(2, 3, 3, seed=1)
    x = L.solve_triangular(a, b, upper=upper, left=left, unitriangular=unit)
    part = a.triu() if upper else a.tril()
    if unit:
        part = part - iskra.diag_embed(part.diagonal(0, -2, -1)) + iskra.eye(3)
    close(part @ x if left else x @ part, b)


def test_float32_stays_float32():
    a = square(3, 3).float()
    for call in (L.inv, L.det, L.cholesky, L.svdvals, L.pinv, L.matrix_exp, L.norm):
        argument = a @ a.mT if call is L.cholesky else a
        assert call(argument).dtype is iskra.float32
    assert L.eigvals(a).dtype is iskra.complex64 and L.eig(a)[1].dtype is iskra.complex64
    with pytest.raises(RuntimeError, match="Low precision dtypes not supported. Got Half"):
        L.inv(a.half())


# -- gradients ------------------------------------------------------------------------------------

GRADIENTS = {
    "inv": L.inv, "det": L.det, "slogdet": lambda a: L.slogdet(a)[1], "pinv": L.pinv,
    "logdet": lambda a: (a @ a.mT).logdet(), "matrix_exp": L.matrix_exp,
    "cholesky": lambda a: L.cholesky(a @ a.mH),
    "cholesky upper": lambda a: iskra.cholesky(a @ a.mH, upper=True),
    "qr": lambda a: L.qr(a), "lu": lambda a: L.lu(a)[1:], "lu_factor": lambda a: L.lu_factor(a)[0],
    "eigh": lambda a: (lambda r: (r[0], r[1].abs()))(L.eigh(a + a.mH)),
    "eigvalsh": lambda a: L.eigvalsh(a + a.mH), "svdvals": L.svdvals,
    "svd": lambda a: (lambda u, s, vh: (u.abs(), s, vh.abs(), (u * s.to(u.dtype).unsqueeze(-2)) @ vh
                                        ))(*L.svd(a, False)),
    "eig": lambda a: L.eigvals(a).pow(2).sum().real,
    "eig vectors": lambda a: L.eig(a)[1].abs().pow(3).sum(),
    "matrix_power": lambda a: L.matrix_power(a, 3), "cond": L.cond,
    "nuclear": lambda a: L.matrix_norm(a, "nuc"),
    "spectral": lambda a: L.matrix_norm(a, 2),
    "lu_solve": lambda a: L.lu_solve(*L.lu_factor(a), a[..., :2]),
    "householder": lambda a: L.householder_product(a, a[..., 0, :]),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients(name, dtype):
    call = GRADIENTS[name]
    if name in ("logdet", "householder") and dtype.is_complex:
        pytest.skip("of real matrices")
    for shape in ((3, 3), (2, 2, 2)):
        a = square(*shape, dtype=dtype, by=1.5).requires_grad_()
        assert gradcheck(call, (a,), atol=1e-4)
    if name not in ("eig vectors", "svd", "eigh"):
        a = square(2, 2, dtype=dtype, by=1.5).requires_grad_()
        assert gradgradcheck(call, (a,), atol=1e-3)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
@pytest.mark.parametrize("name", ["qr", "svd", "svdvals", "pinv", "lu", "lu_factor", "nuclear"])
def test_gradients_of_rectangular_matrices(name, shape):
    for dtype in FLOATS:
        assert gradcheck(GRADIENTS[name], (random(*shape, dtype=dtype).requires_grad_(),),
                         atol=1e-4)


def test_the_determinant_of_a_singular_matrix_has_its_cofactors_as_gradient():
    a = iskra.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=iskra.float64, requires_grad=True)
    L.det(a).backward()
    close(a.grad, iskra.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=iskra.float64))


def test_least_squares():
    a, b = random(5, 3), random(5, 2, seed=1)
    for driver in ("gels", "gelsy", "gelsd", "gelss"):
        found = L.lstsq(a, b, driver=driver)
        close(found.solution, L.pinv(a) @ b)
        if driver != "gelsy":
            close(found.residuals, ((a @ found.solution - b) ** 2).sum(0))
    assert L.lstsq(a, b).rank == 3 and L.lstsq(a, b, driver="gelsd").singular_values.shape == (3,)
    assert gradcheck(lambda x, y: L.lstsq(x, y)[0],
                     (a.clone().requires_grad_(), b.clone().requires_grad_()), atol=1e-4)
    low = iskra.ones(3, 3)
    assert L.matrix_rank(low) == 1 and L.matrix_rank(low, hermitian=True) == 1
    assert L.matrix_rank(iskra.diag(iskra.tensor([1.0, 0.1])), atol=0.5, rtol=0.0) == 1


@pytest.mark.parametrize("ord", [None, "fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")])
def test_matrix_norms_agree_with_numpy(ord):
    a = random(3, 4)
    close(L.norm(a, ord), iskra.tensor(np.linalg.norm(a.numpy(), ord)))
    batch = random(2, 3, 4, 5)
    kept = L.matrix_norm(batch, ord or "fro", dim=(1, 3), keepdim=True)
    assert kept.shape == (2, 1, 4, 1)
    expected = np.linalg.norm(batch.numpy()[1, :, 2], ord or "fro")
    assert kept[1, 0, 2, 0].item() == pytest.approx(expected)


@pytest.mark.parametrize("ord", [0, 0.5, 1, 1.5, 2, 3, float("inf"), -float("inf"), -1])
def test_vector_norms_agree_with_numpy(ord):
    x = random(4)
    close(L.vector_norm(x, ord), iskra.tensor(np.linalg.norm(x.numpy(), ord)))
    zeros = iskra.zeros(3, requires_grad=True)
    L.vector_norm(zeros, ord).backward()
    assert zeros.grad is None or ord < 1 or not zeros.grad.isnan().any()


def test_norms_of_other_kinds():
    z = iskra.tensor([3 + 4j, 0j])
    assert L.vector_norm(z) == 5 and L.vector_norm(z).dtype is iskra.float32
    assert iskra.tensor([3.0, 4.0]).norm() == 5 and iskra.norm(iskra.ones(2, 2), p=1) == 4
    assert L.vector_norm(iskra.ones(4, dtype=iskra.bfloat16)).dtype is iskra.bfloat16
    assert L.vector_norm(iskra.ones(2), dtype=iskra.float64).dtype is iskra.float64
    assert iskra.renorm(iskra.tensor([[3.0, 4.0]]), 2, 0, 1).norm().item() == pytest.approx(1)
    assert iskra.dist(iskra.ones(2), iskra.zeros(2), 1) == 2
    assert L.cond(iskra.zeros(2, 2), 1) == float("inf")


def test_products():
    x, y = random(2, 3), random(2, 3, seed=1)
    close(L.cross(x, y), iskra.tensor(np.cross(x.numpy(), y.numpy())))
    assert iskra.cross(iskra.ones(3, 4), iskra.ones(3, 4)).shape == (3, 4)
    close(L.vecdot(x, y), (x * y).sum(-1))
    assert L.vander(iskra.tensor([2.0, 3.0]), N=3).tolist() == [[1, 2, 4], [1, 3, 9]]
    a = square(6, 6)
    close(iskra.tensordot(L.tensorinv(a.view(2, 3, 6)), a.view(2, 3, 6), 2), iskra.eye(6).double())
    close(iskra.tensordot(a.view(2, 3, 6), L.tensorsolve(a.view(2, 3, 6), x), 1), x)
    close(iskra.trace(x), x[0, 0] + x[1, 1])
    packed, tau = iskra.geqrf(a)
    q = L.householder_product(packed, tau)
    close(iskra.ormqr(packed, tau, a), q @ a)
    close(iskra.ormqr(packed, tau, a, left=False, transpose=True), a @ q.mT)


SINGULAR = iskra.zeros(2, 2)


@pytest.mark.parametrize("call, error, text", [
    (lambda: L.inv(SINGULAR), L.LinAlgError, "linalg.inv: The diagonal element 1 is zero"),
    (lambda: L.inv(iskra.stack([iskra.eye(2), SINGULAR])), L.LinAlgError, "(Batch element 1)"),
    (lambda: L.solve(SINGULAR, iskra.ones(2)), L.LinAlgError, "the input matrix is singular"),
    (lambda: L.cholesky(-iskra.eye(3)), L.LinAlgError, "leading minor of order 1"),
    (lambda: iskra.cholesky(-iskra.eye(3)), L.LinAlgError, "cholesky: The factorization"),
    (lambda: L.svd(iskra.full((2, 2), float("nan"))), L.LinAlgError, "non-finite values"),
    (lambda: L.eig(iskra.full((2, 2), float("nan"))), RuntimeError, "infs or NaNs"),
    (lambda: L.lu_factor(SINGULAR), RuntimeError, "U[1,1] is zero"),
    (lambda: L.inv(iskra.ones(2, 3)), RuntimeError, "but they are 2 by 3 matrices"),
    (lambda: L.inv(iskra.ones(2)), RuntimeError, "must have at least 2 dimensions"),
    (lambda: L.det(iskra.ones(2, 2).long()), RuntimeError, "floating point or complex"),
    (lambda: L.solve(iskra.eye(2), iskra.ones(3)), RuntimeError, "Incompatible shapes of A and B"),
    (lambda: L.solve(iskra.eye(2), iskra.ones(2).double()), RuntimeError, "Float and B of type "
                                                                          "Double"),
    (lambda: L.solve_triangular(iskra.eye(2), iskra.ones(2), upper=True), RuntimeError,
     "B must have at least 2 dimensions"),
    (lambda: L.eigh(iskra.eye(2), UPLO="X"), RuntimeError, "UPLO argument"),
    (lambda: L.qr(iskra.eye(2), mode="full"), RuntimeError, "unrecognized mode 'full'"),
    (lambda: L.norm(iskra.ones(2, 2), "nope"), RuntimeError, "Order nope not supported"),
    (lambda: L.norm(iskra.ones(2, 2, 2), 2), RuntimeError, "the input must be 1D or 2D. Got 3D"),
    (lambda: L.vector_norm(iskra.ones(2).long()), RuntimeError, "Got Long"),
    (lambda: L.vector_norm(iskra.ones(0), float("inf")), RuntimeError, "have an identity"),
    (lambda: L.matrix_norm(iskra.ones(2, 2), dim=(0, 0)), RuntimeError, "dims must be different"),
    (lambda: L.cross(iskra.ones(4), iskra.ones(4)), RuntimeError, "must have length 3. Got 4"),
    (lambda: L.cond(iskra.ones(2, 3), 1), RuntimeError, "2 by 3 matrices"),
    (lambda: L.matrix_power(iskra.eye(2), 1.5), TypeError, "must be int, not float"),
    (lambda: L.lstsq(iskra.ones(3, 2), iskra.ones(4, 2)), RuntimeError, "should match"),
    (lambda: L.lstsq(iskra.ones(3, 2), iskra.ones(3, 2), driver="x"), RuntimeError, "driver"),
    (lambda: iskra.trace(iskra.ones(2)), RuntimeError, "expected a matrix"),
])
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_ex_forms_report_without_raising():
    found = L.inv_ex(iskra.stack([iskra.eye(2), SINGULAR]))
    assert found.info.tolist() == [0, 1] and found.info.dtype is iskra.int32
    assert found.inverse[0].equal(iskra.eye(2))
    assert L.cholesky_ex(-iskra.eye(2)).info == 1 and L.solve_ex(SINGULAR, iskra.ones(2)).info != 0
    assert issubclass(L.LinAlgError, RuntimeError)
    assert repr(found).startswith("iskra.return_types.linalg_inv_ex(\ninverse=")


def test_low_rank():
    iskra.manual_seed(0)
    a = random(20, 3) @ random(3, 10, seed=1)
    u, s, v = iskra.svd_lowrank(a, q=3)
    close((u * s) @ v.mT, a, 1e-8)
    assert iskra.pca_lowrank(a, q=2)[1].shape == (2,)
