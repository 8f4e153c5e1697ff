"""Lets nbval accept floats that differ in the last digits, and nothing else.

Numbers are computed in float64, where instruction sets agree to about 1e-11; the
default tolerance leaves room for rounding in print. A cell that needs more says so
with a tag such as `tolerance-1e-3`. Text and whole numbers must be equal.
"""

import base64
import math
import re

import numpy as np
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

RELATIVE, ABSOLUTE = 1e-5, 1e-8
TAG = "tolerance-"
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?(?!\w)", re.I)


def agree(stored, new, relative=RELATIVE):
    """True where two outputs are equal but for floats within the tolerance."""
    if isinstance(stored, bool) or isinstance(new, bool):
        return stored is new
    if isinstance(stored, str) and isinstance(new, str):
        return _same_text(stored, new, relative)
    if isinstance(stored, dict) and isinstance(new, dict):
        if stored.keys() != new.keys():
            return False
        if "bdata" in stored:
            return _same_array(stored, new, relative)
        return all(agree(stored[key], new[key], relative) for key in stored)
    if isinstance(stored, list | tuple) and isinstance(new, list | tuple):
        same = len(stored) == len(new)
        pairs = zip(stored, new, strict=False)
        return same and all(agree(a, b, relative) for a, b in pairs)
    if isinstance(stored, float) or isinstance(new, float):
        numbers = isinstance(stored, int | float) and isinstance(new, int | float)
        return numbers and _close(stored, new, relative)
    return stored == new


def _close(a, b, relative):
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=relative, abs_tol=ABSOLUTE)


def _same_text(stored, new, relative):
    if NUMBER.sub("#", stored) != NUMBER.sub("#", new):
        return False
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(new), strict=True)
    return all(a == b or _same_number(a, b, relative) for a, b in pairs)


def _same_number(a, b, relative):
    whole = a.lstrip("+-").isdigit() or b.lstrip("+-").isdigit()
    return not whole and _close(float(a), float(b), relative)


def _same_array(stored, new, relative):
    """Compare Plotly's typed arrays: base64 of raw numbers beside their dtype."""
    if {k: stored[k] for k in stored if k != "bdata"} != {
        k: new[k] for k in new if k != "bdata"
    }:
        return False
    a, b = (
        np.frombuffer(base64.b64decode(d["bdata"]), d["dtype"]) for d in (stored, new)
    )
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    return a.shape == b.shape and np.allclose(a, b, relative, ABSOLUTE, equal_nan=True)


def adopt(stored, new, relative=RELATIVE):
    """Give each new output that agrees with its stored one the stored one's text."""
    for old, fresh in zip(stored, new, strict=False):
        if old.output_type != fresh.output_type:
            continue
        if "text" in old and "text" in fresh and agree(old.text, fresh.text, relative):
            fresh.text = old.text
        for kind in set(old.get("data", ())) & set(fresh.get("data", ())):
            if agree(old.data[kind], fresh.data[kind], relative):
                fresh.data[kind] = old.data[kind]
    return new


class TolerantCell(IPyNbCell):
    def compare_outputs(self, test, ref, skip_compare=None):
        tags = self.cell.metadata.get("tags", [])
        named = [float(tag[len(TAG) :]) for tag in tags if tag.startswith(TAG)]
        adopted = adopt(ref, test, max(named, default=RELATIVE))
        return super().compare_outputs(adopted, ref, skip_compare)


class TolerantFile(IPyNbFile):
    def collect(self):
        for c in super().collect():
            fields = {"name": c.name, "cell_num": c.cell_num, "cell": c.cell}
            yield TolerantCell.from_parent(self, **fields, options=c.options)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    found = yield
    return [
        TolerantFile.from_parent(parent, path=node.path)
        if type(node) is IPyNbFile
        else node
        for node in found
    ]
