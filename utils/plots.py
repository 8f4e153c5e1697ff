"""One figure style for the whole book.

Colour tells methods apart; a solid line is validation, a dotted line training.
Every figure carries a text description in `layout.meta.description`, which the
page, JupyterLab and text-only readers show. Nothing here trains.

Colours: Okabe & Ito (2008), "Color Universal Design", without black and yellow,
so that each reads on white and on dark.
"""

import json
from math import ceil, floor, isfinite, isnan, log10
from numbers import Real

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

MIME = "application/vnd.plotly.v1+json"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#777777"
TRAIN_DASH, VAL_DASH = "dot", "solid"
LABELS = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "train_accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "gap": "generalization gap",
    "zeros": "weights that are exactly 0",
    "l1": "λ₁ (L1)",
    "l2": "λ₂ (L2)",
    "weight_decay": "weight decay",
    "dropout": "p (dropout)",
    "dropout_input": "p (input dropout)",
    "lr": "learning rate",
    "n_train": "training examples",
    "label_noise": "label noise (chance of a random label)",
}
LOG_KNOBS = {"l1", "l2", "weight_decay", "lr"}

_QUIET = "rgba(128,128,128,0.25)"
_AXIS = {
    "automargin": True,
    "gridcolor": _QUIET,
    "linecolor": NEUTRAL,
    "tickcolor": _QUIET,
    "ticks": "outside",
    "ticklen": 4,
    "title": {"font": {"size": 13}},
    "zeroline": False,
}
_MEAN = {"size": 12, "symbol": "diamond"}
_SEED = {"size": 7, "opacity": 0.55}
_OUTLINED = {"size": 7, "line": {"width": 1, "color": "white"}}
_PANEL_TITLE = {"showarrow": False, "yanchor": "bottom", "x": 0.5, "y": 1}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_INK = {"colorscale": [[0, "white"], [1, "black"]], "showscale": False}


def _fade(color, alpha):
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


_PROBABILITY = {
    "cmin": 0,
    "cmax": 1,
    "colorscale": [
        [0, _fade(PALETTE[0], 0.5)],
        [0.5, "rgba(128,128,128,0.05)"],
        [1, _fade(PALETTE[1], 0.5)],
    ],
    "colorbar": {
        "title": {"text": "P(class 1)", "side": "right"},
        "thickness": 10,
        "outlinewidth": 0,
        "lenmode": "pixels",
        "len": 170,
        "y": 1,
        "yanchor": "top",
        "tickvals": [0, 0.5, 1],
    },
}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": PALETTE,
        "font": {"color": NEUTRAL, "size": 13, "family": "system-ui, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "height": 360,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "title": {"x": 0, "xref": "paper", "yref": "container", "automargin": True},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
        },
        "hoverlabel": {"namelength": -1},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


class BookRenderer(MimetypeRenderer):
    """Stores a figure once, as Plotly JSON, beside its description as plain text."""

    def to_mimebundle(self, fig_dict):
        """Returns: the two mimetypes that a notebook stores."""
        figure = json.loads(pio.to_json(fig_dict, validate=False))
        text = figure["layout"].get("meta", {}).get("description", "Figure")
        return {MIME: figure, "text/plain": text}


pio.templates["book"] = TEMPLATE
pio.templates.default = "book"
pio.renderers["book"] = BookRenderer()
pio.renderers.default = "book"


def curves(
    frame, by=None, values=("train_loss", "val_loss"), *, description, title=None
):
    """Learning curves: a colour per value of `by`, mean and range over seeds.

    Args:
        frame: a row per run and epoch; columns `epoch`, `seed`, `values` and `by`.
        by: the column that tells methods apart; None: all rows are one method.
        values: columns to draw against the epoch.
        description: what the figure shows, for those who cannot see it.
        title: short heading.
    Returns: go.Figure.
    Raises: ValueError if a column or the description is missing, if there are more
        methods than colours, or if runs differ in more than `by` and the seed.
    """
    return _lines(frame, "epoch", by, values, description, title, "lines")


def sweep(
    summary,
    x,
    values=("train_loss", "val_loss"),
    by=None,
    *,
    description,
    title=None,
    log_x=None,
):
    """A result against a knob: mean and range over seeds.

    Args:
        summary: a row per run; columns `x`, `seed`, `values` and `by`.
        x: the knob on the horizontal axis.
        log_x: logarithmic axis with 0, if swept, at its left end; None: for the
            knobs in `LOG_KNOBS`.
        values, by, description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError as `curves`, and if a logarithmic knob is negative or all 0.
    """
    fig = _lines(summary, x, by, values, description, title, "lines+markers")
    if x in LOG_KNOBS if log_x is None else log_x:
        _make_log(fig, x, summary[x])
    return fig


def points(summary, by, value, *, description, baseline=None, title=None):
    """A row per method: each seed a small dot, their mean a diamond.

    Args:
        summary: a row per run; columns `by` and `value`.
        baseline: the method whose mean gets a vertical line.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a column, the baseline or the description is missing.
    """
    _need_columns(summary, [by, value])
    groups = summary.groupby(by, sort=False, dropna=False)[value]
    fig = _figure(description, title, height=110 + 36 * len(groups))
    for key, results in groups:
        _add_dots(fig, results, _name(by, key), _SEED)
        _add_dots(fig, [results.mean()], _name(by, key), _MEAN)
    _add_key(fig, "marker", {"one seed": _SEED, "mean over seeds": _MEAN})
    fig.update_xaxes(title_text=_axis_title([value]), tickformat=_tick_format([value]))
    fig.update_yaxes(autorange="reversed", showgrid=False)
    if baseline is not None:
        _mark_baseline(fig, groups.mean(), baseline)
    return fig


def regions(grid_x, grid_y, probability, X, y, *, description, title=None):
    """Decision regions: P(class 1) as colour, the line where it is ½, and the data.

    Args:
        grid_x, grid_y: coordinates of the grid, [columns] and [rows].
        probability: P(class 1), [rows, columns]; or several panels that share one
            colour scale, {panel title: [rows, columns]}.
        X, y: the data, [examples, 2], and its classes 0 or 1, [examples].
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a probability is not [rows, columns], or the description
        is missing.
    """
    panels = probability if isinstance(probability, dict) else {"": probability}
    fig = _figure(description, title, coloraxis=_PROBABILITY)
    for number, (name, values) in enumerate(panels.items(), 1):
        _need_shape(name, values, (len(grid_y), len(grid_x)))
        _add_region(fig, number, grid_x, grid_y, values)
        _add_classes(fig, number, np.asarray(X), np.asarray(y))
    _add_panels(fig, list(panels), len(panels), width=150, height=280, ygap=0.35)
    _share_axes(fig, "x₁", "x₂", showgrid=False, constrain="domain")
    fig.update_layout(yaxis_scaleanchor="x")  # a circle looks like one
    return fig


def histogram(values, *, description, title=None, bins=41):
    """Histograms of non-zero weights; each panel's title counts the exact zeros.

    Args:
        values: {panel title: weights, any shape}, at most as many as colours.
        bins: bars per panel, on one symmetric range for all panels.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if there are more panels than colours, or the description is
        missing.
    """
    values = {name: np.ravel(weights) for name, weights in values.items()}
    limit = max(np.abs(weights).max() for weights in values.values()) or 1
    edges = np.linspace(-limit, limit, bins + 1)
    fig = _figure(description, title, bargap=0, showlegend=False)
    for number, (color, weights) in enumerate(_colored(values.values()), 1):
        _add_bars(fig, number, weights[weights != 0], edges, color)
    titles = [_title_zeros(name, weights) for name, weights in values.items()]
    _add_panels(fig, titles, min(len(titles), 3), width=220, height=250, ygap=0.4)
    _share_axes(fig, "weight", "non-zero weights")
    return fig


def images(images, labels, predicted=None, *, description, title=None, columns=8):
    """Small greyscale images, each under its label.

    Args:
        images: intensities, 0 is the background, [examples, height, width].
        labels: true classes, [examples].
        predicted: predicted classes, [examples]; a mistake reads `true → predicted ✗`.
        columns: images in a row on a wide screen.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if the lengths differ or the description is missing.
    """
    predicted = labels if predicted is None else predicted
    if not len(images) == len(labels) == len(predicted):
        lengths = len(images), len(labels), len(predicted)
        raise ValueError(f"images, labels, predicted: lengths differ, {lengths}")
    fig = _figure(description, title, coloraxis=_INK)
    for number, image in enumerate(images, 1):
        _add_image(fig, number, image)
    titles = [verdict(*pair) for pair in zip(labels, predicted, strict=True)]
    _add_panels(fig, titles, columns, width=68, height=92, ygap=0.35)
    return fig


def _figure(description, title, **layout):
    if not (isinstance(description, str) and description.strip()):
        raise ValueError(
            f"description must say what the figure shows, got {description!r}"
        )
    layout["meta"] = {"description": description}
    return go.Figure(layout=layout | ({"title": {"text": title}} if title else {}))


def _lines(frame, x, by, values, description, title, mode):
    _need_columns(frame, [x, "seed", *values, *([by] if by else [])])
    fig = _figure(description, title)
    for color, (key, runs) in _colored(_groups(frame, by)):
        _need_paired(runs, x, by)
        for value in values:
            name = _name(by, key) if by else _label(value)
            shown = by is None or value == values[-1]
            _add_band(fig, runs, x, value, color)
            _add_line(
                fig, runs, x, value, color, mode=mode, name=name, showlegend=shown
            )
    if by and len(values) > 1:
        _add_key(fig, "line", {_role(value): _line(value) for value in values})
    fig.update_xaxes(title_text=_label(x))
    fig.update_yaxes(title_text=_axis_title(values), tickformat=_tick_format(values))
    return fig


def _groups(frame, by):
    return frame.groupby(by, sort=False, dropna=False) if by else [(None, frame)]


def _add_line(fig, runs, x, value, color, **options):
    mean = runs.groupby(x)[value].mean()
    line = _line(value) | {"color": color}
    fig.add_scatter(x=_list(mean.index), y=_list(mean), line=line, **options)


def _add_band(fig, runs, x, value, color):
    """Fills the range over seeds: out along the maxima, back along the minima."""
    if runs["seed"].nunique() == 1:
        return
    over = runs.groupby(x)[value].agg(["min", "max"])
    outline = pd.concat([over["max"], over["min"][::-1]])
    fig.add_scatter(
        x=_list(outline.index),
        y=_list(outline),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=_fade(color, 0.15),
        hoverinfo="skip",
        showlegend=False,
    )


def _add_dots(fig, results, name, style):
    fig.add_scatter(
        x=_list(results),
        y=[name] * len(results),
        mode="markers",
        marker=style | {"color": PALETTE[0]},
        name=name,
        showlegend=False,
    )


def _add_key(fig, part, entries):
    """Explains what a style stands for, in the legend and in no method's colour."""
    for name, style in entries.items():
        drawn = {"mode": f"{part}s", part: style | {"color": NEUTRAL}}
        fig.add_scatter(x=[None], y=[None], name=name, **drawn)


def _mark_baseline(fig, means, baseline):
    if baseline not in means.index:
        raise ValueError(f"baseline must be in {list(means.index)}, got {baseline!r}")
    (x,) = _list([means[baseline]])
    fig.add_vline(x=x, line={"color": NEUTRAL, "width": 1, "dash": "dash"})


def _add_region(fig, number, grid_x, grid_y, probability):
    fig.add_contour(
        x=_list(grid_x),
        y=_list(grid_y),
        z=[_list(row, 3) for row in np.asarray(probability)],
        contours={"start": 0.5, "end": 0.5, "size": 1, "coloring": "heatmap"},
        line={"width": 2, "color": NEUTRAL},
        coloraxis="coloraxis",
        hovertemplate="P(class 1) = %{z:.2f}<extra></extra>",
        **_axes(number),
    )


def _add_classes(fig, number, X, y):
    for label, symbol in enumerate(["circle", "diamond"]):
        fig.add_scatter(
            x=_list(X[y == label, 0], 4),
            y=_list(X[y == label, 1], 4),
            mode="markers",
            marker=_OUTLINED | {"color": PALETTE[label], "symbol": symbol},
            name=f"class {label}",
            legendgroup=label,
            showlegend=number == 1,
            **_axes(number),
        )


def _add_bars(fig, number, weights, edges, color):
    counts, _ = np.histogram(weights, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    fig.add_bar(
        x=_list(centres),
        y=_list(counts),
        marker={"color": color, "line": {"width": 0}},
        hovertemplate="%{y} weights near %{x}<extra></extra>",
        **_axes(number),
    )


def _add_image(fig, number, image):
    fig.add_heatmap(
        z=[_list(row, 4) for row in np.asarray(image)],
        coloraxis="coloraxis",
        hoverinfo="skip",
        **_axes(number),
    )
    y = {
        "visible": False,
        "autorange": "reversed",
        "scaleanchor": _axes(number)["xaxis"],
    }
    _update_axes(fig, number, {"visible": False, "constrain": "domain"}, y)


def _add_panels(fig, titles, columns, width, height, ygap):
    """Lays panels out in a grid, which the page re-flows on narrow screens."""
    rows = ceil(len(titles) / columns)
    grid = {"rows": rows, "columns": columns, "xgap": 0.1, "ygap": ygap}
    top = 12 + 16 * max(text.count("<br>") + bool(text) for text in titles)
    fig.update_layout(grid=grid | {"pattern": "independent"}, margin={"t": top})
    if fig.layout.title.text:
        fig.update_layout(title_pad={"b": top})  # it stands above the panels' own
    fig.update_layout(height=rows * height)
    fig.layout.meta |= {"panels": len(titles), "width": width}
    for number, text in enumerate(titles, 1):
        x, y = (f"{axis} domain" for axis in _axes(number).values())
        if text:
            fig.add_annotation(text=text, xref=x, yref=y, **_PANEL_TITLE)


def _share_axes(fig, x_title, y_title, **options):
    """Gives all panels the first one's ranges, and one row's ticks to its first."""
    for number in range(1, fig.layout.meta["panels"] + 1):
        shared = [{"matches": axis} if number > 1 else {} for axis in "xy"]
        starts = (number - 1) % fig.layout.grid.columns == 0
        x = {"title": {"text": x_title}} | shared[0] | options
        y = {"showticklabels": starts} | shared[1] | options
        _update_axes(fig, number, x, y)
    fig.update_layout(yaxis_title_text=y_title)


def _update_axes(fig, number, x, y):
    suffix = _axes(number)["xaxis"][1:]
    fig.update_layout({f"xaxis{suffix}": x, f"yaxis{suffix}": y})


def _axes(number):
    suffix = "" if number == 1 else number
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _make_log(fig, knob, values):
    """Puts a logarithmic axis under the lines, with 0 one decade to its left."""
    low, high = _decades(knob, values)
    zero = 10.0 ** (low - 1)
    for trace in fig.data:
        if 0 in trace.x:
            _set_apart(trace, zero)
        named = {None: "", zero: 0}
        trace.text = [f"{_label(knob)} = {named.get(x, x)}" for x in trace.x]
        trace.hovertemplate = "%{text}<br>%{y}"
    exponents = list(range(low, high + 1, ceil((high - low + 1) / 6)))
    ticks = {10.0**n: "10" + str(n).translate(_SUPERSCRIPT) for n in exponents}
    ticks |= {zero: "0"} if (values == 0).any() else {}
    fig.update_xaxes(type="log", tickvals=list(ticks), ticktext=list(ticks.values()))


def _set_apart(trace, zero):
    """Moves what lies at 0 to `zero`, and leaves a gap: no line leads there."""
    points = list(zip(trace.x, trace.y, strict=True))
    there = [y for x, y in points if x == 0]
    apart = [(zero, y) for y in there]
    if trace.fill:  # a band has its maximum first, its minimum last
        left, right = zero / 1.25, zero * 1.25
        sides = (left, right, right, left)
        apart = list(zip(sides, (there[0], *there, there[1]), strict=True))
    points = [*apart, (None, None), *((x, y) for x, y in points if x != 0)]
    trace.x, trace.y = zip(*points, strict=True)


def _decades(knob, values):
    positive = values[values > 0]
    if positive.empty or (values < 0).any():
        raise ValueError(f"{knob} on a logarithmic axis must be ≥ 0, and not all 0")
    return floor(log10(positive.min())), ceil(log10(positive.max()))


def _colored(groups):
    groups = list(groups)
    if len(groups) > len(PALETTE):
        raise ValueError(f"{len(PALETTE)} colours cannot tell {len(groups)} apart")
    return zip(PALETTE, groups, strict=False)


def _need_columns(frame, columns):
    if missing := [column for column in columns if column not in frame]:
        raise ValueError(f"columns {missing} are missing from {list(frame.columns)}")


def _need_paired(runs, x, by):
    if runs.duplicated([x, "seed"]).any():
        raise ValueError(
            f"runs differ in more than {by!r} and the seed: select some of them"
        )


def _need_shape(name, values, shape):
    if np.shape(values) != shape:
        raise ValueError(
            f"probability {name!r} must be [rows, columns] = {list(shape)}, "
            f"got {list(np.shape(values))}"
        )


def _list(values, digits=6):
    """Plain numbers, short in the stored JSON: [n] → n floats or ints."""
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.tolist()
    return [float(f"{v:.{digits}g}") if isfinite(v) else None for v in values.tolist()]


def _line(value):
    dash = TRAIN_DASH if value.startswith("train") else VAL_DASH
    return {"dash": dash, "width": 2}


def _role(value):
    return _label(value).rsplit(" ", 1)[0]


def _label(column):
    return LABELS.get(column, column.replace("_", " "))


def _name(by, key):
    if key is None or (isinstance(key, Real) and isnan(key)):
        return f"{_label(by)}: none"
    return f"{_label(by)} = {key:g}" if isinstance(key, Real) else str(key)


def _axis_title(values):
    kinds = {value.rsplit("_", 1)[-1] for value in values}
    kind = kinds.pop() if len(kinds) == 1 else ""
    name = _label(values[0]) if len(values) == 1 else kind
    return f"{name} (nats per example)" if kind in {"loss", "gap"} else name


def _tick_format(values):
    shares = all(value.endswith(("accuracy", "zeros")) for value in values)
    return ".0%" if shares else None


def _title_zeros(name, weights):
    share = (weights == 0).mean()
    return f"{name}<br>exactly 0: {count_zeros(weights)} ({share:.1%})"


def count_zeros(weights):
    """Return 'k of n' for the weights that are exactly 0."""
    return f"{int((weights == 0).sum()):,} of {weights.size:,}"


def verdict(label, predicted):
    """Return a class, or `true → predicted ✗` in bold where the two differ."""
    return f"{label}" if label == predicted else f"<b>{label} → {predicted} ✗</b>"
