"""Runs every benchmark in this folder, or those named; `make bench`."""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent / "_build" / "bench.json"


def main(names):
    """Print a table per benchmark and keep the figures in _build/bench.json."""
    known = [m.name for m in pkgutil.iter_modules([str(HERE)]) if m.name != "__main__"]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or known:
        results[name] = importlib.import_module(f"bench.{name}").run()
        print_table(name, results[name])
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def print_table(name, rows):
    """Print {measure: {value, unit, target}}."""
    print(name)
    for measure, row in rows.items():
        target = f"target {row['target']}" if row.get("target") else ""
        print(f"  {measure:<44}{row['value']:>9.2f} {row['unit']:<10}{target}".rstrip())


main(sys.argv[1:])
