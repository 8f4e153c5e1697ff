import math

import pytest
import torch
from torch import nn

from utils.engine.layers import batch_norm, dropout, warp

H = torch.randn(2, 16, 5, dtype=torch.float64)


def test_dropout_keeps_or_drops():
    u = torch.rand_like(H)
    out = dropout(H, 0.3, u)
    assert torch.equal(out == 0, u < 0.3)
    torch.testing.assert_close(out[u >= 0.3], H[u >= 0.3] / 0.7)


def test_dropout_by_hand():
    h, u = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.9, 0.1, 0.5])
    assert dropout(h, 0.5, u).tolist() == [2, 0, 6]


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_dropout_refuses_a_bad_rate(p):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        dropout(H, p, torch.rand_like(H))


def test_batch_norm_is_that_of_torch():
    layer = nn.BatchNorm1d(5).double()
    gamma, beta = torch.rand(1, 1, 5).double(), torch.rand(1, 1, 5).double()
    layer.weight.data, layer.bias.data = gamma[0, 0], beta[0, 0]
    mean, var = H.mean(1, keepdim=True), H.var(1, keepdim=True, unbiased=False)
    for member in range(2):
        found = batch_norm(H, gamma, beta, mean, var)[member]
        torch.testing.assert_close(found, layer(H[member]))


def image(size=8):
    return torch.arange(size * size, dtype=torch.float64).view(1, size, size)


def moved(x, rotation=0.0, right=0.0, down=0.0, scale=1.0, mirror=False):
    numbers = (torch.tensor([v], dtype=x.dtype) for v in (rotation, right, down, scale))
    return warp(x, *numbers, torch.tensor([mirror]))[0]


def test_warp_by_nothing_changes_nothing():
    torch.testing.assert_close(moved(image()), image()[0])


def test_warp_rotates_counter_clockwise():
    torch.testing.assert_close(moved(image(), rotation=90.0), image()[0].rot90())


def test_warp_mirrors():
    torch.testing.assert_close(moved(image(), mirror=True), image()[0].flip(1))


def test_warp_shifts_right_and_down_and_fills_with_zeros():
    out = moved(image(), right=2.0, down=1.0)
    torch.testing.assert_close(out[1:, 2:], image()[0][:-1, :-2])
    assert out[0].abs().sum() == 0 and out[:, :2].abs().sum() == 0


def test_warp_scales_about_the_centre():
    x = torch.zeros(1, 8, 8, dtype=torch.float64)
    x[0, 2:6, 2:6] = 1
    assert moved(x, scale=1.5).sum() == pytest.approx(16 * 1.5**2, rel=0.05)


def test_warp_mirrors_before_it_rotates():
    out = moved(image(), rotation=90.0, mirror=True)
    torch.testing.assert_close(out, image()[0].flip(1).rot90())
    assert math.isfinite(out.sum())
