"""What the rendered book adds to myst-nb: figures and labs from stored outputs.

A notebook stores a figure as Plotly JSON and a lab as JSON of our own; this turns
both into the page's HTML. A malformed output is a warning that names the document
and the key, so that a build with `-W` fails on it.
"""

import json
from html import escape
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio
from docutils import nodes
from jsonschema import Draft202012Validator

from utils import plots
from utils.data import load
from utils.experiment import Experiment
from utils.lab.knobs import parse_knobs, parse_over
from utils.lab.views import VIEWS, complete, find_misfit
from utils.mimetypes import FIGURE
from utils.mimetypes import LAB as LAB_MIME

SERIES = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
STEP = 10
UNTRAINED = (
    '<p class="lab-note">These are the numbers of the run stored with this chapter. '
    "Its convolutions train in JupyterLab: <code>make lab</code>.</p>"
)

_NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}
_NUMBERS = {"type": "array", "items": _NUMBER, "minItems": 1}
_TEXT = {"type": "string", "pattern": r"\S"}


def _object(optional=None, more=True, **required):
    properties = required | (optional or {})
    shape = {"type": "object", "properties": properties, "required": list(required)}
    return shape | {"additionalProperties": more}


def _each(kind, **more):
    return {"type": "object", "additionalProperties": kind} | more


_LAYOUT = _object(
    optional={
        "title": _object(optional={"text": {"type": "string"}}),
        "height": {"type": "number", "minimum": 1, "maximum": 100_000},
    },
    meta=_object(description=_TEXT),
)
_SLIDER = _object(
    label=_TEXT,
    min=_NUMBER,
    max=_NUMBER,
    scale={"enum": ["linear", "log"]},
    value=_NUMBER,
    whole={"type": "boolean"},
)
_OPTION = {"type": ["string", "boolean", "array"]}
_CHOICE = _object(
    label=_TEXT,
    choices={"type": "array", "items": _OPTION, "minItems": 2},
    texts={"type": "array", "items": _TEXT},
    value=_OPTION,
)
_NAMES = {"type": "array", "items": _TEXT}
_KNOB = {"if": {"required": ["choices"]}, "then": _CHOICE, "else": _SLIDER}
SCHEMAS = {
    FIGURE: _object(
        data={"type": "array", "items": {"type": "object"}},
        layout=_LAYOUT,
    ),
    LAB_MIME: _object(
        version={"const": 2},
        experiment=_object(data=_TEXT),
        knobs=_each(_KNOB),
        seeds={"type": "integer", "minimum": 1, "maximum": 20},
        against={"type": ["object", "null"]},
        over=_each(_NUMBERS, maxProperties=2),
        order=_object(knobs=_NAMES, over=_NAMES, more=False),
        asked={"type": "boolean"},
        views={"type": "array", "items": {"enum": list(VIEWS)}, "minItems": 1},
        reference=_object(**dict.fromkeys(SERIES, _NUMBERS)),
        description=_TEXT,
        more=False,
    ),
}


class BookMimeRenderer:
    """A myst-nb plug-in that renders the book's two mimetypes."""

    mime_priority_overrides = [("html", mime, 1) for mime in SCHEMAS]  # noqa: RUF012

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Node] | None:
        """Returns: nodes; [] after a warning; None for mimetypes of others."""
        if inline or data.mime_type not in SCHEMAS:
            return None
        html, problem = _rendered(data.mime_type, data.content)
        if problem:
            message = f"cell {data.cell_index}, {data.mime_type}: {problem}"
            renderer.logger.warning(message, subtype="book", line=data.line)
            return []
        return [nodes.raw(text=html, format="html")]


def _rendered(mime, content):
    """Return an output's HTML and None, or '' and what is wrong with the output."""
    try:
        if problem := find_problem(mime, content):
            return "", problem
        render = render_lab if mime == LAB_MIME else render_figure
        return render(content), None
    except Exception as error:  # a damaged output must not end the build of a book
        return "", f"$: cannot be drawn, {type(error).__name__}: {error}"


def find_problem(mime: str, content: dict) -> str | None:
    """What is wrong with an output.

    Args:
        mime: a key of `SCHEMAS`.
        content: the output, as parsed from JSON.
    Returns: a sentence naming the first key at fault, or None.
    """
    for error in Draft202012Validator(SCHEMAS[mime]).iter_errors(content):
        return f"{error.json_path}: {shorten(error.message, 200)}"
    try:
        json.dumps(content, allow_nan=False)
    except ValueError as error:
        return f"$: {error}"
    return _find_unsound(content) if mime == LAB_MIME else None


def _find_unsound(lab):
    """What a lab of the right form cannot be: no Experiment, knobs of another."""
    key = "experiment"
    try:
        base = _experiment(lab[key])
        if problem := _find_change(lab[key], base):
            return f"$.{key}.{problem}"
        key = "against"
        against = None if lab[key] is None else _experiment(lab[key])
        if against and (problem := _find_change(lab[key], against)):
            return f"$.{key}.{problem}"
        key = "knobs"
        knobs = parse_knobs(base, _ranges(lab[key]))
        key = "over"
        over = lab[key] and parse_over(base, lab[key], knobs)
    except ValueError as error:
        return f"$.{key}: {shorten(str(error), 200)}"
    for part, names in lab["order"].items():
        if sorted(names) != sorted(lab[part]):
            return f"$.order.{part}: must be {sorted(lab[part])} in some order"
    for name, knob in knobs.items():
        if problem := _find_difference(lab["knobs"][name], knob.to_dict()):
            return f"$.knobs.{name}.{problem}"
    for view in lab["views"]:
        if misfit := find_misfit(view, base, lab["seeds"], against, over):
            return f"$.views: {view!r} must be {misfit}"
    epochs = list(range(1, len(lab["reference"]["epoch"]) + 1))
    if lab["reference"]["epoch"] != epochs:
        return "$.reference.epoch: must be 1, 2, 3, …"
    for name in SERIES:
        if len(lab["reference"][name]) != len(epochs):
            return f"$.reference.{name}: must be as long as $.reference.epoch"
    return None


def _find_change(fields, experiment):
    """Where an experiment as stored is not as it is read: '' if nowhere."""
    return _find_difference(fields, json.loads(experiment.to_json()))


def _find_difference(stored, own):
    """Return which key is missing or other than it must be, '' if all are right.

    JupyterLab stores 1.0 as 1.
    """
    for part, value in own.items():
        found = stored.get(part, ...)
        alike = isinstance(found, bool) == isinstance(value, bool)
        if found != value or not alike:
            return f"{part}: must be {shorten(repr(value), 100)}"
    return ""


def _experiment(fields):
    return Experiment.from_json(json.dumps(fields))


def _ranges(knobs):
    return {n: k.get("choices") or (k["min"], k["max"]) for n, k in knobs.items()}


def render_figure(figure: dict) -> str:
    """A figure's HTML, which `web/figures.js` draws from the JSON inside.

    The title becomes a caption, so that it wraps on narrow screens.
    """
    layout = dict(figure["layout"])
    title = layout.pop("title", {}).get("text")
    text = escape(layout["meta"]["description"])
    return (
        '<figure class="plot">'
        + (f"<figcaption>{escape(title)}</figcaption>" if title else "")
        + _canvas(layout)
        + _script("plot-data", {"data": figure["data"], "layout": layout})
        + _details("Text description", f"<p>{text}</p>")
        + "</figure>"
    )


def render_lab(lab: dict) -> str:
    """A lab's HTML: all that `web/lab` needs, and what there is to see without it.

    Without scripts, or where the page cannot train the network, that is the book's own
    run.
    """
    labels = plots.labels_for(load(lab["experiment"]["data"]).task)
    run = pd.DataFrame({name: lab["reference"][name] for name in SERIES})
    trains = not lab["experiment"].get("channels")
    return (
        f'<div class="lab" data-state="ready">{_script("lab-data", complete(lab))}'
        + '<div class="lab-still">'
        + render_figure(_draw(run, lab))
        + _results(_kept(run, lab), labels)
        + ("" if trains else UNTRAINED)
        + '<output name="message" role="status"></output>'
        + _details("The knobs of this lab", _knobs(lab["knobs"]))
        + _details("All settings of the book's run", _settings(lab["experiment"]))
        + _details(f"The book's run, every {STEP}th epoch", _epochs(run, labels))
        + "</div></div>"
    )


def _kept(run, lab):
    """The epoch whose weights count: with patience the best, else the last."""
    patience = lab["experiment"].get("patience")
    return run.loc[run["val_loss"].idxmin()] if patience else run.iloc[-1]


def _canvas(layout):
    """Where a figure of that layout is drawn, as high as it will be."""
    height = layout.get("height", plots.TEMPLATE.layout.height)
    text = escape(layout["meta"]["description"])
    return (
        f'<div class="plot-canvas" role="img" aria-label="{text}"'
        f' style="min-height:{height:.0f}px"></div>'
    )


def _draw(run, lab):
    unit = plots.UNITS[load(lab["experiment"]["data"]).task]
    text = lab["description"]
    figure = plots.curves(run.assign(seed=0), description=text, unit=unit)
    return json.loads(pio.to_json(figure, validate=False))


def _results(last, labels):
    results = {**last, "gap": last["val_loss"] - last["train_loss"]}
    labels = labels | {"gap": "gap: validation − training loss"}
    items = "".join(
        f'<div><dt>{labels[name]}</dt><dd><output name="{name}">'
        f"{_format(labels[name], results[name])}</output></dd></div>"
        for name in ("train_loss", "val_loss", "gap", "val_accuracy")
    )
    epoch = f'<output name="epoch">{_format("epoch", last["epoch"])}</output>'
    return f'<p>After epoch {epoch}:</p><div class="lab-results"><dl>{items}</dl></div>'


def _knobs(knobs):
    columns = ["knob", "in this run", "slider from", "to"]
    return _table(pd.DataFrame(map(_knob, knobs.values()), columns=columns))


def _knob(knob):
    """A row: name, value, ends; of a choice what it is between, in the third place."""
    if "choices" in knob:
        chosen = knob["texts"][knob["choices"].index(knob["value"])]
        return knob["label"], chosen, f"choice of {', '.join(knob['texts'])}", ""
    ends = (knob[name] for name in ("value", "min", "max"))
    return knob["label"], *(np.format_float_positional(v, trim="-") for v in ends)


def _settings(experiment):
    rows = [(name, json.dumps(value)) for name, value in experiment.items()]
    return _table(pd.DataFrame(rows, columns=["setting", "value"]))


def _epochs(run, labels):
    kept = run[(run["epoch"] % STEP == 0) | (run.index == len(run) - 1)]
    named = {labels.get(name, name): kept[name] for name in SERIES}
    texts = {
        label: [_format(label, value) for value in values]
        for label, values in named.items()
    }
    return _table(pd.DataFrame(texts))


def _format(label, value):
    if label == "epoch":
        return f"{value:.0f}"
    return f"{value:.1%}" if label.endswith("accuracy") else f"{value:.4f}"


def _table(frame):
    html = frame.to_html(index=False, border=0, classes="table", justify="left")
    return f'<div class="plot-table" tabindex="0">{html}</div>'


def _details(summary, html):
    return f"<details><summary>{summary}</summary>{html}</details>"


def _script(name, content):
    text = json.dumps(content, ensure_ascii=False).replace("<", r"\u003c")
    return f'<script type="application/json" class="{name}">{text}</script>'
