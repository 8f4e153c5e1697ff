"""The engine against a DataLoader loop, scikit-learn and JAX: time per configuration.

Everything runs in one process, interleaved: each timing of the engine has a timing of
every rival just before it, and a ratio is the median over such pairs, so that a machine
that others use too slows both sides alike. JAX has an environment of its own and so a
process of its own; the two take turns. Needs torch, numpy and scikit-learn.

    python -m bench.engine [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from bench.rivals.loops import PlainLoop, ScikitLearn
from utils import Experiment
from utils.engine import ensemble
from utils.engine.ensemble import Ensemble

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "_build" / "bench.json"
JAX_PYTHON = ROOT / ".venv" / "jax" / "bin" / "python"

# The worked example: 1000 points, batches of 32, so 32 steps an epoch.
WORKED = Experiment(data="ring", n_train=None, l1=1e-5, l2=1e-4, dropout=0.2)
STEPS, EPOCHS = 32, 50
ROUNDS, FEW = 7, 5
MEMBERS = (1, 4, 16, 64, 256, 1024)
DTYPES = ("float32", "float64")

NOTES = """\
Median [quartiles]. E members of one seed, differing in λ₁, λ₂ and p, of the network
2-50-50-1 in batches of 32; '× loop' is how much longer a DataLoader loop takes for one
configuration. Engine, loop and JAX evaluate both sets after the epoch; 'bare loop' and
scikit-learn do not, and scikit-learn has neither L1 nor dropout. '% of matmul': the
engine's arithmetic against a large matrix product. JAX takes the threads it likes."""


def grid(members, draws=False, **changes):
    """Experiments that differ in λ₁, λ₂ and p, all of one draw or each of its own."""
    return [
        WORKED.replace(
            l1=1e-6 * (1 + i % 13),
            l2=1e-5 * (1 + i % 7),
            dropout=0.1 + 0.4 * i / members,
            seed=i if draws else 0,
            split=i if draws else None,
            **changes,
        )
        for i in range(members)
    ]


def flop_per_epoch():
    """Arithmetic of one member's epoch: 32 steps, then both sets evaluated.

    The first layer needs no gradient of its inputs.
    """
    weights = [2 * 50, 50 * 50, 50 * 1]
    forward = 2 * sum(weights)
    backward = forward + 2 * sum(weights[1:])
    return WORKED.n_train * (forward + backward) + 2000 * forward


def seconds(work, times=1):
    """Wall-clock and processor seconds of work(): other users slow only the first."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    return wall / times, cpu / times


def middle(values):
    """Median and quartiles of a measure, as kept in bench.json."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    low, high = ordered[quarter], ordered[-1 - quarter]
    value = statistics.median(ordered)
    return {"value": value, "low": low, "high": high, "rounds": len(ordered)}


class Matmul:
    """The machine's speed at what it does best, in the same process."""

    def __init__(self, dtype, n=1024):
        shape, options = (n, n), {"dtype": getattr(torch, dtype)}
        self.a, self.b, self.c = (torch.ones(*shape, **options) for _ in range(3))
        self.flop = 2 * n**3

    def run(self):
        torch.mm(self.a, self.b, out=self.c)


class Jax:
    """The process that runs rivals/jax_ensemble.py; it works while this one waits."""

    def __init__(self, python):
        script = str(Path(__file__).parent / "rivals" / "jax_ensemble.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([str(python), script], **pipes)

    def seconds(self, members, dtype):
        """Wall-clock and processor seconds of one epoch, compiled before."""
        self.process.stdin.write(f"{members} {dtype}\n")
        self.process.stdin.flush()
        wall, cpu = map(float, self.process.stdout.readline().split())
        return wall, cpu

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(members, dtype, draws=False, jax=None, rivals=True):
    """Time one ensemble and its rivals: {measure: middle}."""
    ensemble = Ensemble(grid(members, draws, dtype=dtype), "cpu")
    work = rivals_of(WORKED.replace(dtype=dtype), rivals)
    matmul, repeat = Matmul(dtype), max(1, 16 // members)
    for warm in (*work.values(), ensemble.run_epoch, matmul.run):
        warm()
    found = []
    for _ in range(ROUNDS if members < 256 else FEW):
        times = {name: seconds(epoch) for name, epoch in work.items()}
        times["engine"] = seconds(ensemble.run_epoch, repeat)
        times["matmul"] = seconds(matmul.run)
        if jax:
            times["JAX"] = jax.seconds(members, dtype)
        found.append(measures(times, members, matmul.flop))
    return {name: middle([m[name] for m in found]) for name in found[0]}


def rivals_of(e, rivals):
    """The functions that train one configuration one epoch, by name."""
    work = {
        "loop": PlainLoop(e).epoch,
        "bare loop": PlainLoop(e, evaluate=False).epoch,
    }
    return {**work, "scikit-learn": ScikitLearn(e).epoch} if rivals else work


def measures(times, members, matmul_flop):
    """One round's times as what the table shows."""
    wall, cpu = times["engine"]
    rate, best = flop_per_epoch() * members / wall, matmul_flop / times["matmul"][0]
    row = {"ms per epoch": 1000 * wall}
    row["µs per member-step"] = 1e6 * wall / members / STEPS
    row["% of matmul"] = 100 * rate / best
    row["× loop"] = times["loop"][0] * members / wall
    row["× loop, CPU time"] = times["loop"][1] * members / cpu
    row["× bare loop"] = times["bare loop"][0] * members / wall
    if "scikit-learn" in times:
        row["× scikit-learn"] = times["scikit-learn"][0] * members / wall
    if "JAX" in times:
        row["× JAX"] = times["JAX"][0] / wall
        row["× JAX, CPU time"] = times["JAX"][1] / cpu
    return row


def per_configuration(dtype, members, jax):
    """The main table: a row per number of members, and one with a draw for each."""
    rows = {f"E = {n}": compare(n, dtype, jax=jax) for n in members}
    rows |= {"E = 64, 64 draws": compare(64, dtype, draws=True)}
    rows["E = 64, 64 draws"]["× one draw"] = draws_against_one(dtype)
    return rows


def draws_against_one(dtype):
    """How fast 64 members of 64 draws train, in terms of 64 of one draw."""
    one, many = (Ensemble(grid(64, draws, dtype=dtype), "cpu") for draws in (0, 1))
    found = []
    for _ in range(2 * ROUNDS):
        first, second = seconds(one.run_epoch)[1], seconds(many.run_epoch)[1]
        found.append(first / second)
    return middle(found[2:])


def two_threads():
    """The same with two threads for the engine, the loop and the matrix product."""
    use_threads(2)
    try:
        return {
            f"E = {n}, {dtype}": compare(n, dtype, rivals=False)
            for dtype in DTYPES
            for n in (64, 256, 1024)
        }
    finally:
        use_threads(1)


def use_threads(count):
    """Of the engine, and of all else that computes here."""
    torch.set_num_threads(count)
    ensemble.THREADS = count


def sliders():
    """Of a lab: the worked example's 1000 points, and the chapters' 100."""
    return {
        f"E = {n}": {
            f"{dtype}, {size} points": slider(n, dtype, size)
            for size in (1000, 100)
            for dtype in DTYPES
        }
        for n in (1, 16, 64)
    }


def slider(members, dtype, n_train):
    """Milliseconds from new knobs to the end of the first epoch."""
    at_first = grid(members, dtype=dtype, n_train=n_train)
    positions = [
        [e.replace(l2=k * e.l2, dropout=e.dropout + k / 50) for e in at_first]
        for k in (1, 2, 3)
    ]
    ensemble = Ensemble(at_first, "cpu")

    def move(k):
        ensemble.set(positions[k % 3])
        ensemble.reset()
        ensemble.run_epoch()

    move(0)
    return middle([1000 * seconds(lambda k=k: move(k))[0] for k in range(ROUNDS)])


def peak_memory(members, dtype):
    """MiB that a process of its own held at most: {'before', 'at most'}."""
    code = f"from bench.engine import report_memory as r; r({members}, {dtype!r})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def report_memory(members, dtype):
    """What peak_memory's process runs."""
    before = most_held()
    Ensemble(grid(members, dtype=dtype), "cpu").run_epoch()
    print(json.dumps({"before": before, "at most": most_held()}))


def most_held():
    """MiB this process has held at most. Linux's getrusage counts its parent's too."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def on_cuda(dtype, members, device="cuda"):
    """1600 steps of an ensemble there, against the loop on the CPU and there."""
    cuda = device == "cuda"
    e, wait = WORKED.replace(dtype=dtype), torch.cuda.synchronize if cuda else list
    ensemble = Ensemble(grid(members, dtype=dtype), device)
    loops = {"loop on the CPU": PlainLoop(e), "loop on CUDA": PlainLoop(e, device)}

    def train():
        ensemble.reset()
        for _ in range(EPOCHS):
            ensemble.run_epoch()
        wait()

    def one_round():
        loop = {name: seconds(plain.epoch)[0] for name, plain in loops.items()}
        wall = seconds(train)[0]
        scale = EPOCHS * members / wall
        return {"s": wall} | {f"× {name}": s * scale for name, s in loop.items()}

    ensemble.run_epoch()
    found = [one_round() for _ in range(FEW + 1)][1:]
    row = {name: middle([r[name] for r in found]) for name in found[0]}
    if cuda:
        row["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    return row


def tables(quick):
    """Yield title and rows of every table that this machine can fill."""
    members = (1, 64) if quick else MEMBERS
    jax = Jax(JAX_PYTHON) if JAX_PYTHON.exists() and not quick else None
    for dtype in DTYPES:
        rows = per_configuration(dtype, members, jax)
        yield f"Per configuration, {dtype}", rows
    if jax:
        jax.close()
    yield "Slider moved: ms to the end of the first epoch", sliders()
    most = members[-1]
    memory = {dtype: peak_memory(most, dtype) for dtype in DTYPES}
    yield f"Memory of a process, MiB, E = {most}", memory
    if not quick and (os.cpu_count() or 1) > 1:
        yield "Two threads", two_threads()
    if torch.cuda.is_available():
        cases = [(n, dtype) for n in (1, members[-1]) for dtype in DTYPES]
        rows = {f"E = {n}, {dtype}": on_cuda(dtype, n) for n, dtype in cases}
        yield f"{torch.cuda.get_device_name()}, 1600 steps", rows


def left_out(quick):
    """What this run does not measure, one line each."""
    if not JAX_PYTHON.exists():
        yield "JAX: left out; `make bench BENCH_JAX=1` installs it."
    if not torch.cuda.is_available():
        yield "CUDA: left out; this machine has none."
    if quick:
        yield "JAX, two threads and most sizes: left out of the quick run."


def show(title, rows):
    """Print {row: {column: middle or number}} as an aligned table."""
    columns = list(dict.fromkeys(c for row in rows.values() for c in row))
    lines = [["", *columns]]
    lines += [
        [name, *(cell(row.get(c)) for c in columns)] for name, row in rows.items()
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for name, *cells in lines:
        right = (f"{c:>{w}}" for c, w in zip(cells, widths[1:], strict=True))
        print(f"{name:<{widths[0]}}", *right, sep="  ", flush=True)


def cell(measure):
    """A number, or a median with its quartiles, in three figures."""
    if measure is None:
        return "–"
    if not isinstance(measure, dict):
        return f"{measure:.0f}"
    low, value, high = (three(measure[k]) for k in ("low", "value", "high"))
    return f"{value} [{low}, {high}]"


def three(number):
    """Three figures, never in powers of ten."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def run(quick=None) -> dict:
    """Print the tables; return a headline of each, {title: {value, unit, rows}}."""
    quick = bool(os.environ.get("BENCH_QUICK")) if quick is None else quick
    capability = torch.backends.cpu.get_cpu_capability()
    use_threads(1)
    cores, threads = os.cpu_count(), torch.get_num_threads()
    print(f"torch {torch.__version__}, {capability}, {threads} of {cores} cores")
    print(NOTES, *left_out(quick), sep="\n")
    found = {}
    for title, rows in tables(quick):
        show(title, rows)
        found[title] = headline(rows)
    return found


def headline(rows):
    """A table with the number for bench/__main__.py: that of E = 64, else the last."""
    name = "E = 64" if "E = 64" in rows else list(rows)[-1]
    row = rows[name]
    column = "× loop" if "× loop" in row else list(row)[-1]
    measure = row[column]
    value = measure["value"] if isinstance(measure, dict) else measure
    return {"value": value, "unit": f"{column}, {name}", "rows": rows}


def main(arguments=None):
    """Run and keep the figures in _build/bench.json, beside those of others."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="under a minute")
    engine = run(parser.parse_args(arguments).quick)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**results, "engine": engine}, indent=1) + "\n")


if __name__ == "__main__":
    main()
