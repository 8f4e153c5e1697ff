"""Do the tests see? Change the code by a hair, and count how often a test fails.

    python -m tests.mutants --seed 1 --count 150

draws places of utils/engine, utils/sweep, utils/lab, web/trainer and web/lab, each as
likely as any other, and runs what relevant.py names for the file in a copy of the tree.
A mutant is caught if a test fails, and fails again, or does not end in time. First all
these tests must pass on the code as it is. Mutants that nobody can tell from the
original are in known.toml, with a reason; they are not counted. One that does not build
is drawn again.

The report goes to _build/mutants.md. Exit status 1: fewer than --caught were.
"""

import argparse
import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from tests.mutants.copies import Copies, Copy, Verdict
from tests.mutants.relevant import files_for
from tests.mutants.sites import PLACES, ROOT, Mutant, all_sites, mutant

KNOWN = Path(__file__).with_name("known.toml")
REPORT = ROOT / "_build" / "mutants.md"
STATUSES = ("caught", "late", "shaky", "survived")
UNSEEN = ("shaky", "survived")


class Known:
    """What known.toml says of mutants that no test can be asked to see."""

    def __init__(self, text: str):
        self.lines, self.changes = set(), set()
        for entry in tomllib.loads(text)["known"]:
            path = entry["path"]
            self.lines |= {(path, line) for line in entry.get("lines", [])}
            self.changes |= {(path, *both) for both in entry.get("changes", [])}

    def __contains__(self, one: Mutant) -> bool:
        lines = {(one.path, one.before)}
        return bool(lines & self.lines or {(*lines.pop(), one.after)} & self.changes)

    def __len__(self) -> int:
        return len(self.lines) + len(self.changes)


def drawn(seed: int, known: Known) -> Iterator[Mutant]:
    """Yield all places in the order of a seed, each changed in one way."""
    chance, sites = random.Random(seed), all_sites()
    chance.shuffle(sites)
    mutants = (mutant(site, chance.choice(site.others)) for site in sites)
    return (m for m in mutants if m not in known)


def report(seed: int, verdicts: list[Verdict], known: Known) -> str:
    """Return the table of what was caught, and each survivor with its change."""
    counts = Counter((v.mutant.place, v.status) for v in verdicts)
    lines = [
        f"# Mutants of seed {seed}",
        "",
        "| | caught | late | shaky | survived | seen, % |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for place in PLACES:
        lines.append(_row(place, [counts[place, status] for status in STATUSES]))
    whole = [sum(v.status == status for v in verdicts) for status in STATUSES]
    lines += [_row("all", whole), ""]
    for v in verdicts:
        if v.status in UNSEEN:
            lines += [
                f"`{v.mutant.path}:{v.mutant.line}` {v.status}",
                *_change(v.mutant),
            ]
    return "\n".join(
        [*lines, f"Not counted: {len(known)} lines and changes of known.toml.", ""]
    )


def _change(one):
    """A mutant's lines, before and after."""
    before = [f"- {line}" for line in one.before.split("\n")]
    return ["```diff", *before, *(f"+ {line}" for line in one.after.split("\n")), "```"]


def _row(name, counts):
    share = 100 * sum(counts[:2]) / max(sum(counts), 1)
    return f"| {name} | {' | '.join(map(str, counts))} | {share:.1f} |"


def main() -> int:
    """Draw, try out, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--caught", type=float, default=95, help="%% to be reached")
    parser.add_argument("--after", type=int, default=0, help="leave out the first")
    parser.add_argument("--only", default="", help="files whose path begins so")
    parser.add_argument("--unchecked", action="store_true", help="tests do pass")
    given = parser.parse_args()
    known, verdicts = Known(KNOWN.read_text("utf-8")), []
    order = (m for m in drawn(given.seed, known) if m.path.startswith(given.only))
    first = list(islice(order, given.after, given.after + given.count))
    order = chain(first, order)
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        Copies(given.at_once, Path(folder)) as copies,
    ):
        if not given.unchecked:
            files = dict.fromkeys(file for m in first for file in files_for(m.path))
            for file, seconds in copies.map(Copy.check, files):
                print(f"passes {seconds:6.0f} s  {file}", flush=True)
        while more := list(islice(order, given.count - len(verdicts))):
            for v in copies.map(Copy.try_out, more):
                where = f"{v.mutant.path}:{v.mutant.line}"
                print(f"{v.status:9}{v.seconds:5.0f} s  {where}  {v.by}", flush=True)
                if v.status in UNSEEN:
                    print(*_change(v.mutant), sep="\n", flush=True)
                if v.status != "unbuilt":
                    verdicts.append(v)
    text = report(given.seed, verdicts, known)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text, "utf-8")
    print(text)
    caught = sum(v.status not in UNSEEN for v in verdicts)
    return int(100 * caught < given.caught * len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
