"""What the rendered book adds to myst-nb: figures and labs from stored outputs.

A notebook stores a figure as Plotly JSON and a lab as JSON of our own; this turns
both into the page's HTML. A malformed output is a warning that names the document
and the key, so that a build with `-W` fails on it.
"""

import json
from html import escape
from textwrap import shorten

import numpy as np
import pandas as pd
import plotly.io as pio
from docutils import nodes
from jsonschema import Draft202012Validator

from utils import page_lab, plots
from utils.data import load
from utils.experiment import DATA
from utils.mimetypes import FIGURE
from utils.mimetypes import LAB as LAB_MIME

SERIES = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
STEP = 10
CONVENTION = (
    "L = L<sub>data</sub> + λ₁ Σ|w| + λ₂ Σw²; the curves show L<sub>data</sub>."
)
UNTRAINED = (
    '<p class="lab-note">These are the numbers of the run stored with this chapter. '
    "Its convolutions train in JupyterLab: <code>make lab</code>.</p>"
)

_NUMBER = {"type": "number"}
_NUMBERS = {"type": "array", "items": _NUMBER, "minItems": 1}
_TEXT = {"type": "string", "pattern": r"\S"}


def _object(optional=None, **required):
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required)}


_LAYOUT = _object(
    optional={"title": {"type": "object"}, "height": _NUMBER},
    meta=_object(description=_TEXT),
)
_SLIDER = _object(
    label=_TEXT,
    min=_NUMBER,
    max=_NUMBER,
    scale={"enum": ["linear", "log"]},
    value=_NUMBER,
)
_OPTION = {"type": ["string", "boolean"]}
_CHOICE = _object(
    label=_TEXT,
    choices={"type": "array", "items": _OPTION, "minItems": 2},
    value=_OPTION,
)
_KNOB = {"if": {"required": ["choices"]}, "then": _CHOICE, "else": _SLIDER}
SCHEMAS = {
    FIGURE: _object(data={"type": "array"}, layout=_LAYOUT),
    LAB_MIME: _object(
        version={"const": 1},
        experiment=_object(data={"enum": list(DATA)}),
        knobs={"type": "object", "additionalProperties": _KNOB},
        reference=_object(**dict.fromkeys(SERIES, _NUMBERS)),
        description=_TEXT,
    ),
}


class BookMimeRenderer:
    """A myst-nb plug-in that renders the book's two mimetypes."""

    mime_priority_overrides = [("html", mime, 1) for mime in SCHEMAS]  # noqa: RUF012

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Returns: nodes; [] after a warning; None for mimetypes of others."""
        if inline or data.mime_type not in SCHEMAS:
            return None
        problem = find_problem(data.mime_type, data.content)
        if problem:
            message = f"cell {data.cell_index}, {data.mime_type}: {problem}"
            renderer.logger.warning(message, subtype="book", line=data.line)
            return []
        render = render_lab if data.mime_type == LAB_MIME else render_figure
        return [nodes.raw(text=render(data.content), format="html")]


def find_problem(mime, content):
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
    return _find_odd_length(content["reference"]) if mime == LAB_MIME else None


def _find_odd_length(reference):
    for name in SERIES:
        if len(reference[name]) != len(reference["epoch"]):
            return f"$.reference.{name}: must be as long as $.reference.epoch"
    return None


def render_figure(figure):
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


def render_lab(lab):
    """A lab's HTML: the book's own run, and the parts that `web/lab` brings to life.

    It finds them by name: `div.lab[data-state]`, `script.lab-data`, `script.lab-views`,
    a canvas for each view, and an `output` for each result. Without scripts, or where
    the page cannot train the network, the book's own run is what there is to see.
    """
    task = load(lab["experiment"]["data"]).task
    labels = plots.labels_for(task)
    run = pd.DataFrame({name: lab["reference"][name] for name in SERIES})
    still = render_figure(_draw(run, lab["description"], plots.UNITS[task]))
    return (
        '<div class="lab" data-state="ready">'
        + _script("lab-data", lab)
        + f'<div class="lab-still">{still}</div>'
        + (_live(lab) if trains_in_page(lab) else "")
        + _results(_kept(run, lab), labels)
        + (_more(lab, labels) if trains_in_page(lab) else UNTRAINED)
        + _details("The knobs of this lab", _knobs(lab["knobs"]))
        + _details("All settings of the book's run", _settings(lab["experiment"]))
        + _details(f"The book's run, every {STEP}th epoch", _epochs(run, labels))
        + "</div>"
    )


def _kept(run, lab):
    """The epoch whose weights count: with patience the best, else the last."""
    patience = lab["experiment"].get("patience")
    return run.loc[run["val_loss"].idxmin()] if patience else run.iloc[-1]


def trains_in_page(lab):
    """Whether the page's trainer can run the lab: it has no convolutions."""
    return not lab["experiment"].get("channels")


def _live(lab):
    """What web/lab fills: the form, the charts, what it has to say."""
    views = page_lab.views(lab)
    canvases = {
        name: _canvas(figure["layout"], f' data-view="{name}"')
        for name, figure in views["figures"].items()
    }
    curves = canvases.pop("curves")
    return (
        _script("lab-views", views)
        + '<div class="lab-live">'
        + f"<p>{escape(lab['description'])}</p>"
        + f'<div class="lab-form"></div><p class="lab-note">{CONVENTION}</p>{curves}'
        + f'<div class="lab-panels">{"".join(canvases.values())}</div>'
        + '<p class="lab-status"><output name="message" role="status"></output> '
        + '<output name="engine"></output></p></div>'
    )


def _more(lab, labels):
    """The map of λ × p and the reader's curves as a table."""
    columns = ("epoch", labels["train_loss"], labels["val_loss"])
    head = "".join(f"<th>{escape(text)}</th>" for text in columns)
    rows = f"<thead><tr>{head}</tr></thead><tbody></tbody>"
    own = _details("Your run as a table", _box("lab-table", rows))
    plane = page_lab.plane(lab)
    return f'<div class="lab-live">{_map(plane) if plane else ""}{own}</div>'


def _box(name, rows):
    """A table that scrolls in its own box."""
    return f'<div class="plot-table {name}"><table class="table">{rows}</table></div>'


def _canvas(layout, attributes=""):
    """Where a figure of that layout is drawn, as high as it will be."""
    height = layout.get("height", plots.TEMPLATE.layout.height)
    text = escape(layout["meta"]["description"])
    return (
        f'<div class="plot-canvas" role="img" aria-label="{text}"{attributes}'
        f' style="min-height:{height:.0f}px"></div>'
    )


def _map(plane):
    return (
        _script("lab-map", plane)
        + '<div class="lab-plane">'
        + '<p class="lab-fill"><output name="map" role="status"></output></p>'
        + _canvas(plane["figure"]["layout"], " data-plane hidden")
        + _details("The map as a table", _box("lab-cells", ""))
        + "</div>"
    )


def _draw(run, description, unit):
    figure = plots.curves(run.assign(seed=0), description=description, unit=unit)
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
    rows = [
        (knob["label"], _plain(knob["value"]), *map(_plain, _reach(knob)))
        for knob in knobs.values()
    ]
    columns = ["knob", "in this run", "slider from", "to"]
    return _table(pd.DataFrame(rows, columns=columns))


def _reach(knob):
    """The ends of a slider; or what a choice is between, in place of the first end."""
    if "choices" not in knob:
        return knob["min"], knob["max"]
    return "choice of " + ", ".join(map(_plain, knob["choices"])), ""


def _plain(value):
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    return np.format_float_positional(value, trim="-")


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
    return f'<div class="plot-table">{html}</div>'


def _details(summary, html):
    return f"<details><summary>{summary}</summary>{html}</details>"


def _script(name, content):
    text = json.dumps(content, ensure_ascii=False).replace("<", r"\u003c")
    return f'<script type="application/json" class="{name}">{text}</script>'
