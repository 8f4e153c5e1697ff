import numpy as np
import pytest
import torch

from utils import random
from utils.random import Purpose

MASK = 0xFFFFFFFF


def pcg4d(x, y, z, w):
    """The published algorithm on Python's whole numbers (Jarzynski & Olano 2020)."""
    x, y, z, w = ((v * 1664525 + 1013904223) & MASK for v in (x, y, z, w))
    for again in (True, False):
        x = (x + y * w) & MASK
        y = (y + z * x) & MASK
        z = (z + x * y) & MASK
        w = (w + y * z) & MASK
        if again:
            x, y, z, w = (v ^ (v >> 16) for v in (x, y, z, w))
    return x, y, z, w


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 - 1])
def test_bits_are_the_published_generator(seed):
    words = random.bits(seed, Purpose.DROPOUT, [3, 90000], 2, rows=3, width=6)
    for s, step in enumerate([3, 90000]):
        for row in range(3):
            for block in range(2):
                address = (
                    row * 2 + block,
                    step,
                    (int(Purpose.DROPOUT) << 16) + 2,
                    seed,
                )
                expected = pcg4d(*address)[: 4 if block == 0 else 2]
                found = words[s, row, block * 4 : block * 4 + 4].tolist()
                assert [v & MASK for v in found] == list(expected)


KNOWN = {  # (seed, purpose, step, layer): the first words of its first row
    (0, Purpose.WEIGHT, 0, 0): "9e9f9c5d df85970d 41b0416f 58da40e6",
    (0, Purpose.DROPOUT, 7, 2): "8931ab7b d6b84f0a a1b81ce6 3658987b",
    (2**32 - 1, Purpose.FOLD, 9, 1): "788a9895 1ae6ad70 5fe8e6df 16e2927c",
}


@pytest.mark.parametrize("address", KNOWN)
def test_known_answer(address):
    """Written down: a change of generator, or of an address, breaks every curve."""
    seed, purpose, step, layer = address
    words = random.bits(seed, purpose, [step], layer, 1, 4)[0, 0].tolist()
    assert " ".join(f"{word & MASK:08x}" for word in words) == KNOWN[address]


def test_a_number_depends_on_its_address_alone():
    whole = random.uniforms(5, Purpose.DROPOUT, range(10), 1, 32, 50)
    part = random.uniforms(5, Purpose.DROPOUT, [4], 1, 7, 50)
    assert torch.equal(whole[4, :7], part[0])


def test_float32_and_float64_uniforms_are_equal():
    a = random.uniforms(1, Purpose.DROPOUT, [0], 0, 64, 64, torch.float32)
    b = random.uniforms(1, Purpose.DROPOUT, [0], 0, 64, 64, torch.float64)
    assert torch.equal(a.double(), b)
    assert 0 <= float(b.min()) < float(b.max()) < 1


def test_uniforms_fill_their_interval_evenly():
    u = random.uniforms(0, Purpose.DROPOUT, range(500), 1, 32, 52).numpy().ravel()
    counts = np.histogram(u, 256, (0, 1))[0]
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 255 - 5 * 22.6 < chi2 < 255 + 5 * 22.6


@pytest.mark.parametrize("axis", ["seed", "step", "layer", "unit"])
def test_neighbouring_addresses_are_uncorrelated(axis):
    n = 4096
    draws = {
        "seed": [random.uniforms(s, 7, [0], 1, 1, n)[0, 0] for s in range(40)],
        "step": random.uniforms(0, 7, range(40), 1, 1, n)[:, 0],
        "layer": [random.uniforms(0, 7, [0], k, 1, n)[0, 0] for k in range(40)],
        "unit": random.uniforms(0, 7, [0], 1, n, 40)[0].T,
    }[axis]
    r = np.corrcoef(np.stack([np.asarray(d) for d in draws]))
    assert np.abs(r - np.eye(40)).max() < 5 / np.sqrt(n)


def test_normals_have_the_moments_of_a_normal():
    z = random.normals(3, Purpose.INPUT_NOISE, range(50), 0, 32, 63).numpy().ravel()
    n = len(z)
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)


def test_permutations_are_permutations_and_differ():
    orders = random.permutations(0, Purpose.ORDER, range(20), 101)
    assert all(sorted(o.tolist()) == list(range(101)) for o in orders)
    assert len({tuple(o.tolist()) for o in orders}) == 20
