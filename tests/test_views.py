"""The skeletons of a lab's pictures: what web/lab relies on."""

import json
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest

from utils import Experiment, plots
from utils.data import load, training_set
from utils.lab.knobs import parse_knobs, parse_over
from utils.lab.views import VIEWS, choose, complete, find_misfit
from utils.plots import live

BASE = Experiment(n_train=30, label_noise=0.4)
DATA = {"moons": "binary", "digits": "images", "diabetes": "table", "wave": "line"}
LINES = [
    *("key_validation", "key_training", "book_train", "book_val"),
    *("ghost_train", "ghost_val", "band_val_low", "band_val_high"),
    *("band_train_low", "band_train_high", "your_train", "your_val"),
    *("against_low", "against_high", "against_val", "pin_0", "pin_1", "pin_2", "pin_3"),
]
ROLES = {
    "curves": LINES,
    "path": LINES,
    "regions": ["colors", "border", "class_0", "class_1", "replaced"],
    "fit": ["true", "draws", "fit", "points", "replaced"],
    "images": ["pixels", "captions"],
    "inputs": ["pixels"],
    "targets": ["equal", "points"],
    "shares": ["class_0", "class_1"],
    "weights": ["weights"],
    "map": ["cells"],
    "pairs": ["draws", "mean"],
}
REFERENCE = {
    "epoch": [1, 2],
    "train_loss": [0.6, 0.4],
    "val_loss": [0.6, 0.5],
    "train_accuracy": [0.5, 0.8],
    "val_accuracy": [0.5, 0.7],
}


def spec(views, base=BASE, over=None, seeds=1, reference=REFERENCE, **knobs):
    """A lab as it is stored."""
    parsed = parse_knobs(base, knobs)
    over = parse_over(base, over, parsed) if over else {}
    return {
        "experiment": json.loads(base.to_json()),
        "knobs": {name: knob.to_dict() for name, knob in parsed.items()},
        "seeds": seeds,
        "over": over,
        "order": {"knobs": [*parsed], "over": [*over]},
        "views": views,
        "reference": reference,
    }


def figure(view, base=BASE, **options):
    """One skeleton; Plotly finds nothing wrong with it."""
    found = complete(spec([view], base, **options))["figures"][view]
    go.Figure(found)
    return found


def traces(figure):
    return {trace["uid"]: trace for trace in figure["data"]}


def example(view):
    """A skeleton of that view, of data that it fits."""
    fitting = (name for name in DATA if not misfit(view, name))
    base = BASE.replace(data=next(fitting), label_noise=0.2)
    over = {"path": {"l2": 5}, "map": {"l2": 4, "dropout": 3}}.get(view)
    return figure(view, base, over=over, seeds=5)


def misfit(view, data, **more):
    options = {"seeds": 5, "against": BASE, "over": {"path": [1], "map": [1, 2]}}
    options["over"] = options["over"].get(view, {})
    return find_misfit(view, BASE.replace(data=data, label_noise=0), **options | more)


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_its_traces_and_a_description(view):
    found = example(view)
    assert [trace["uid"] for trace in found["data"]] == ROLES[view]
    assert len(found["layout"]["meta"]["description"]) > 20
    assert found["layout"]["height"] >= 150
    assert found["layout"]["template"]["layout"]["font"]["color"] == plots.NEUTRAL
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(json.dumps(found)) < 25_000


@pytest.mark.parametrize(
    "data, fitting",
    [
        ("moons", {"regions", "shares"}),
        ("breast_cancer", {"shares"}),
        ("digits", {"images", "inputs"}),
        ("diabetes", {"targets"}),
        ("wave", {"fit", "targets"}),
    ],
)
def test_views_fit_their_data(data, fitting):
    always = {"curves", "weights", "path", "map", "pairs"}
    assert {view for view in VIEWS if not misfit(view, data)} == fitting | always
    wrong = VIEWS.keys() - fitting - always
    assert all("must" not in misfit(view, data) != "" for view in wrong)


@pytest.mark.parametrize(
    "view, more",
    [
        ("path", {"over": {}}),
        ("path", {"over": {"l2": [], "l1": []}}),
        ("map", {"over": {"l2": []}}),
        ("pairs", {"seeds": 1}),
        ("pairs", {"against": None}),
    ],
)
def test_some_views_need_more_than_data(view, more):
    assert misfit(view, "moons", **more).startswith("left out of a lab without ")


def lab(base=BASE, over=None, seeds=1, against=None):
    """What `choose` looks at."""
    asked = over is None
    return SimpleNamespace(
        base=base, over=over or {}, seeds=seeds, against=against, asked=asked
    )


@pytest.mark.parametrize(
    "options, knobs, views",
    [
        ({}, {}, "curves regions weights"),
        ({"seeds": 3, "against": BASE}, {}, "curves regions weights pairs"),
        ({"against": BASE}, {}, "curves regions weights"),
        ({"over": {"l2": [0, 1]}}, {}, "path"),
        ({"over": {"l2": [0, 1], "l1": [0, 1]}}, {}, "map"),
        ({"base": BASE.replace(data="digits")}, {}, "curves images weights"),
        (
            {"base": BASE.replace(data="digits")},
            {"rotation": None},
            "curves images weights inputs",
        ),
        ({"base": BASE.replace(data="wave")}, {}, "curves fit weights"),
        ({"base": BASE.replace(data="diabetes")}, {}, "curves targets weights"),
        ({"base": BASE.replace(data="breast_cancer")}, {}, "curves shares weights"),
    ],
)
def test_by_default_a_lab_shows_what_fits(options, knobs, views):
    assert choose(lab(**options), None, knobs) == tuple(views.split())


def test_a_map_that_is_asked_for_comes_last():
    asking = lab()
    asking.over = {"dropout": [0, 0.5], "l2": [0, 1]}
    assert choose(asking, None, {}) == ("curves", "regions", "weights", "map")
    assert choose(asking, ("weights",), {}) == ("weights",)


def test_what_is_completed_says_what_the_data_are():
    found = complete(spec(["curves"], n_train=(10, 200)))
    about = {"task": "binary", "features": 2, "classes": 2, "image": None, "most": 1000}
    assert {name: found[name] for name in about} == about
    assert found["labels"]["val_loss"] == "validation loss"
    found = complete(spec(["curves"], BASE.replace(data="diabetes", label_noise=0)))
    assert (found["task"], found["classes"], found["most"]) == ("regression", None, 242)
    assert found["labels"]["val_accuracy"] == "validation R²"
    found = complete(spec(["curves"], BASE.replace(data="digits")))
    assert found["image"] == [8, 8]
    assert complete(spec(["path"], over={"lr": [0.1, 1]}))["labels"]["lr"]


def test_the_books_run_is_drawn():
    lines = traces(figure("curves"))
    assert lines["book_val"]["y"] == [0.6, 0.5] and lines["book_val"]["visible"]
    assert lines["book_train"]["x"] == [1, 2]
    for line in (line for line in lines.values() if "band" not in line["uid"]):
        dash = plots.TRAIN_DASH if "train" in line["uid"] else plots.VAL_DASH
        assert line["line"]["dash"] == dash
    known = {uid for uid, line in lines.items() if line["visible"]}
    assert known == {"key_validation", "key_training", "book_train", "book_val"}


def test_losses_that_span_decades_have_a_logarithmic_axis():
    assert figure("curves")["layout"]["yaxis"]["type"] == "linear"
    falling = REFERENCE | {"train_loss": [0.6, 0.01]}
    assert figure("curves", reference=falling)["layout"]["yaxis"]["type"] == "log"
    gone = REFERENCE | {"train_loss": [0.6, 0.0]}
    assert figure("curves", reference=gone)["layout"]["yaxis"]["type"] == "linear"


def brightness(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


@pytest.mark.parametrize("ground", ["#ffffff", "#14181e"])
def test_every_line_stands_out_from_both_grounds(ground):
    shown = [t for uid, t in traces(figure("curves")).items() if "ghost" not in uid]
    for color in {trace["line"]["color"] for trace in shown}:
        low, high = sorted([brightness(color), brightness(ground)])
        assert (high + 0.05) / (low + 0.05) >= 3
    assert all(trace.get("opacity", 1) == 1 for trace in shown)


def test_regions_know_their_grid_and_the_replaced_labels():
    found = figure("regions")
    x, y = found["layout"]["meta"]["sets"]["moons"]["grid"]
    pool = load("moons").pool.X
    assert len(x) == len(y) == 60 and x == sorted(x)
    assert x[0] < pool[:, 0].min() and y[-1] > pool[:, 1].max()
    parts, points = traces(found), training_set(BASE)
    clean = training_set(BASE.replace(label_noise=0)).y
    assert len(parts["replaced"]["x"]) == (points.y != clean).sum() > 0
    marked = [len(parts[f"class_{k}"]["x"]) for k in (0, 1)]
    assert marked == np.bincount(points.y).tolist()
    assert parts["colors"]["x"] == parts["border"]["x"] == x
    assert found["layout"]["xaxis"]["range"] == [x[0], x[-1]]


def test_a_view_knows_each_data_set_that_can_be_chosen():
    for view, key in (("regions", "grid"), ("shares", "labels")):
        sets = figure(view, data=("moons", "ring"))["layout"]["meta"]["sets"]
        assert list(sets) == ["moons", "ring"]
        assert sets["moons"][key] != sets["ring"][key]


def test_a_fit_knows_the_true_function():
    base = BASE.replace(data="wave")
    found = figure("fit", base)
    known = found["layout"]["meta"]["sets"]["wave"]
    (grid,), true = known["grid"], np.array(known["true"])
    assert len(grid) == len(true) == 121
    assert true == pytest.approx(load("wave").truth(np.array([grid]).T), abs=1e-5)
    parts, points = traces(found), training_set(base)
    assert parts["points"]["y"] == points.y.tolist()
    assert 0 < len(parts["replaced"]["x"]) < len(points.y)
    assert parts["fit"]["x"] == parts["true"]["x"] == grid


def test_images_are_those_of_the_validation_set():
    found = figure("images", BASE.replace(data="digits"))
    known = found["layout"]["meta"]["sets"]["digits"]
    held = load("digits").validation
    assert known["labels"] == held.y[:10].tolist()
    pixels = np.array(traces(found)["pixels"]["z"], float)
    assert pixels.shape == (2 * (8 + 4), 5 * (8 + 1))
    for k in range(10):
        row, column = 12 * (k // 5), 9 * (k % 5)
        image = pixels[row : row + 8, column : column + 8]
        assert image == pytest.approx(held.X[k].reshape(8, 8), abs=1e-3)
    captions = traces(found)["captions"]
    assert len(captions["x"]) == len(captions["y"]) == 10


def test_validation_points_are_known_by_their_labels_or_targets():
    held = load("breast_cancer").validation
    found = figure("shares", BASE.replace(data="breast_cancer"))
    known = found["layout"]["meta"]["sets"]["breast_cancer"]
    assert known["labels"] == held.y.tolist()
    assert len(traces(found)["class_0"]["x"]) == 20
    held = load("diabetes").validation
    found = figure("targets", BASE.replace(data="diabetes"))
    assert traces(found)["points"]["x"] == pytest.approx(held.y, abs=1e-5)


@pytest.mark.parametrize(
    "over, places, kind",
    [
        ({"l2": [0, 1e-5, 1e-2]}, [1e-6, 1e-5, 1e-2], "log"),
        ({"lr": [1e-3, 0.1]}, [1e-3, 0.1], "log"),
        ({"dropout": [0, 0.3]}, [0, 0.3], None),
        ({"n_train": [10, 1000]}, [10, 1000], "log"),
        ({"n_train": [10, 100]}, [10, 100], None),
    ],
)
def test_a_path_has_the_axis_of_its_knob(over, places, kind):
    found = figure("path", over=over)
    assert found["layout"]["meta"]["x"] == places
    assert found["layout"]["xaxis"].get("type") == kind
    assert found["layout"]["meta"]["knob"] in over
    if 0 in next(iter(over.values())) and kind:
        ticks = found["layout"]["xaxis"]
        assert dict(zip(ticks["tickvals"], ticks["ticktext"], strict=True))[1e-6] == "0"


def test_a_map_has_a_cell_for_each_pair_of_values():
    found = figure("map", over={"dropout": [0, 0.5], "l2": [0, 1e-3, 0.1]})
    (cells,) = found["data"]
    assert cells["x"] == ["0", "0.5"] and cells["y"] == ["0", "10⁻³", "10⁻¹"]
    assert cells["z"] == [[None, None]] * 3
    assert "shapes" not in found["layout"]


def test_pairs_have_a_place_for_each_draw():
    draws, mean = figure("pairs", seeds=7)["data"]
    assert draws["x"] == [None] * 7 and len(draws["y"]) == 7
    assert mean["x"] == [None] and mean["error_x"]["array"] == [0]


def test_margins_stand_still_where_there_is_no_legend():
    for view in VIEWS.keys() - {"map"}:
        layout = example(view)["layout"]
        assert layout["margin"]["autoexpand"] is layout["showlegend"]
        assert layout["showlegend"] is (view in ("curves", "path"))
        assert layout["meta"]["fixed"] is True
        assert len(layout["annotations"]) == (not layout["showlegend"])


def test_a_mosaic_leaves_gaps():
    images = np.arange(8.0).reshape(2, 2, 2)
    assert live.mosaic(images, 2, 1) == [
        [0, 1, None, 4, 5, None],
        [2, 3, None, 6, 7, None],
        [None] * 6,
    ]
