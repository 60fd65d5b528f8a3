"""The special functions: literal values, poles and infinities, numbers in place of tensors."""

import math

import pytest
from literal import check

import iskra as torch

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("compute, dtypes, values", [
    (lambda: torch.special.erf(torch.tensor([0.0, 0.5, INF, NAN])),
     "float32", [0.0, 0.5204999, 1.0, NAN]),
    (lambda: torch.special.erfc(torch.tensor([0.0, 0.5, INF])), "float32", [1.0, 0.47950011, 0.0]),
    (lambda: torch.special.erfcx(torch.tensor([0.0, 1.0, 30.0])),
     "float32", [1.0, 0.42758358, 0.018795889]),
    (lambda: torch.special.erfinv(torch.tensor([0.0, 0.5, 1.0, -1.0, 2.0])),
     "float32", [0.0, 0.47693628, INF, -INF, NAN]),
    (lambda: torch.special.gammaln(torch.tensor([0.5, 1.0, 4.0, 0.0, -1.0])),
     "float32", [0.5723649, 0.0, 1.7917595, INF, INF]),
    (lambda: torch.special.digamma(torch.tensor([1.0, 0.5, 0.0, -1.0])),
     "float32", [-0.5772157, -1.96351, -INF, NAN]),
    (lambda: torch.special.psi(torch.tensor([1.0])), "float32", [-0.5772157]),
    (lambda: torch.special.polygamma(1, torch.tensor([1.0, 2.0])),
     "float32", [1.644934, 0.64493406]),
    (lambda: torch.special.multigammaln(torch.tensor([2.5]), 2), "float32", [0.8570478]),
    (lambda: torch.special.multigammaln(torch.tensor([0.5]), 2), "float32", [INF]),
    (lambda: torch.special.gammainc(torch.tensor([2.0]), torch.tensor([0.0, 1.0, INF])),
     "float32", [0.0, 0.26424113, 1.0]),
    (lambda: torch.special.gammaincc(torch.tensor([2.0]), torch.tensor([0.0, 1.0, INF])),
     "float32", [1.0, 0.7357589, 0.0]),
    (lambda: torch.special.i0(torch.tensor([0.0, 1.0, -1.0])),
     "float32", [1.0, 1.2660658, 1.2660658]),
    (lambda: torch.special.i0e(torch.tensor([0.0, 100.0])), "float32", [1.0, 0.03994438]),
    (lambda: torch.special.i1(torch.tensor([0.0, 1.0])), "float32", [0.0, 0.5651591]),
    (lambda: torch.special.i1e(torch.tensor([0.0, 1.0])), "float32", [0.0, 0.20791042]),
    (lambda: torch.special.bessel_j0(torch.tensor([0.0, 1.0])), "float32", [1.0, 0.7651977]),
    (lambda: torch.special.bessel_j1(torch.tensor([0.0, 1.0])), "float32", [0.0, 0.44005057]),
    (lambda: torch.special.bessel_y0(torch.tensor([1.0, 0.0])), "float32", [0.08825696, -INF]),
    (lambda: torch.special.bessel_y1(torch.tensor([1.0, 0.0])), "float32", [-0.7812128, -INF]),
    (lambda: torch.special.modified_bessel_k0(torch.tensor([1.0, 0.0])),
     "float32", [0.42102444, INF]),
    (lambda: torch.special.spherical_bessel_j0(torch.tensor([0.0, 1.0])),
     "float32", [1.0, 0.84147096]),
    (lambda: torch.special.airy_ai(torch.tensor([0.0, 1.0])), "float32", [0.35502806, 0.13529241]),
    (lambda: torch.special.entr(torch.tensor([0.5, 0.0, -1.0, NAN])),
     "float32", [0.3465736, 0.0, -INF, NAN]),
    (lambda: torch.special.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 3.0])),
     "float32", [0.0, 2.1972246]),
    (lambda: torch.special.xlogy(0, torch.tensor([0.0, NAN])), "float32", [0.0, NAN]),
    (lambda: torch.special.xlogy(torch.tensor([0.0, 2.0]), 3), "float32", [0.0, 2.1972246]),
    (lambda: torch.special.xlog1py(torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 3.0])),
     "float32", [0.0, 2.7725887]),
    (lambda: torch.special.zeta(torch.tensor([2.0]), torch.tensor([1.0])), "float32", [1.644934]),
    (lambda: torch.special.expit(torch.tensor([0.0, -1000.0, 1000.0])), "float32", [0.5, 0.0, 1.0]),
    (lambda: torch.special.logit(torch.tensor([0.5, 0.0, 1.0, 2.0])),
     "float32", [0.0, -INF, INF, NAN]),
    (lambda: torch.special.logit(torch.tensor([0.0, 1.0]), 0.25),
     "float32", [-1.0986123, 1.0986123]),
    (lambda: torch.special.expm1(torch.tensor([1e-10, 1.0])), "float32", [1e-10, 1.7182819]),
    (lambda: torch.special.exp2(torch.tensor([3.0])), "float32", [8.0]),
    (lambda: torch.special.log1p(torch.tensor([1e-10, -1.0])), "float32", [1e-10, -INF]),
    (lambda: torch.special.sinc(torch.tensor([0.0, 0.5])), "float32", [1.0, 0.63661975]),
    (lambda: torch.special.ndtr(torch.tensor([0.0, -INF, INF])), "float32", [0.5, 0.0, 1.0]),
    (lambda: torch.special.ndtri(torch.tensor([0.5, 0.0, 1.0])), "float32", [0.0, -INF, INF]),
    (lambda: torch.special.log_ndtr(torch.tensor([0.0, -30.0])),
     "float32", [-0.6931472, -454.32126]),
    (lambda: torch.special.round(torch.tensor([0.5, 1.5, 2.5])), "float32", [0.0, 2.0, 2.0]),
    (lambda: torch.special.round(torch.tensor([1.255]), decimals=2), "float32", [1.26]),
    (lambda: torch.special.softmax(torch.tensor([0.0, 0.0]), 0), "float32", [0.5, 0.5]),
    (lambda: torch.special.log_softmax(torch.tensor([0.0, 0.0]), 0),
     "float32", [-0.6931472, -0.6931472]),
    (lambda: torch.special.logsumexp(torch.tensor([0.0, 0.0]), 0), "float32", 0.6931472),
    (lambda: torch.special.chebyshev_polynomial_t(torch.tensor([0.5]), torch.tensor([3])),
     "float32", [-1.0]),
    (lambda: torch.special.chebyshev_polynomial_u(torch.tensor([0.5]), 3), "float32", [-1.0]),
    (lambda: torch.special.hermite_polynomial_h(torch.tensor([0.5]), 3), "float32", [-5.0]),
    (lambda: torch.special.hermite_polynomial_he(torch.tensor([0.5]), 3), "float32", [-1.375]),
    (lambda: torch.special.laguerre_polynomial_l(torch.tensor([0.5]), 3), "float32", [-0.14583333]),
    (lambda: torch.special.legendre_polynomial_p(torch.tensor([0.5]), 3), "float32", [-0.4375]),
    (lambda: torch.special.hermite_polynomial_h(0.5, torch.tensor([0.0, 1.0, 2.0])),
     "float32", [1.0, 1.0, -1.0]),
    (lambda: torch.special.erf(torch.tensor([1, 2])), "float32", [0.8427008, 0.9953223]),
    (lambda: torch.special.erf(torch.tensor([True])), "float32", [0.8427008]),
    (lambda: torch.special.i0(torch.tensor([2])), "float32", [2.2795854]),
    (lambda: torch.sinc(torch.tensor([0.0, 1+1j])),
     "complex64", [(1+0j), (-1.8380390405654907-1.838038682937622j)]),
    (lambda: torch.logaddexp(torch.tensor([0.0, 1+1j, -1000.0]), torch.tensor([0.2, 1j, -1001.0])),
     "complex64", [(0.7981389164924622+0j), (1.31326162815094+1j), (-999.686767578125+0j)]),
    (lambda: torch.logcumsumexp(torch.tensor([0.0, 1+1j, -1000.0]), 0),
     "complex64", [0j, (1.2135701179504395+0.7472885847091675j),
     (1.2135701179504395+0.7472885847091675j)]),
    (lambda: torch.lgamma(torch.tensor([0.5, 3.0])), "float32", [0.5723649, 0.6931472]),
    (lambda: torch.mvlgamma(torch.tensor([3.0]), 2), "float32", [1.550195]),
    (lambda: torch.special.gammainc(torch.tensor([-1.0]), torch.tensor([1.0])), "float32", [NAN]),
])
def test_values_and_dtypes(compute, dtypes, values):
    check(compute(), dtypes, values)


@pytest.mark.parametrize("compute, error, message", [
    (lambda: torch.special.polygamma(-1, torch.tensor([1.0])),
     RuntimeError, "polygamma.n, x. does not support negative"),
    (lambda: torch.special.xlogy(2, 3), TypeError, "xlogy..: argument 'input' .position 1. mus"),
    (lambda: torch.special.xlog1py(2, 3), TypeError, "xlog1py..: argument 'input' .position 1. m"),
    (lambda: torch.special.zeta(2, 3), TypeError, "zeta..: argument 'input' .position 1. must"),
    (lambda: torch.special.chebyshev_polynomial_t(2, 3),
     TypeError, "chebyshev_polynomial_t..: argument 'input'"),
    (lambda: torch.special.erf(2.0), TypeError, "erf..: argument 'input' .position 1. must"),
    (lambda: torch.special.gammaln(torch.tensor([1j])),
     NotImplementedError, '"lgamma" not implemented for \'ComplexFloat'),
    (lambda: torch.special.gammainc(1.0, torch.tensor([1.0])),
     TypeError, "gammainc..: argument 'input' .position 1."),
])
def test_refusals(compute, error, message):
    with pytest.raises(error, match=message):
        compute()


@pytest.mark.parametrize(("name", "edge"), [("xlogy", 0.0), ("xlog1py", -1.0)])
def test_slope_of_products_with_logarithms_where_the_factor_is_zero(name, edge):
    """It is the logarithm, but for those that are not finite."""
    function = getattr(torch.special, name)
    x = torch.tensor([0.0, 0.0, 0.0, 2.0], requires_grad=True)
    y = torch.tensor([edge + 0.5, edge, edge - 1, edge + 1])
    function(x, y).sum().backward()
    assert x.grad.tolist() == pytest.approx([math.log(0.5), 0.0, 0.0, 0.0])
    for number, slope in ((edge + 0.5, math.log(0.5)), (edge, 0.0), (edge - 1, 0.0)):
        x = torch.zeros(2, requires_grad=True)
        function(x, number).sum().backward()
        assert x.grad.tolist() == pytest.approx([slope] * 2)
