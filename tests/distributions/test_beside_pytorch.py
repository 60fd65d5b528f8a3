"""Every distribution beside PyTorch: samples of one seed, densities, moments, gradients, words."""

import pytest

import iskra

torch = pytest.importorskip("torch")


def values(library, *parameters, dtype="float64", grad=False):
    dtype = getattr(library, dtype)
    return [library.tensor(p, dtype=dtype, requires_grad=grad) for p in parameters]


MATRIX = [[2.0, 0.5], [0.5, 1.0]]
SHARES = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]

# name, parameters, names of the parameters, further settings
CASES = [
    ("Bernoulli", [[0.1, 0.7]], ["probs"], {}),
    ("Bernoulli", [[0.1, -2.0]], ["logits"], {}),
    ("Beta", [[0.5, 2.0], [1.5, 3.0]], ["concentration1", "concentration0"], {}),
    ("Binomial", [[0.2, 0.6]], ["probs"], {"total_count": 5}),
    ("Binomial", [[0.2, -0.6]], ["logits"], {"total_count": 5}),
    ("Categorical", [SHARES], ["probs"], {}),
    ("Categorical", [[0.5, -1.0, 2.0]], ["logits"], {}),
    ("Cauchy", [[0.0, 1.0], [1.0, 2.0]], ["loc", "scale"], {}),
    ("Chi2", [[1.0, 4.0]], ["df"], {}),
    ("ContinuousBernoulli", [[0.2, 0.5, 0.4995, 0.9]], ["probs"], {}),
    ("ContinuousBernoulli", [[-1.0, 0.0, 3.0]], ["logits"], {}),
    ("Dirichlet", [[[0.5, 2.0, 1.0], [3.0, 4.0, 5.0]]], ["concentration"], {}),
    ("Exponential", [[0.5, 2.0]], ["rate"], {}),
    ("FisherSnedecor", [[3.0, 6.0], [5.0, 6.0]], ["df1", "df2"], {}),
    ("Gamma", [[0.5, 2.0], [1.0, 3.0]], ["concentration", "rate"], {}),
    ("Geometric", [[0.3, 0.9]], ["probs"], {}),
    ("Geometric", [[0.3, -0.9]], ["logits"], {}),
    ("Gumbel", [[0.0, 1.0], [1.0, 2.0]], ["loc", "scale"], {}),
    ("HalfCauchy", [[1.0, 2.0]], ["scale"], {}),
    ("HalfNormal", [[1.0, 2.0]], ["scale"], {}),
    ("InverseGamma", [[3.0, 2.5], [1.0, 3.0]], ["concentration", "rate"], {}),
    ("Kumaraswamy", [[0.5, 2.0], [1.5, 3.0]], ["concentration1", "concentration0"], {}),
    ("Laplace", [[0.0, 1.0], [1.0, 2.0]], ["loc", "scale"], {}),
    ("LogNormal", [[0.0, 1.0], [1.0, 0.5]], ["loc", "scale"], {}),
    ("LogisticNormal", [[0.0, 1.0], [1.0, 0.5]], ["loc", "scale"], {}),
    ("LowRankMultivariateNormal", [[0.0, 1.0], [[1.0], [0.5]], [1.0, 2.0]],
     ["loc", "cov_factor", "cov_diag"], {}),
    ("Multinomial", [SHARES], ["probs"], {"total_count": 6}),
    ("Multinomial", [[0.5, -1.0, 2.0]], ["logits"], {"total_count": 6}),
    ("MultivariateNormal", [[0.0, 1.0], MATRIX], ["loc", "covariance_matrix"], {}),
    ("MultivariateNormal", [[0.0, 1.0], MATRIX], ["loc", "precision_matrix"], {}),
    ("MultivariateNormal", [[[0.0, 1.0], [2.0, 3.0]], [[2.0, 0.0], [0.5, 1.0]]],
     ["loc", "scale_tril"], {}),
    ("NegativeBinomial", [[3.0, 5.0], [0.3, 0.6]], ["total_count", "probs"], {}),
    ("NegativeBinomial", [[3.0, 5.0], [0.3, -0.6]], ["total_count", "logits"], {}),
    ("Normal", [[0.0, 1.0], [1.0, 2.0]], ["loc", "scale"], {}),
    ("OneHotCategorical", [SHARES], ["probs"], {}),
    ("OneHotCategoricalStraightThrough", [[0.5, -1.0, 2.0]], ["logits"], {}),
    ("Pareto", [[1.0, 2.0], [2.5, 3.0]], ["scale", "alpha"], {}),
    ("Poisson", [[0.5, 12.0]], ["rate"], {}),
    ("RelaxedBernoulli", [0.5, [0.2, 0.9]], ["temperature", "probs"], {}),
    ("RelaxedBernoulli", [0.5, [0.2, -0.9]], ["temperature", "logits"], {}),
    ("RelaxedOneHotCategorical", [0.5, SHARES], ["temperature", "probs"], {}),
    ("StudentT", [[1.5, 3.0], [0.0, 1.0], [1.0, 2.0]], ["df", "loc", "scale"], {}),
    ("Uniform", [[0.0, 1.0], [1.0, 3.0]], ["low", "high"], {}),
    ("VonMises", [[0.0, 1.0], [0.5, 4.0]], ["loc", "concentration"], {}),
    ("Weibull", [[1.0, 2.0], [0.5, 3.0]], ["scale", "concentration"], {}),
]
IDS = [f"{case[0]}-{'-'.join(case[2])}" for case in CASES]


def make(library, case, dtype="float64", grad=False):
    name, given, names, settings = case
    parameters = values(library, *given, dtype=dtype, grad=grad)
    made = getattr(library.distributions, name)(
        **dict(zip(names, parameters, strict=True)), **settings)
    return made, parameters


def same(found, expected, rtol=1e-6, atol=1e-9):
    found, expected = found.detach(), expected.detach()
    assert tuple(found.shape) == tuple(expected.shape)
    assert str(found.dtype).split(".")[1] == str(expected.dtype).split(".")[1]
    expected = iskra.from_numpy(expected.numpy().copy())
    iskra.testing.assert_close(found, expected, rtol=rtol, atol=atol, equal_nan=True)


def outcome(function):
    try:
        return function()
    except (NotImplementedError, AttributeError) as error:
        return type(error)


def both(ours, theirs, what):
    found, expected = outcome(lambda: what(ours)), outcome(lambda: what(theirs))
    if isinstance(expected, type):
        assert found is expected or expected is AttributeError
    else:
        same(found, expected)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_densities_and_moments(case):
    (ours, _), (theirs, _) = make(iskra, case), make(torch, case)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert repr(ours).replace("iskra.", "torch.") == repr(theirs)
    torch.manual_seed(3)
    value = theirs.sample((4,))
    mine = iskra.from_numpy(value.numpy().copy())
    same(ours.log_prob(mine), theirs.log_prob(value))
    for what in ("mean", "variance", "stddev", "mode"):
        if what == "mode" and case[0] == "Kumaraswamy":
            continue  # PyTorch has the concentrations the wrong way round
        both(ours, theirs, lambda d, what=what: getattr(d, what))
    both(ours, theirs, lambda d: d.entropy())
    both(ours, theirs, lambda d: d.enumerate_support())
    both(ours, theirs, lambda d: d.enumerate_support(expand=False))
    both(ours, theirs, lambda d: d.cdf(mine if d is ours else value))
    shares = iskra.rand(ours.batch_shape, dtype=iskra.float64)
    both(ours, theirs, lambda d: d.icdf(shares if d is ours else torch.from_numpy(shares.numpy())))
    support = theirs.support.check(value)
    assert ours.support.check(mine).tolist() == support.tolist()
    assert repr(ours.support).replace("iskra.", "torch.") == repr(theirs.support)
    assert ours.has_rsample == theirs.has_rsample


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_samples_of_one_seed(case, dtype):
    (ours, _), (theirs, _) = make(iskra, case, dtype), make(torch, case, dtype)
    for shape in ((), (3,), (2, 5)):
        iskra.manual_seed(7)
        torch.manual_seed(7)
        same(ours.sample(shape), theirs.sample(shape), rtol=2e-5, atol=1e-6)
        assert iskra.rand(1).item() == torch.rand(1).item()  # the streams are at one place
    assert not ours.sample().requires_grad


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradients(case):
    results = []
    for library in (iskra, torch):
        made, parameters = make(library, case, grad=True)
        library.manual_seed(5)
        value = made.rsample((3,)) if made.has_rsample else made.sample((3,))
        loss = made.log_prob(value.detach()).sum()
        loss = loss + (value ** 2).sum() if made.has_rsample else loss
        results.append(library.autograd.grad(loss, parameters, allow_unused=True))
    for found, expected in zip(*results, strict=True):
        if expected is None:
            assert found is None
        else:
            fitted = case[0] in ("Beta", "Chi2", "Dirichlet", "FisherSnedecor", "Gamma",
                                 "InverseGamma", "StudentT")  # PyTorch's slopes of gammas are
            same(found, expected, rtol=5e-3 if fitted else 1e-5, atol=1e-5 if fitted else 1e-7)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_expanded_batches(case):
    (ours, _), (theirs, _) = make(iskra, case), make(torch, case)
    shape = (3,) + tuple(theirs.batch_shape)
    wide, theirs = ours.expand(shape), theirs.expand(shape)
    assert type(wide) is type(ours) and tuple(wide.batch_shape) == shape
    assert wide.event_shape == ours.event_shape
    value = ours.sample()
    same(wide.log_prob(value), theirs.log_prob(torch.from_numpy(value.numpy().copy())))
    assert wide.sample((2,)).shape == (2, *shape, *ours.event_shape)


PAIRS = [(case, case) for case in CASES if case[0] in {
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Dirichlet", "Exponential", "Gamma",
    "Geometric", "Gumbel", "HalfNormal", "Laplace", "LogNormal", "MultivariateNormal", "Normal",
    "OneHotCategorical", "Pareto", "Poisson", "Uniform", "Chi2",
}]
BY_NAME = {case[0]: case for case in CASES}
PAIRS += [(BY_NAME[p], BY_NAME[q]) for p, q in (
    ("Uniform", "Normal"), ("Normal", "Laplace"), ("Laplace", "Normal"), ("Exponential", "Normal"),
    ("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Chi2", "Gamma"), ("Normal", "Cauchy"),
)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0][0]}-{pair[1][0]}")
def test_divergences(pair):
    def divergence(library):
        p, _ = make(library, pair[0])
        name, given, names, settings = pair[1]
        moved = [library.tensor(v, dtype=library.float64) for v in given]
        moved = [v * 0.9 if n not in ("probs",) else v.roll(1, -1)
                 for n, v in zip(names, moved, strict=True)]
        moved = dict(zip(names, moved, strict=True))
        q = getattr(library.distributions, name)(**moved, **settings)
        return library.distributions.kl_divergence(p, q)

    both(iskra, torch, divergence)


REFUSED = [
    lambda lib: lib.distributions.Normal(0.0, -1.0),
    lambda lib: lib.distributions.Normal(lib.tensor([0.0, float("nan")]), 1.0),
    lambda lib: lib.distributions.Normal("a", 1.0),
    lambda lib: lib.distributions.Categorical(),
    lambda lib: lib.distributions.Categorical(lib.tensor(1.0)),
    lambda lib: lib.distributions.Categorical(lib.tensor([-0.5, 1.5])),
    lambda lib: lib.distributions.Categorical(lib.ones(2)).log_prob(lib.tensor(3)),
    lambda lib: lib.distributions.Normal(lib.zeros(3), 1.0).log_prob(lib.zeros(2)),
    lambda lib: lib.distributions.Normal(0.0, 1.0).log_prob(0.5),
    lambda lib: lib.distributions.Normal(0.0, 1.0).log_prob(lib.tensor(float("nan"))),
    lambda lib: lib.distributions.Bernoulli(lib.tensor(1.5)),
    lambda lib: lib.distributions.Bernoulli(0.5).log_prob(lib.tensor(0.5)),
    lambda lib: lib.distributions.Uniform(1.0, 0.0),
    lambda lib: lib.distributions.Exponential(2.0).log_prob(lib.tensor(-1.0)),
    lambda lib: lib.distributions.Beta(1.0, 1.0).log_prob(lib.tensor(2.0)),
    lambda lib: lib.distributions.Dirichlet(lib.ones(2)).log_prob(lib.tensor([0.5, 0.6])),
    lambda lib: lib.distributions.MultivariateNormal(lib.zeros(2)),
    lambda lib: lib.distributions.MultivariateNormal(lib.zeros(2), -lib.eye(2)),
    lambda lib: lib.distributions.Independent(lib.distributions.Normal(0.0, 1.0), 1),
    lambda lib: lib.distributions.Binomial(3, lib.tensor(0.5)).log_prob(lib.tensor(4.0)),
]


@pytest.mark.parametrize("call", REFUSED)
def test_bad_parameters_and_values(call):
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(expected.type) as found:
        call(iskra)
    ours = str(found.value).replace("iskra.", "torch.").splitlines()[0]
    assert ours == str(expected.value).splitlines()[0]


def test_checks_can_be_left_out():
    for library in (iskra, torch):
        wild = library.distributions.Normal(0.0, -1.0, validate_args=False)
        assert wild.log_prob(library.tensor(0.0)).isnan()
        try:
            library.distributions.Distribution.set_default_validate_args(False)
            assert library.distributions.Normal(0.0, -1.0).scale == -1
        finally:
            library.distributions.Distribution.set_default_validate_args(True)


TRANSFORMS = [
    lambda T, t: T.ExpTransform(),
    lambda T, t: T.TanhTransform(),
    lambda T, t: T.SigmoidTransform(),
    lambda T, t: T.SoftplusTransform(),
    lambda T, t: T.AffineTransform(1.0, -2.0),
    lambda T, t: T.AffineTransform(t([1.0, 2.0, 3.0]), t([1.0, -2.0, 0.5])),
    lambda T, t: T.AffineTransform(0.0, t([1.0, -2.0, 0.5]), event_dim=1),
    lambda T, t: T.StickBreakingTransform(),
    lambda T, t: T.ComposeTransform([T.AffineTransform(0.0, 0.5), T.TanhTransform()]),
    lambda T, t: T.ComposeTransform([T.ExpTransform(), T.PowerTransform(t(2.0))]),
    lambda T, t: T.ComposeTransform([T.TanhTransform(), T.StickBreakingTransform()]),
    lambda T, t: T.IndependentTransform(T.ExpTransform(), 1),
    lambda T, t: T.ReshapeTransform((3,), (3, 1)),
    lambda T, t: T.ExpTransform().inv.inv,
    lambda T, t: T.ComposeTransform([]),
]


@pytest.mark.parametrize("number", range(len(TRANSFORMS)))
def test_transforms(number):
    x = [[0.1, -0.7, 0.3], [0.5, 1.5, -1.0]]
    found = []
    for library in (iskra, torch):
        def tensor(v, library=library):
            return library.tensor(v, dtype=library.float64)

        transform = TRANSFORMS[number](library.distributions.transforms, tensor)
        y = transform(tensor(x))
        base = library.distributions.Normal(tensor([[0.0] * 3] * 2), 1.0)
        d = library.distributions.TransformedDistribution(base, transform)
        facts = (tuple(d.batch_shape), tuple(d.event_shape), transform.bijective,
                 transform.domain.event_dim, transform.codomain.event_dim, repr(transform))
        found.append((y, transform.inv(y), transform.log_abs_det_jacobian(tensor(x), y),
                      d.log_prob(y), facts))
    for ours, theirs in zip(found[0][:4], found[1][:4], strict=True):
        same(ours, theirs)
    assert found[0][4] == found[1][4]


def test_transformed_with_a_cache_knows_where_values_came_from():
    D = iskra.distributions
    d = D.TransformedDistribution(D.Normal(iskra.zeros(2), 20.0), [D.TanhTransform(cache_size=1)])
    iskra.manual_seed(0)
    value = d.rsample()
    assert value.abs().max() == 1 and d.log_prob(value).isfinite().all()


def test_mixtures_and_independent():
    for of in (lambda D, t: D.MixtureSameFamily(D.Categorical(t([[0.2, 0.8]] * 3)),
                                                D.Normal(t([[0.0, 2.0]] * 3), t([[1.0, 0.5]] * 3))),
               lambda D, t: D.MixtureSameFamily(D.Categorical(t([0.2, 0.8])), D.Independent(
                   D.Normal(t([[0.0, 2.0, 1.0], [1.0, 1.0, 1.0]]), t(1.0)), 1)),
               lambda D, t: D.Independent(D.Normal(t([[0.0, 2.0]] * 3), t(1.0)), 1),
               lambda D, t: D.Independent(D.Bernoulli(t([[0.1, 0.2]] * 3)), 2)):
        made = [of(lib.distributions, lambda v, lib=lib: lib.tensor(v, dtype=lib.float64))
                for lib in (iskra, torch)]
        ours, theirs = made
        assert repr(ours).replace("iskra.", "torch.") == repr(theirs)
        iskra.manual_seed(1)
        torch.manual_seed(1)
        x, y = ours.sample((4,)), theirs.sample((4,))
        same(x, y)
        same(ours.log_prob(x), theirs.log_prob(y))
        same(ours.mean, theirs.mean)
        same(ours.variance, theirs.variance)
        both(ours, theirs, lambda d: d.entropy())
        wide, theirs = ours.expand((2, *ours.batch_shape)), theirs.expand((2, *theirs.batch_shape))
        same(wide.log_prob(x[:1]), theirs.log_prob(y[:1]))


def test_formulas_of_divergence_can_be_added():
    D = iskra.distributions

    class Mine(D.Normal):
        pass

    p, q = Mine(0.0, 1.0), D.Cauchy(0.0, 1.0)
    with pytest.raises(NotImplementedError, match="p type Mine and q type Cauchy"):
        D.kl_divergence(p, q)

    @D.register_kl(Mine, D.Cauchy)
    def formula(p, q):
        return p.loc + 3

    assert D.kl_divergence(p, q) == 3
    assert D.kl_divergence(p, Mine(1.0, 1.0)) == 0.5
    with pytest.raises(TypeError, match="subclass of Distribution"):
        D.register_kl(int, D.Normal)
