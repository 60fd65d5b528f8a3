"""Fit the polynomials of Bessel's, Airy's and the normal distribution's functions.

    python tools/fit_special.py           writes special_coefficients.py
    python tools/fit_special.py --check   says whether the file is what would be written

As `fit_polynomials.py` does, but by least squares at Chebyshev's places, which come near the
minimax fit and don't mind that a polynomial without its lowest powers has a zero amid the interval.
"""

from fit_polynomials import (
    Fit,
    bound,
    chebyshev,
    evaluate,
    of_square,
    rounded,
    source,
    write,
)
from mpmath import mp, mpf

# Where Bessel functions go over from a polynomial in x^2 to their asymptotic forms.
GROWING, WAVING = 8, 5
DECAYING = {"f32": 1, "f64": 2}
PI = mp.pi


def least_squares(fit, kind):
    """The rounded coefficients, and the largest weighted error."""
    degree = fit.degrees[kind]
    places = chebyshev(bound(fit.low, kind), bound(fit.high, kind), 6 * (degree + 1))
    values = [fit.function(x) for x in places]
    weights = [abs(fit.weight(x)) for x in places]
    known, free = {}, list(range(degree + 1))
    with mp.workdps(150):  # normal equations: as many digits again are lost
        terms = [[w * x**power for power in free] for x, w in zip(places, weights)]
        gram = mp.matrix([[mp.fsum(t[i] * t[j] for t in terms) for j in free] for i in free])
        right = [mp.fsum(t[i] * w * v for t, v, w in zip(terms, values, weights)) for i in free]
        while free:
            part = mp.matrix([[gram[i, j] for j in free] for i in free])
            rest = [right[i] - mp.fsum(gram[i, j] * c for j, c in known.items()) for i in free]
            found = mp.lu_solve(part, mp.matrix(rest))
            known[free.pop(0)] = mpf(rounded(found[0], kind))
    error = max(abs(w * (evaluate(known, x) - v)) for x, v, w in zip(places, values, weights))
    return [float(known[power]) for power in range(degree + 1)], error


def inverse(function):
    """A function of 1 / x, given as a function of x."""
    return lambda v: function(1 / v)


def inverse_square(function):
    """A function of 1 / x^2, given as a function of x."""
    return lambda s: function(1 / mp.sqrt(s))


def growing(order):
    """I(x) / x^order, and x^(1/2) exp(-x) I(x)."""
    near = lambda x: mp.besseli(order, x) / x**order
    far = lambda x: mp.sqrt(x) * mp.exp(-x) * mp.besseli(order, x)
    return near, far


def decaying(order):
    """What K(x) has beside its logarithm, times x for order 1, and x^(1/2) exp(x) K(x)."""
    sign = -1 if order else 1
    near = lambda x: x**order * (
        mp.besselk(order, x) + sign * mp.log(x / 2) * mp.besseli(order, x))
    far = lambda x: mp.sqrt(x) * mp.exp(x) * mp.besselk(order, x)
    return near, far


def zero_squared(order):
    """The square of the first zero of J above 0."""
    return mp.besseljzero(order, 1) ** 2


def waving(order):
    """J(x) / x^order without its first zero."""
    return lambda x: mp.besselj(order, x) / x**order / (x * x - zero_squared(order))


def waving_rest(order):
    """What Y(x) has beside 2 / pi (log(x) J(x) - 1 / x for order 1), over x^order."""
    def rest(x):
        poles = 1 / x if order else 0
        logarithmic = 2 / PI * (mp.log(x) * mp.besselj(order, x) - poles)
        return (mp.bessely(order, x) - logarithmic) / x**order
    return rest


def phases(order):
    """P(x) and x Q(x) of Hankel's expansion, each by x."""
    def turned(x):
        angle = x - (2 * order + 1) * PI / 4
        return mp.hankel1(order, x) * mp.sqrt(PI * x / 2) * mp.exp(-1j * angle)
    return lambda x: turned(x).real, lambda x: turned(x).imag * x


def airy_far(x):
    """Ai(x) exp(zeta) 2 pi^(1/2) x^(1/4), zeta = 2/3 x^(3/2)."""
    return 2 * mp.sqrt(PI) * x ** mpf("0.25") * mp.airyai(x) * mp.exp(2 * x ** mpf("1.5") / 3)


def airy_phases():
    """The even and the odd part (times zeta) of Ai(-x)'s expansion, each by zeta."""
    def turned(zeta):
        x = (3 * zeta / 2) ** (mpf(2) / 3)
        both = mp.airybi(-x) + 1j * mp.airyai(-x)
        return both * mp.sqrt(PI) * x ** mpf("0.25") * mp.exp(-1j * (zeta + PI / 4))
    return lambda z: turned(z).real, lambda z: turned(z).imag * z


def quantile_ratio(s):
    """x / s for which the chance of more than x is exp(-s^2), of a standard normal variable."""
    wanted = -s * s
    x = mp.sqrt(2) * s
    for _ in range(100):
        tail = mp.erfc(x / mp.sqrt(2)) / 2
        step = (mp.log(tail) - wanted) * tail * mp.sqrt(2 * PI) * mp.exp(x * x / 2)
        x += step
        if abs(step) < mpf(10) ** -45:
            break
    return x / s


def from_quotient(q):
    """s, given (s - 4) / (s + 4)."""
    return 4 * (1 + q) / (1 - q)


def to_quotient(s):
    return (mpf(s) - 4) / (mpf(s) + 4)


def same(x):
    return mpf(1)


def bessel_fits(order):
    """The fits of one order."""
    name, unit = f"BESSEL_%s{order}", "" if not order else " / x"
    times = "" if not order else " x"
    growing_near, growing_far = growing(order)
    decaying_near, decaying_far = decaying(order)
    low = mpf("1e-16")
    tail = mpf("1e-4")  # of what goes to a limit
    near = {kind: mpf(bound) ** 2 for kind, bound in DECAYING.items()}
    far = {kind: 1 / mpf(bound) for kind, bound in DECAYING.items()}
    even, odd = phases(order)
    center = mpf(WAVING**2) / 2
    shifted = lambda function: lambda u: of_square(function)(u + center)
    return [
        Fit(name % "I", f"I{order}(x){unit} by x^2, |x| <= {GROWING}", of_square(growing_near),
            of_square(lambda x: 1 / growing_near(x)), low, GROWING**2, {"f32": 10, "f64": 15}),
        Fit(name % "I" + "_FAR", f"x^(1/2) exp(-x) I{order}(x) by 1 / x, x >= {GROWING}",
            inverse(growing_far), inverse(lambda x: 1 / growing_far(x)), tail,
            1 / mpf(GROWING), {"f32": 6, "f64": 25}),
        Fit(name % "I" + "_NEAR", f"I{order}(x){unit} by x^2, |x| <= 1 or 2",
            of_square(growing_near), of_square(lambda x: 1 / growing_near(x)), low, near,
            {"f32": 4, "f64": 9}),
        Fit(name % "K", f"what K{order}(x) has beside a logarithm,{times} by x^2, "
            "x <= 1 or 2", of_square(decaying_near),
            of_square(lambda x: 1 / (x**order * mp.besselk(order, x))), low, near,
            {"f32": 4, "f64": 10}),
        Fit(name % "K" + "_FAR", f"x^(1/2) exp(x) K{order}(x) by 1 / x, x >= 1 or 2",
            inverse(decaying_far), inverse(lambda x: 1 / decaying_far(x)), tail,
            far, {"f32": 10, "f64": 23}),
        Fit(name % "J", f"J{order}(x){unit} without its first zero by x^2 - 25/2, |x| <= {WAVING}",
            shifted(waving(order)), same, low - center, center, {"f32": 7, "f64": 12}),
        Fit(name % "Y", f"what Y{order}(x) has beside a logarithm by x^2 - 25/2, x <= {WAVING}",
            shifted(waving_rest(order)), same, low - center, center, {"f32": 9, "f64": 13}),
        Fit(name % "P", f"P{order} of Hankel's expansion by 1 / x^2, x >= {WAVING}",
            inverse_square(even), same, tail**2, 1 / mpf(WAVING**2), {"f32": 4, "f64": 17}),
        Fit(name % "Q", f"x Q{order} of Hankel's expansion by 1 / x^2, x >= {WAVING}",
            inverse_square(odd), same, tail**2, 1 / mpf(WAVING**2), {"f32": 4, "f64": 19}),
    ]


# Where Airy's function goes over from a polynomial to its asymptotic forms.
AIRY_DECAYING, AIRY_WAVING = mpf(2), mpf(4)


def zeta_of(x):
    return 2 * x ** mpf("1.5") / 3


def uniform_terms(count, length):
    """Series in eta of the terms of Temme's expansion, from its differential equation.

    mu, with eta^2 / 2 = mu - log(1 + mu), obeys mu mu' = eta (1 + mu).
    """
    mu = [mpf(0), mpf(1)]
    for n in range(2, length):
        known = mp.fsum(mu[i] * (n - i + 1) * mu[n - i + 1] for i in range(2, n))
        mu.append((mu[n - 1] - known) / (n + 1))
    inverse = [mpf(1)]  # of mu / eta
    for n in range(1, length - 1):
        inverse.append(-mp.fsum(mu[k + 1] * inverse[n - k] for k in range(1, n + 1)))
    logarithm = [mpf(0)] * (count + 1)  # of gamma(a) over Stirling's formula, by 1 / a
    for j in range(1, count // 2 + 1):
        logarithm[2 * j - 1] = mp.bernoulli(2 * j) / (2 * j * (2 * j - 1))
    stirling = [mpf(1)]
    for n in range(1, count + 1):
        stirling.append(
            mp.fsum(k * logarithm[k] * stirling[n - k] for k in range(1, n + 1)) / n)
    terms = [inverse[1:]]
    for k in range(1, count):
        scale = (-1) ** k * stirling[k]
        slope = [(j + 1) * c for j, c in enumerate(terms[-1][1:])]
        terms.append([s + scale * r for s, r in zip(slope[1:], inverse[1:])])
    return terms


def series(coefficients):
    return lambda x: mp.polyval(coefficients[::-1], x)


AIRY_EVEN, AIRY_ODD = airy_phases()
LOWEST = to_quotient("1.49")
FITS = [
    *bessel_fits(0),
    *bessel_fits(1),
    Fit("AIRY", "Ai(x) by x - 1/2, -1 <= x <= 2", lambda u: mp.airyai(u + 0.5),
        lambda u: 1 / mp.airyai(u + 0.5), -1.5, 1.5, {"f64": 21}),
    Fit("AIRY_TURNING", "Ai(x) by x + 5/2, -4 <= x <= -1", lambda u: mp.airyai(u - 2.5), same,
        -1.5, 1.5, {"f64": 22}),
    Fit("AIRY_FAR", "2 pi^(1/2) x^(1/4) exp(zeta) Ai(x) by 1 / zeta = 3/2 x^(-3/2), x >= 2",
        inverse(lambda z: airy_far((3 * z / 2) ** (mpf(2) / 3))), same, mpf("1e-4"),
        1 / zeta_of(AIRY_DECAYING), {"f64": 24}),
    Fit("AIRY_EVEN", "the even part of the expansion of Ai(-x) by 1 / zeta^2, x >= 4",
        inverse_square(AIRY_EVEN), same, mpf("1e-8"), 1 / zeta_of(AIRY_WAVING) ** 2, {"f64": 17}),
    Fit("AIRY_ODD", "the odd part, times zeta", inverse_square(AIRY_ODD), same, mpf("1e-8"),
        1 / zeta_of(AIRY_WAVING) ** 2, {"f64": 18}),
    Fit("NDTRI", "the normal quantile of (1 + u) / 2 over u by u^2, |u| <= 0.8",
        lambda s: mp.erfinv(mp.sqrt(s)) * mp.sqrt(2 / s), lambda s: mp.sqrt(s / 2) / mp.erfinv(
            mp.sqrt(s)), mpf("1e-12"), mpf("0.65"), {"f32": 9, "f64": 24}),
    Fit("NDTRI_FAR", "the normal quantile of 1 - exp(-s^2) over s by (s - 4) / (s + 4), s >= 3/2",
        lambda q: quantile_ratio(from_quotient(q)), lambda q: 1 / quantile_ratio(from_quotient(q)),
        LOWEST, {"f32": to_quotient("10.3"), "f64": to_quotient("27.4")},
        {"f32": 13, "f64": 31}),
    *(Fit(f"GAMMA_UNIFORM{k}", f"term {k} of Temme's expansion by eta, |eta| <= 1", series(term),
          lambda eta, k=k: mpf(50) ** -k, -mpf("1.001"), mpf("1.001"), {"f64": degree})
      for k, (term, degree) in enumerate(zip(uniform_terms(6, 100), (23, 19, 16, 14, 11, 8)))),
]

if __name__ == "__main__":
    write("special_coefficients.py",
          source(FITS, least_squares, ways="Near-best", what="further functions",
                 tool="fit_special.py"))
