"""The chapters' stored outputs, and what happens when a number in them is changed."""

import copy
from pathlib import Path

import nbformat

from tests.tolerance import NUMBER

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
VIEW = "application/vnd.jupyter.widget-view+json"


def code_cells(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def _changed(number):
    """A number off by 0.1 %, or by one where it is whole."""
    if isinstance(number, int):
        return number + 1
    return number * 1.001 + 0.001


def _changed_text(match):
    text = match.group()
    if text.lstrip("+-").isdigit():
        return str(int(text) + 1)
    return repr(_changed(float(text)))


def _text_mutants(text):
    for match in NUMBER.finditer(text):
        yield text[: match.start()] + _changed_text(match) + text[match.end() :]


def _places(value, path=()):
    """The address of every number in nested lists and dicts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _places(item, (*path, i))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def _with_change(output, path):
    mutant = copy.deepcopy(output)
    *route, last = path
    node = mutant
    for key in route:
        node = node[key]
    node[last] = _changed(node[last])
    return mutant


def mutants(output, every=1):
    """Yield copies of a stored output with one number changed, each `every`th one.

    Covers text streams, plain-text tables and every number of Plotly's and the
    lab's JSON; the widget view, whose ids are random, is left out.
    """
    count = 0
    for key in [("text",)] if "text" in output else [("data", "text/plain")]:
        holder = output if len(key) == 1 else output.get("data", {})
        for text in _text_mutants(holder.get(key[-1], "")):
            count += 1
            if count % every == 0:
                mutant = copy.deepcopy(output)
                (mutant if len(key) == 1 else mutant["data"])[key[-1]] = text
                yield mutant
    for mime, value in output.get("data", {}).items():
        if mime.endswith("+json") and mime != VIEW:
            for place in _places(value):
                count += 1
                if count % every == 0:
                    yield _with_change(output, ("data", mime, *place))
