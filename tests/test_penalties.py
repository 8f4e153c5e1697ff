import pytest
import torch

from utils.engine.penalties import l1_penalty, l2_penalty, soft_threshold

W = [
    torch.randn(3, 4, 5, dtype=torch.float64),
    torch.randn(3, 5, 1, dtype=torch.float64),
]
LAM = torch.tensor([0.0, 0.1, 2.0], dtype=torch.float64)


def gradients(penalty):
    weights = [w.clone().requires_grad_() for w in W]
    return torch.autograd.grad(penalty(weights, LAM).sum(), weights)


def test_values_are_the_plain_sums():
    for i, lam in enumerate(LAM):
        flat = torch.cat([w[i].flatten() for w in W])
        assert l1_penalty(W, LAM)[i] == pytest.approx(float(lam * flat.abs().sum()))
        assert l2_penalty(W, LAM)[i] == pytest.approx(float(lam * (flat**2).sum()))


def test_gradient_of_l2_is_two_lambda_w():
    for g, w in zip(gradients(l2_penalty), W, strict=True):
        torch.testing.assert_close(g, 2 * LAM.view(3, 1, 1) * w)


def test_gradient_of_l1_is_lambda_sign_and_zero_at_zero():
    for g, w in zip(gradients(l1_penalty), W, strict=True):
        torch.testing.assert_close(g, LAM.view(3, 1, 1) * w.sign())
    zero = torch.zeros(1, 1, 1, requires_grad=True)
    l1_penalty([zero], torch.ones(1)).sum().backward()
    assert zero.grad.item() == 0


def test_soft_threshold_solves_its_minimisation():
    """argmin_v ½(v − w)² + t|v|, searched on a fine grid."""
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    for w in (-2.0, -0.3, 0.0, 0.4, 1.7):
        for t in (0.0, 0.5, 1.0):
            cost = 0.5 * (grid - w) ** 2 + t * grid.abs()
            found = soft_threshold(torch.tensor(w), torch.tensor(t))
            assert found == pytest.approx(float(grid[cost.argmin()]), abs=1e-4)


def test_soft_threshold_gives_exact_zeros():
    w = torch.tensor([-0.2, 0.1, 0.3])
    assert soft_threshold(w, torch.tensor(0.25)).tolist()[:2] == [0, 0]


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_negative_strength_is_refused(bad):
    lam = torch.tensor([0.1, bad, 0.1])
    for penalty in (l1_penalty, l2_penalty):
        with pytest.raises(ValueError, match="every λ must be ≥ 0"):
            penalty(W, lam)
    with pytest.raises(ValueError, match="every λ must be ≥ 0"):
        soft_threshold(W[0], lam.view(3, 1, 1))
