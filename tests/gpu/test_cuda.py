"""The engine on CUDA against the engine on the CPU; each test is skipped without CUDA.

Imports nothing but pytest, torch, numpy, scikit-learn and the engine, so that
`make gpu-test` runs on a bare GPU machine.
"""

import math

import pytest
import torch

from tests.test_engine import BASE, CNN, CNN_KNOBS, DIGITS, KNOBS, SGD, curves
from utils import fit
from utils.engine.ensemble import Ensemble, choose_device
from utils.engine.runs import train_all

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def both(experiments):
    return fit(experiments, device="cpu"), fit(experiments, device="cuda")


@pytest.mark.parametrize("name", KNOBS)
@pytest.mark.parametrize("base", [BASE, DIGITS], ids=["moons", "digits"])
def test_float64_agrees_with_the_cpu(base, name):
    (cpu,), (cuda,) = both(base.replace(**KNOBS[name]))
    torch.testing.assert_close(curves(cuda), curves(cpu), rtol=1e-9, atol=1e-12)
    for a, b in zip(cuda.state, cpu.state, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", CNN_KNOBS)
def test_convolutions_agree_with_the_cpu(name):
    (cpu,), (cuda,) = both(CNN.replace(**CNN_KNOBS[name]))
    torch.testing.assert_close(curves(cuda), curves(cpu), rtol=1e-9, atol=1e-10)


def test_augmentation_agrees_with_the_cpu():
    amounts = {"rotation": 20, "shift": 1, "scale": 0.2, "flip": 0.5}
    (cpu,), (cuda,) = both(DIGITS.replace(augment=amounts))
    torch.testing.assert_close(curves(cuda), curves(cpu), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "sgd", "l2", "dropout", "batch norm"])
def test_float32_follows_float64_at_first(name):
    e = BASE.replace(**KNOBS[name], epochs=3)
    single = fit(e.replace(dtype="float32"), device="cuda")[0]
    double = fit(e, device="cuda")[0]
    assert single.state[0].dtype == torch.float32
    torch.testing.assert_close(curves(single), curves(double), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype, limit", [("float64", 1e-9), ("float32", 1e-3)])
def test_a_member_does_not_depend_on_its_company(dtype, limit):
    grid = BASE.replace(dtype=dtype, epochs=3).grid(
        l2=[0, 0.01], dropout=[0, 0.5], seed=range(16)
    )
    together = fit(grid, device="cuda")
    for i in (0, 21, 63):
        alone = fit(grid[i], device="cuda")[0]
        torch.testing.assert_close(
            curves(together[i]), curves(alone), rtol=limit, atol=limit
        )


def test_the_same_run_twice_gives_the_same_numbers():
    e = BASE.replace(**KNOBS["everything"])
    first, second = fit(e, device="cuda")[0], fit(e, device="cuda")[0]
    torch.testing.assert_close(curves(first), curves(second), rtol=0, atol=0)


def test_auto_chooses_cuda_and_everything_stays_there():
    ensemble = Ensemble([BASE.replace(dropout=0.5)], device="auto")
    record = ensemble.run_epoch()
    assert ensemble.device.type == "cuda"
    assert all(p.is_cuda for p in ensemble.parameters)
    assert not record.val_loss.is_cuda and record.val_loss.dtype == torch.float64
    assert not ensemble.state(0)[0].is_cuda


def test_a_thousand_members_learn():
    grid = BASE.replace(n_train=100, epochs=10, dtype="float32").grid(
        l2=[0, 1e-4, 1e-3, 1e-2], seed=range(256)
    )
    runs = fit(grid, device="cuda")
    losses = torch.tensor([r.history["val_loss"] for r in runs])
    assert bool(torch.isfinite(losses).all())
    assert float(losses[:, -1].mean()) < float(losses[:, 0].mean())


def test_a_diverging_member_stops_and_the_others_finish():
    tame = BASE.replace(**SGD)
    wild = tame.replace(lr=1e6, l2=1e6)
    with pytest.warns(RuntimeWarning, match="run 1 'wild' diverged"):
        runs = fit({"tame": tame, "wild": wild}, device="cuda")
    assert [run.status for run in runs] == ["finished", "diverged"]
    assert not math.isfinite(runs[1].history["val_loss"][-1])


def test_without_curves_every_run_ends_the_same():
    members = BASE.replace(dropout=0.3).grid(l2=[0, 0.01], seed=[0, 1])
    full, bare = (
        train_all([""] * 4, members, "cuda", curves) for curves in (True, False)
    )
    for a, b in zip(full, bare, strict=True):
        assert a.at_kept_epoch() == b.at_kept_epoch() and a.status == b.status
        torch.testing.assert_close(a.state, b.state, rtol=0, atol=0)


@pytest.mark.parametrize("device", ["cuda:99", "cuda:x y"])
def test_a_card_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match="device = "):
        choose_device(device)


def test_out_of_memory_says_so_and_the_card_stays_usable():
    torch.cuda.empty_cache()
    share = 64 * 2**20 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            Ensemble([BASE.replace(hidden=(1024, 1024))] * 64, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert fit(BASE, device="cuda")[0].status == "finished"


def test_folds_and_members_that_end_early_agree_with_the_cpu():
    """Once half have ended the others move to new memory, and to a new graph."""
    base = BASE.replace(batch_norm=True, dropout=0.3, epochs=6)
    members = base.grid(epochs=[2, 6], fold=[(0, 3), (2, 3)], seed=[0, 1])
    for cpu, cuda in zip(*both(members), strict=True):
        torch.testing.assert_close(curves(cuda), curves(cpu), rtol=1e-9, atol=1e-12)
