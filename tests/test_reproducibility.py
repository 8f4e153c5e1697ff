"""The reproducibility contract: company, threads and instruction sets.

The limits are the contract's (1e-9, float64). What was seen on a Zen 4 machine with
torch 2.13 is far below: a member's weights are bit-equal in any company and with two
threads, and its curves agree to 1e-15; instruction sets agree to 1e-15 too, but for
the subgradient of L1 under Adam. There a weight that rounding leaves at ±1e-17
instead of 0 has a sign, and Adam divides by √v, so it makes a whole step of it:
curves agree to 3e-11 (λ = 1e-4) or 9e-10 (λ = 1e-2), weights to 5e-7.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from utils import Experiment, fit
from utils.engine import ensemble
from utils.engine.ensemble import Ensemble

ROOT = Path(__file__).parents[1]
LIMIT = 1e-9
WORKED = Experiment(n_train=None, epochs=50)  # 1000 points in batches of 32
STEPS = 1600

ADAM, SGD = {}, {"optimizer": "sgd", "lr": 0.1}
REGULARIZERS = {
    "subgradient L1": {"l1": 1e-4, "l1_method": "subgradient"},
    "proximal L1": {"l1": 1e-4},
    "L2": {"l2": 1e-3},
    "decoupled decay": {"weight_decay": 1e-2, "optimizer": "adamw"},
    "dropout": {"dropout": 0.5},
}
BIASES = {"l1": 1e-3, "l1_method": "subgradient", "penalize_bias": True}
CASES = {f"Adam, {name}": {**ADAM, **knobs} for name, knobs in REGULARIZERS.items()}
# Under plain SGD decay is decoupled by itself.
CASES |= {f"SGD, {name}": {**knobs, **SGD} for name, knobs in REGULARIZERS.items()}
CASES |= {"Adam, subgradient L1 of biases": BIASES}
CURVE_LIMIT = {"Adam, subgradient L1 of biases": 2e-2}  # seen: 4e-3
WEIGHT_LIMIT = {
    "Adam, subgradient L1": 1e-5,
    "Adam, subgradient L1 of biases": 1e-1,  # seen: 2e-2
}

INSTRUCTION_SETS = {
    "DEFAULT": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "AVX512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_CBWR": "AVX512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
}


def curves_of(run):
    """[metrics, epochs]"""
    return torch.tensor(list(run.history.values()), dtype=torch.float64)


def results():
    """Curves and weights of every case, by name."""
    runs = fit({name: WORKED.replace(**knobs) for name, knobs in CASES.items()}, "cpu")
    return {run.name: (curves_of(run), torch.tensor(run.weights)) for run in runs}


def save(path):
    """What the subprocesses run."""
    torch.save((torch.backends.cpu.get_cpu_capability(), results()), path)


def relative(a, b):
    """Largest difference between a and b, relative to the largest of b."""
    return float((a - b).abs().max() / b.abs().max())


def assert_close(found, expected, limit=LIMIT):
    torch.testing.assert_close(found, expected, rtol=limit, atol=1e-3 * limit)


@pytest.fixture(scope="module")
def here():
    return results()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """One process for each instruction set this CPU has, all running, and its file."""
    best, known = torch.backends.cpu.get_cpu_capability(), list(INSTRUCTION_SETS)
    folder = tmp_path_factory.mktemp("results")
    started = {}
    for name in known[: known.index(best) + 1 if best in known else 1]:
        path = folder / name
        code = f"from tests.test_reproducibility import save; save({str(path)!r})"
        environment = {**os.environ, **INSTRUCTION_SETS[name]}
        command = [sys.executable, "-c", code]
        started[name] = subprocess.Popen(command, env=environment, cwd=ROOT), path
    yield started
    for process, _ in started.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=INSTRUCTION_SETS)
def elsewhere(request, processes, here):
    """The same results from a process confined to one instruction set."""
    best = torch.backends.cpu.get_cpu_capability()
    if request.param not in processes:
        pytest.skip(f"{request.param}: this CPU has {best}")
    process, path = processes[request.param]
    assert process.wait() == 0
    capability, found = torch.load(path)
    assert capability == request.param or best not in INSTRUCTION_SETS
    return found


def test_the_runs_are_as_long_as_the_worked_example():
    ensemble = Ensemble([WORKED], "cpu")
    assert WORKED.epochs * ensemble.steps == STEPS


def test_instruction_sets_agree(here, elsewhere):
    for name in CASES:
        assert_close(elsewhere[name][0], here[name][0], CURVE_LIMIT.get(name, LIMIT))
        seen = relative(elsewhere[name][1], here[name][1])
        assert seen <= WEIGHT_LIMIT.get(name, LIMIT), name


GRID = {"l1": [0, 1e-4], "l2": [0, 1e-3], "dropout": [0, 0.5], "seed": range(8)}
STRUCTURES = {
    "adam": {},
    "sgd": SGD,
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "subgradient": {"l1_method": "subgradient"},
    "batch norm": {"batch_norm": True},
    "dropout before norm": {"batch_norm": True, "dropout_at": "before_norm"},
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_member_of_64_is_the_member_alone_and_in_other_company(name):
    grid = Experiment(n_train=100, epochs=10).replace(**STRUCTURES[name]).grid(**GRID)
    assert len(grid) == 64
    together = fit(grid, "cpu")
    others = fit(grid[20:37][::-1], "cpu")
    pairs = [(i, fit(grid[i], "cpu")[0]) for i in (0, 1, 31, 46, 63)]
    pairs += [(36 - j, run) for j, run in enumerate(others)]
    for i, run in pairs:
        assert run.experiment == grid[i]
        assert_close(curves_of(run), curves_of(together[i]))
        for a, b in zip(run.state, together[i].state, strict=True):
            assert_close(a, b)


def test_one_thread_and_two_agree(monkeypatch):
    """64 members: fewer would be too little work for torch to share out."""
    grid = Experiment(n_train=100, epochs=2).grid(**GRID)
    found = []
    for count in (1, 2):
        monkeypatch.setattr(ensemble, "THREADS", count)
        found.append(fit(grid, "cpu"))
    for one, two in zip(*found, strict=True):
        assert_close(curves_of(one), curves_of(two))
        for a, b in zip(one.state, two.state, strict=True):
            assert_close(a, b)
