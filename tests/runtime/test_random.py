"""Random streams. Literal values and check sums: PyTorch 2.13 on the CPU, `default` arguments.

A check sum is the CRC-32 of the bytes of n samples drawn with seed n.
"""

import math
import zlib

import numpy as np
import pytest

from iskra.core import dtypes as d
from iskra.core.generator import Generator
from iskra.runtime import draws, exact, normal, random

SIZES = (1, 15, 16, 17, 33, 1000)


@pytest.fixture(autouse=True, params=[1, 1 << 60], ids=["kernels", "numpy"])
def both_ways(request, monkeypatch):
    monkeypatch.setattr(draws, "kernels_from", request.param)


def made(seed=0):
    return Generator().manual_seed(seed)


def sums(sample, dtype, sizes):
    found = []
    for n in sizes:
        values = sample(made(n), (n,), dtype)
        assert values.dtype == dtype.numpy and values.shape == (n,)
        found.append(f"{zlib.crc32(values.tobytes()):08x}")
    return " ".join(found)


@pytest.mark.parametrize(("dtype", "bounds", "expected"), [
    (d.float32, (), "5b610865 4cc616a6 13f6cf7c 977f1ea2 c19bb662 e73a9e4a"),
    (d.float32, (-0.3, 0.7), "23c23781 96306076 74773b17 5dad4d7f c117ed61 f78bc7b9"),
    (d.float16, (), "cd17d91c 5916d415 715189cf 62d0d926 2d72f2e5 3fa1aef6"),
    (d.float16, (-0.3, 0.7), "71e98826 d42e56f1 3934d483 022f4dec f2a13f6a d2d0a1ca"),
    (d.bfloat16, (), "35f01245 c1f9b1d6 3e7852ce 1ab145f2 01ba0512 8813033c"),
    (d.bfloat16, (-0.3, 0.7), "24291432 10c92c7f 57c21537 1a6ca234 072875ff f394996f"),
    (d.float64, (), "c6a7c0e3 671c59e4 39ee64ac bc0aa946 7adefd88 d6f953e4"),
    (d.float64, (-0.3, 0.7), "2af96204 b7cc14ae cf25bb38 982af437 f2b37c8a 4fb74f6f"),
    (d.complex64, (), "dc774e52 2b3bfd3a f7ea4c04 ffebe0cb c5e1d0ff eb8bd145"),
])
def test_uniform(dtype, bounds, expected):
    assert sums(lambda g, n, k: random.uniform(g, n, k, *bounds), dtype, SIZES) == expected


def test_uniform_never_reaches_its_upper_end():
    narrow = random.uniform(made(), (5000,), d.bfloat16)
    assert narrow.astype(np.float32).max() < 1
    low, high = 1.0, 1.0 + 2.0 ** -22  # four floats: half of the draws round up to the end
    values = random.uniform(made(), (1000,), d.float32, low, high)
    assert values.min() >= low and values.max() < high


@pytest.mark.parametrize(("dtype", "arguments", "expected"), [
    (d.float32, (), "e57e6d6a e450c1ad b5969b23 555dd23d 5c31cc05"),
    (d.float32, (0.5, 0.02), "2b2a0073 a1935680 dc5e7e83 ea1af08e 53df07d5"),
    (d.float16, (), "c75e651a bb01aad4 53e0a501 79801204 8314d57a"),
    (d.float16, (0.5, 0.02), "11fce49e 1911f615 dbe1ad21 bdb184c1 224417b3"),
    (d.bfloat16, (), "87407837 a8e659cd d7e889c9 53101805 26739595"),
    (d.bfloat16, (0.5, 0.02), "5a6705b6 d6ac3cf4 3351ce24 74252ff8 0bf90f35"),
])
def test_normal_in_blocks(dtype, arguments, expected):
    sizes = (16, 17, 33, 1000, 100003)
    found = sums(lambda g, n, k: random.normal(g, n, k, *arguments), dtype, sizes)
    assert found == expected


def test_normal_float64():
    few = random.normal(made(), (3,), d.float64)
    assert few.tolist() == pytest.approx(
        [1.5409961082440433, -0.2934289057609464, -2.1787893820745574], rel=1e-15)
    blocks = random.normal(made(), (17,), d.float64)
    assert blocks[[0, 8, 16]].tolist() == pytest.approx(
        [-2.310411800234176, 0.23871805816817063, 0.6748575435940039], rel=1e-15)


def test_few_normals_come_in_pairs_and_the_second_waits():
    g = made()
    three = random.normal(g, (3,), d.float32)
    assert three.tolist() == [1.5409960746765137, -0.293428897857666, -2.1787893772125244]
    assert g.next_normal is not None
    state = g.state_bytes().tolist()
    fourth = random.normal(g, (1,), d.float64, mean=2.0, std=3.0)[0]
    assert g.next_normal is None
    assert (fourth - 2) / 3 == pytest.approx(random.normal(made(), (4,), d.float64)[3])
    assert g.state_bytes().tolist()[:5016] == state[:5016]  # nothing was drawn for it


def test_a_waiting_normal_outlives_blocks_and_uniforms():
    g = made(1)
    random.normal(g, (1,), d.float32)
    waiting = g.next_normal
    random.normal(g, (32,), d.float32)
    random.uniform(g, (3,), d.float32)
    assert g.next_normal == waiting
    assert random.normal(g, (1,), d.float64)[0] == waiting


def test_no_normal_is_minus_zero():
    generator = made()
    generator.mark()
    # From words of 0 the twister makes 0s for ever, and a draw of 0 gives a radius of -0.
    state = {"key": np.zeros(624, np.uint32), "pos": 624}
    generator.rewind({"bit_generator": "MT19937", "state": state})
    values = random.normal(generator, (48,), d.float32)
    assert not np.signbit(values).any() and not values.any()


def test_polynomials_are_close_to_the_functions():
    draws = np.linspace(0, (1 << 24) - 1, 5001).astype(np.int32)
    units = draws / 2.0 ** 24
    radii = np.sqrt(-2 * np.log1p(-units))
    assert np.allclose(normal._radii(draws), radii, rtol=3e-7, atol=0)
    cos, sin = normal._cos_sin(draws)
    assert np.allclose(cos, np.cos(2 * np.pi * units), rtol=0, atol=5e-7)
    assert np.allclose(sin, np.sin(2 * np.pi * units), rtol=0, atol=5e-7)


def test_complex_normal_has_half_the_variance_in_each_part():
    z = random.normal(made(), (20000,), d.complex64)
    real = random.normal(made(), (40000,), d.float32, 0.0, 1 / math.sqrt(2))
    assert z.dtype == np.complex64
    assert z.view(np.float32).tolist() == real.tolist()


@pytest.mark.parametrize(("p", "expected"), [
    (0.5, "a505df1b 461de3b2 62fa546e 881f5984"),
    (0.1, "a505df1b 5167cdc6 72ba26c4 4bf0be66"),
    (0.9, "a505df1b 9f288e6f b34f3835 ceb4a8f3"),
])
def test_bernoulli(p, expected):
    found = sums(lambda g, n, k: random.bernoulli(g, n, k, p), d.bool_, (1, 33, 1000, 100003))
    assert found == expected


def test_bernoulli_decides_on_all_53_bits():
    # The threshold is the first sample itself, and the next float: one bit makes the difference.
    first = random.units53(made(7), 1)[0]
    assert not random.bernoulli(made(7), (1,), d.bool_, first)[0]
    assert random.bernoulli(made(7), (1,), d.bool_, float(np.nextafter(first, 1)))[0]
    assert random.bernoulli(made(7), (100,), d.int8, 1.0).all()
    assert not random.bernoulli(made(7), (100,), d.float32, 0.0).any()


def test_bernoulli_with_a_probability_for_each():
    p = np.arange(8) / 8
    assert random.bernoulli_each(made(), p.astype(np.float32), d.float32).tolist() == [
        0, 0, 1, 1, 1, 0, 1, 0]
    assert random.bernoulli_each(made(), p, d.float64).tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("dtype", "low", "high", "expected"), [
    (d.int64, 0, 10, "2dc2d10d 6a8efa97 87265c65"),
    (d.int32, -5, 5, "2144df1c 07d39289 fd700d26"),
    (d.uint8, 0, 256, "99063bca 24dc580d ebe299f9"),
    (d.int64, 0, 2**28 - 1, "c10b6a13 cef6cee4 77302594"),  # the last range for 32-bit draws
    (d.int64, 0, 2**28, "a383a1a9 bf626e6c 0f6d70ac"),
    (d.int64, -(2**63), 2**63 - 1, "5ca8989d 8adb9af9 08ae2dfe"),
    (d.float32, 0, 1000, "b1f9d9c2 bfecbec1 fd763e31"),
    (d.float16, 0, 3, "6eb66e78 800fddca c25aba9c"),
])
def test_integers(dtype, low, high, expected):
    found = sums(lambda g, n, k: random.integers(g, n, k, low, high), dtype, (1, 33, 1000))
    assert found == expected


@pytest.mark.parametrize(("dtype", "expected"), [
    (d.bool_, 0xD703E4A8), (d.uint8, 0x0C7CE045), (d.int8, 0x4A7F5EB7), (d.int16, 0x6CF808A3),
    (d.int32, 0x5E301EDB), (d.int64, 0x851D1CBC), (d.float16, 0xFFA45E36),
    (d.bfloat16, 0x50581CC3), (d.float32, 0x8F00F066), (d.float64, 0x6C89AAB1),
])
def test_integers_without_bounds(dtype, expected):
    values = random.integers_default(made(1), (1000,), dtype)
    assert values.dtype == dtype.numpy
    assert zlib.crc32(values.tobytes()) == expected


def test_integers_of_the_full_range():
    assert zlib.crc32(random.integers_full(made(1), (1000,), d.int64).tobytes()) == 0xCB38E62E
    assert zlib.crc32(random.integers_full(made(1), (1000,), d.float32).tobytes()) == 0x98EE0550


@pytest.mark.parametrize(("dtype", "low", "high", "expected"), [
    (d.float16, 0, 3, (0, 3)), (d.float16, 0, 65504, (0, 65472)),
    (d.float16, 2050, 4000, (2050, 3998)),
    (d.float32, 0, 2**24 + 2, (0, 2**24 + 2)), (d.float32, 0, 2**25 + 1, (0, 2**25 + 1)),
    (d.float32, -(2**30) - 100, None, (-(2**30), None)),
    (d.bfloat16, 0, 1000, (0, 996)), (d.float64, 0, 2**62, (0, 2**62 - 2**9)),
])
def test_bounds_that_a_float_type_can_hold(dtype, low, high, expected):
    found = random.representable_bounds(dtype, low, high)
    assert found == expected
    if high is not None:
        last = random._through(dtype, found[1] - 1)
        assert low <= random._through(dtype, found[0]) <= last < high


def test_permutation():
    assert random.permutation(made(), 10, d.int64).tolist() == [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
    found = [f"{zlib.crc32(random.permutation(made(n), n, d.int64).tobytes()):08x}"
             for n in (2, 1000, 2000, 2001, 100003)]
    assert found == ["20114bcb", "9e005afb", "38c7a68e", "e53a4085", "34accd8c"]


@pytest.mark.parametrize("size", [0, 1])
def test_permutations_of_nothing_draw_nothing(size):
    g = made()
    before = g.state_bytes().tolist()
    assert random.permutation(g, size, d.int32).tolist() == list(range(size))
    assert g.state_bytes().tolist() == before


@pytest.mark.parametrize("size", [2, 3, 4, 10, 257])
def test_exchanging_at_once_is_exchanging_one_by_one(size):
    rng = np.random.RandomState(size)
    for _ in range(20):
        ahead = rng.randint(0, np.arange(size, 1, -1))
        loop = random._shuffle_by_loop(ahead, size)
        assert random._shuffle_at_once(ahead, size).tolist() == loop.tolist()
        assert sorted(loop.tolist()) == list(range(size))


def test_huge_permutations_grow_inside_out():
    order = []
    for place, draw in enumerate(made(3).draw64(50).tolist()):
        order.append(place)
        other = draw % (place + 1)
        order[place], order[other] = order[other], place
    assert random._inside_out(made(3), 50).tolist() == order


@pytest.mark.parametrize(("sample", "expected", "float64"), [
    (random.exponential, "18d20a2e 477c8d28 6985adda 630b97cd",
     [3.508326186707642, 1.2303847641796768, 0.6150440938940115]),
    (random.cauchy, "f4fa21a9 d18227e8 0d94c964 75c25198",
     [10.597729326682297, 0.7647672596059, -0.12829934208317406]),
    (random.log_normal, "3555d48b 0cbbfa4d f30d5f24 8c127f6a",
     [59.26341788010752, 1.5115599370617072, 0.03481946309690494]),
])
def test_continuous(sample, expected, float64):
    assert sums(sample, d.float32, (1, 33, 1000, 100003)) == expected
    assert sample(made(), (3,), d.float64).tolist() == pytest.approx(float64, rel=1e-14)


def test_geometric():
    found = sums(lambda g, n, k: random.geometric(g, n, k, 0.1), d.int64, (1, 33, 1000, 100003))
    assert found == "44f3f214 effa33e8 e2835124 b499750e"


def test_samples_too_large_for_the_type_are_infinite():
    values = random.log_normal(made(), (200,), d.float16, 0.0, 20.0)
    assert np.isinf(values).any() and not np.isnan(values).any()
    assert np.isinf(random.log_normal(made(), (50,), d.float64, 700.0, 50.0)).any()


def test_multinomial():
    weights = np.arange(1, 9, dtype=np.float32)
    both = np.stack([weights, weights[::-1]])

    def draw(w, count, replacement):
        return random.multinomial(made(), w, d.float32, count, replacement).tolist()

    assert draw(weights, 1, False) == draw(weights, 1, True) == [6]
    assert draw(weights, 8, False) == [6, 7, 2, 4, 5, 1, 3, 0]
    assert draw(weights, 12, True) == [7, 6, 5, 7, 6, 7, 3, 4, 5, 4, 5, 3]
    assert draw(both, 6, True) == [[7, 6, 5, 7, 6, 7], [0, 1, 2, 1, 2, 0]]


def test_multinomial_never_draws_weight_zero():
    weights = np.array([0, 1, 0, 2, 0], np.float64)
    drawn = random.multinomial(made(), weights, d.float64, 500, True)
    assert set(drawn.tolist()) == {1, 3}
    assert set(random.multinomial(made(), weights, d.float64, 2, False).tolist()) == {1, 3}


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3, 4)])
def test_shapes(shape):
    for sample in (random.uniform, random.normal, random.exponential, random.cauchy,
                   random.log_normal, random.integers_default, random.integers_full):
        assert sample(made(), shape, d.float32).shape == shape
    assert random.bernoulli(made(), shape, d.bool_, 0.5).shape == shape
    assert random.geometric(made(), shape, d.int64, 0.5).shape == shape


# Beside PyTorch itself

COUNTS = (0, 1, 2, 15, 16, 17, 31, 32, 33, 1000, 10003)
FLOATS = ("float32", "float64", "float16", "bfloat16")


def same(ours, theirs):
    return ours.tobytes() == bytes(theirs.contiguous().view(-1).numpy().tobytes()) if (
        str(theirs.dtype) != "torch.bfloat16"
    ) else ours.astype(np.float32).tolist() == theirs.float().tolist()


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("method", [
    ("uniform", ()), ("uniform", (-0.1, 2.7)), ("normal", ()), ("normal", (3.7, 1.3)),
    ("exponential", (2.5,)), ("cauchy", (0.3, 2.0)), ("log_normal", (0.1, 0.9)),
    ("geometric", (0.2,)), ("bernoulli", (1 / 3,)), ("integers_default", ()),
])
def test_interleaved_with_pytorch(name, method):
    torch = pytest.importorskip("torch")
    method, arguments = method
    dtype, theirs = getattr(d, name), getattr(torch, name)
    in_place = {"integers_default": "random_"}.get(method, method + "_")
    g, t = made(8), torch.Generator().manual_seed(8)
    for count in COUNTS:
        ours = getattr(random, method)(g, (count,), dtype, *arguments)
        expected = getattr(torch.empty(count, dtype=theirs), in_place)(*arguments, generator=t)
        assert same(ours, expected), count
        expected = torch.empty(3, dtype=theirs).normal_(generator=t)
        assert same(random.normal(g, (3,), dtype), expected)
    assert bytes(g.state_bytes()) == bytes(t.get_state().numpy())


def test_millions_of_normals_beside_pytorch():
    torch = pytest.importorskip("torch")
    for seed in range(2):
        ours = random.normal(made(seed), (1 << 20,), d.float32)
        theirs = torch.empty(1 << 20).normal_(generator=torch.Generator().manual_seed(seed))
        assert np.array_equal(ours.view(np.int32), theirs.view(torch.int32).numpy())


@pytest.mark.parametrize("size", [2, 5, 2000, 2001, 4096, 70001])
def test_permutations_beside_pytorch(size):
    torch = pytest.importorskip("torch")
    theirs = torch.randperm(size, generator=torch.Generator().manual_seed(size))
    assert random.permutation(made(size), size, d.int64).tolist() == theirs.tolist()


def test_normal_by_pairs_serves_tensors_that_are_not_contiguous():
    torch = pytest.importorskip("torch")
    theirs = torch.empty(40, 2)[:, 0].normal_(generator=torch.Generator().manual_seed(4))
    assert random.normal_by_pairs(made(4), (40,), d.float32).tolist() == theirs.tolist()


def test_exponential_uses_the_c_library():
    units = random.units53(made(3), 2000)
    expected = [-math.log1p(-u) for u in units.tolist()]
    assert random.exponential(made(3), (2000,), d.float64).tolist() == expected
    narrow = random.exponential(made(3), (2000,), d.float32)
    assert narrow.tolist() == np.float32(expected).tolist()
    assert exact.libm(math.log1p, -units).tolist() == [-x for x in expected]
