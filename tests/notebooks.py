"""The chapters' stored outputs, and what happens when a number in them is changed."""

import copy
import re
from pathlib import Path

import nbformat

from tests.tolerance import NUMBER
from utils.mimetypes import WIDGET

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))


def code_cells(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def _changed(number):
    """A number off by 0.1 %, or by one where it is whole."""
    if isinstance(number, int):
        return number + 1
    return number + 0.001 * max(1, abs(number))


def _changed_text(match):
    text = match.group()
    if text.lstrip("+-").isdigit():
        return str(int(text) + 1)
    return repr(_changed(float(text)))


def _paths(value, path=()):
    """The address of every number in nested lists and dicts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _paths(item, (*path, i))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def places(output):
    """The address of every number of a stored output: (keys …) or (keys …, match).

    Covers text streams, plain-text tables and every number of Plotly's and the
    lab's JSON; the widget view, whose ids are random, is left out.
    """
    key, holder = ("text",), output
    if "text" not in output:
        key, holder = ("data", "text/plain"), output.get("data", {})
    found = [(*key, m) for m in NUMBER.finditer(holder.get(key[-1], ""))]
    for mime, value in output.get("data", {}).items():
        if mime.endswith("+json") and mime != WIDGET:
            found += [("data", mime, *path) for path in _paths(value)]
    return found


def mutant(output, place):
    """A copy of the output with the number at that place changed."""
    copied = copy.deepcopy(output)
    *route, last = place
    node, match = copied, None
    if isinstance(last, re.Match):
        match = last
        *route, last = route
    for key in route:
        node = node[key]
    if match:
        text = node[last]
        node[last] = text[: match.start()] + _changed_text(match) + text[match.end() :]
    else:
        node[last] = _changed(node[last])
    return copied
