"""The generator's stream, seeds and state. Literal values: PyTorch 2.13's CPU generator."""

import copy
import pickle
import threading
import zlib

import numpy as np
import pytest

from iskra.core.generator import Generator, default_generator


def made(seed=0):
    return Generator().manual_seed(seed)


# The first outputs of MT19937 for seed 5489 are published with the algorithm.
def test_first_draws_are_the_algorithms_own():
    g = made(5489)
    assert g.draw32(5).tolist() == [3499211612, 581869302, 3890346734, 3586334585, 545404204]


def test_draw_64_takes_the_high_half_first():
    halves = made(3).draw32(8).astype(np.uint64)
    expected = (halves[0::2] << np.uint64(32)) | halves[1::2]
    assert made(3).draw64(4).tolist() == expected.tolist()
    g = made(3)
    assert [g.random64() for _ in range(4)] == expected.tolist()


@pytest.mark.parametrize("counts", [(1, 5, 618, 1, 624), (0, 2047, 1), (2048, 3000), (700, 5000)])
def test_a_stream_does_not_depend_on_how_it_is_cut(counts):
    g = made(9)
    parts = np.concatenate([g.draw32(n) for n in counts])
    one = made(9)
    assert parts.tolist() == [one.random() for _ in range(sum(counts))]


def test_draws_are_arrays_of_unsigned_numbers():
    assert made().draw32(3).dtype == np.uint32
    assert made().draw64(3).dtype == np.uint64
    assert made().draw32(0).shape == made().draw64(0).shape == (0,)


@pytest.mark.parametrize(("given", "seed"), [
    (0, 0), (7, 7), (-1, 2**64 - 1), (-5, 2**64 - 5), (-(2**63), 2**63), (2**64 - 1, 2**64 - 1),
    (np.int64(4), 4),
])
def test_seeds(given, seed):
    g = Generator()
    assert g.manual_seed(given) is g
    assert g.initial_seed() == seed


@pytest.mark.parametrize("seed", [1.5, True, "3", None])
def test_a_seed_must_be_an_int(seed):
    with pytest.raises(RuntimeError, match="manual_seed expected a long"):
        Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_must_fit(seed):
    g = made(4)
    with pytest.raises(ValueError, match="Overflow"):
        g.manual_seed(seed)
    assert g.initial_seed() == 4


def test_only_the_low_32_bits_of_a_seed_count():
    assert made(5).random() == made(5 + 2**32).random()


def test_seeding_again_starts_again():
    g = made(1)
    first = g.draw32(10).tolist()
    assert g.draw32(10).tolist() != first
    g.next_normal = 1.0
    assert g.manual_seed(1).draw32(10).tolist() == first
    assert g.next_normal is None


def test_seed_from_the_system():
    g = Generator()
    seeds = {g.seed() for _ in range(4)}
    assert len(seeds) == 4
    assert g.initial_seed() in seeds
    assert made(g.initial_seed()).random() == g.random()


def test_new_generators_have_pytorchs_default_seed():
    assert Generator().initial_seed() == 67280421310721
    assert default_generator.initial_seed() != 67280421310721


@pytest.mark.parametrize("where", ["cuda", "cuda:1", "meta"])
def test_only_the_cpu_has_a_generator(where):
    with pytest.raises(RuntimeError, match="there is no random generator"):
        Generator(where)
    assert Generator("cpu").device.type == "cpu"


# State

def crc(g):
    data = g.state_bytes()
    assert data.dtype == np.uint8 and data.shape == (5056,)
    return zlib.crc32(data.tobytes())


def test_state_is_pytorchs_byte_for_byte():
    g = made(5)
    assert crc(g) == 0xE2922ED1
    g.draw32(700)
    assert crc(g) == 0x89FBB66D
    g.manual_seed(5).draw32(624)  # the whole block used up: not the same as freshly seeded
    assert crc(g) == 0x48DAE3A3


@pytest.mark.parametrize("used", [0, 1, 623, 624, 625, 5000])
def test_state_round_trip(used):
    g = made(11)
    g.draw32(used)
    g.next_normal = 0.25
    state = g.state_bytes()
    expected = g.draw32(1000).tolist()
    other = Generator()
    other.load_state_bytes(state)
    assert other.next_normal == 0.25
    assert other.initial_seed() == 11
    assert other.state_bytes().tolist() == state.tolist()
    assert other.draw32(1000).tolist() == expected


def test_state_carries_both_cached_normals():
    g = made()
    g.next_normal, g.next_float_normal = -1.5, 0.5
    other = Generator()
    other.load_state_bytes(g.state_bytes().tobytes())
    assert (other.next_normal, other.next_float_normal) == (-1.5, 0.5)


def test_wrong_states_are_refused_and_change_nothing():
    g = made(1)
    before = g.state_bytes().tolist()
    with pytest.raises(RuntimeError, match="size 5056 but found .* 10"):
        g.load_state_bytes(np.zeros(10, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.load_state_bytes(np.zeros(5056, np.uint8))
    assert g.state_bytes().tolist() == before


@pytest.mark.parametrize("copied", [
    Generator.clone_state, copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g)),
])
def test_copies_go_on_by_themselves(copied):
    g = made(2)
    g.draw32(100)
    other = copied(g)
    assert other is not g
    expected = g.draw32(50).tolist()
    assert other.draw32(50).tolist() == expected
    assert other.initial_seed() == 2


def test_rewind():
    g = made(2)
    g.random()
    mark = g.mark()
    first = g.draw32(2000).tolist()
    g.rewind(mark)
    assert g.draw32(2000).tolist() == first


def test_a_cpu_generator_has_no_offset():
    for call in (made().get_offset, lambda: made().set_offset(0)):
        with pytest.raises(RuntimeError, match="offset"):
            call()


def test_draws_of_several_threads_make_up_the_stream():
    g, found = made(6), []

    def work():
        for _ in range(50):
            with g.lock:
                found.extend((g.random(), g.random()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == made(6).draw32(400).tolist()


@pytest.mark.parametrize("seed", [0, -1, 2**40 + 7])
def test_state_beside_pytorch(seed):
    torch = pytest.importorskip("torch")
    g, theirs = made(seed), torch.Generator().manual_seed(seed)
    for count in (0, 1, 623, 1, 1249, 3000):
        ours = g.draw32(count).astype(np.int64) & 0xFFFFFF
        expected = torch.empty(count, dtype=torch.int64).random_(0, 1 << 24, generator=theirs)
        assert ours.tolist() == expected.tolist()
        assert bytes(g.state_bytes()) == bytes(theirs.get_state().numpy())
    theirs.set_state(torch.from_numpy(made(3).state_bytes()))
    assert theirs.initial_seed() == 3
