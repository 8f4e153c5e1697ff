import copy
import json
import random
import re
import subprocess
import sys

import nbformat
import pytest

from utils import Experiment, plots
from utils.book.sphinx_ext import find_problem, render_figure, render_lab
from utils.lab.knobs import parse_knobs, parse_over
from utils.lab.views import complete
from utils.mimetypes import FIGURE as FIGURE_MIME
from utils.mimetypes import LAB as LAB_MIME
from utils.mimetypes import WIDGET

EPOCHS = list(range(1, 26))
FIGURE = {
    "data": [{"x": [1, 2], "y": [3, 4], "type": "scatter"}],
    "layout": {
        "meta": {"description": 'Loss "falls" </script><b>'},
        "title": {"text": "A <title>"},
        "height": 200,
    },
}
BASE = Experiment(epochs=25)
KNOBS = parse_knobs(BASE, {"l2": (1e-6, 1.0), "hidden": ((50, 50), (5,))})
LAB = {
    "version": 2,
    "experiment": json.loads(BASE.to_json()),
    "knobs": {name: knob.to_dict() for name, knob in KNOBS.items()},
    "seeds": 1,
    "against": None,
    "over": {},
    "order": {"knobs": [*KNOBS], "over": []},
    "asked": True,
    "views": ["curves", "regions", "weights"],
    "reference": {
        "epoch": EPOCHS,
        "train_loss": [0.5 / epoch for epoch in EPOCHS],
        "val_loss": [0.5] * 25,
        "train_accuracy": [0.9] * 25,
        "val_accuracy": [0.875] * 25,
    },
    "description": "Both losses of the baseline.",
}


def script(name, html):
    """Return the JSON that a browser finds in the page's script element."""
    pattern = f'<script type="application/json" class="{name}">(.*?)</script>'
    return json.loads(re.search(pattern, html, re.DOTALL)[1])


def test_figure_keeps_its_data_and_gives_its_title_to_the_caption():
    html = render_figure(FIGURE)
    layout = {key: FIGURE["layout"][key] for key in ("meta", "height")}
    assert script("plot-data", html) == {"data": FIGURE["data"], "layout": layout}
    assert "<figcaption>A &lt;title&gt;</figcaption>" in html


def test_figure_is_described_to_those_who_cannot_see_it():
    html = render_figure(FIGURE)
    text = "Loss &quot;falls&quot; &lt;/script&gt;&lt;b&gt;"
    assert f'role="img" aria-label="{text}"' in html
    assert f"<summary>Text description</summary><p>{text}</p>" in html


def test_figure_reserves_its_height():
    assert "min-height:200px" in render_figure(FIGURE)


def outputs(html):
    return dict(re.findall(r'<output name="(\w+)">(.*?)</output>', html))


def test_lab_shows_the_numbers_of_its_last_epoch():
    assert outputs(render_lab(LAB)) == {
        "train_loss": "0.0200",
        "val_loss": "0.5000",
        "gap": "0.4800",
        "val_accuracy": "87.5%",
        "epoch": "25",
    }


def test_lab_with_patience_shows_the_epoch_it_kept():
    kept = change(LAB, ["experiment", "patience"], 3)
    kept["reference"]["val_loss"] = [abs(epoch - 7) + 0.5 for epoch in EPOCHS]
    shown = outputs(render_lab(kept))
    assert (shown["epoch"], shown["val_loss"]) == ("7", "0.5000")


def test_lab_carries_all_that_a_live_page_needs():
    html = render_lab(LAB)
    assert html.startswith('<div class="lab" data-state="ready"><script')
    found = script("lab-data", html)
    assert found == json.loads(json.dumps(complete(LAB)))
    assert list(found["figures"]) == LAB["views"]
    found["knobs"]["l2"].pop("values")
    assert {name: found[name] for name in LAB} == LAB


def test_what_there_is_to_see_without_scripts_is_in_one_place():
    html = render_lab(LAB)
    live, _, still = html.partition('<div class="lab-still">')
    assert still.endswith("</div></div>")
    assert still.count("<div") + 1 == still.count("</div>") - 1
    assert "<div" not in live.removeprefix("<div").partition("<script")[0]
    assert '<output name="message" role="status"></output>' in still


def test_convolutions_train_in_jupyterlab():
    note = "Its convolutions train in JupyterLab"
    experiment = BASE.replace(data="digits", channels=(3,), hidden=(50, 50))
    lab = change(LAB, ["experiment"], json.loads(experiment.to_json()))
    lab["views"] = ["curves", "images"]
    assert find_problem(LAB_MIME, lab) is None
    assert note in render_lab(lab) and note not in render_lab(LAB)


def test_lab_draws_the_run_in_the_style_of_the_book():
    figure = script("plot-data", render_lab(LAB))
    drawn = {t["line"]["dash"]: t["y"][0] for t in figure["data"]}
    assert drawn == {plots.TRAIN_DASH: 0.5, plots.VAL_DASH: 0.5}
    assert figure["layout"]["meta"]["description"] == LAB["description"]


def test_a_lab_of_regression_speaks_of_squared_errors():
    lab = change(LAB, ["experiment", "data"], "diabetes")
    lab["experiment"]["n_train"], lab["views"] = 100, ["curves"]
    html = render_lab(lab)
    terms = re.findall(r"<dt>(.*?)</dt>", html)
    assert terms[:2] == ["training mean squared error", "validation mean squared error"]
    assert terms[-1] == "validation R²"
    assert outputs(html)["val_accuracy"] == "0.8750"
    axis = script("plot-data", html)["layout"]["yaxis"]
    assert axis["title"]["text"] == "loss (mean squared error)"
    assert "accuracy</th>" not in html


def test_lab_table_has_every_tenth_epoch_and_the_last():
    table = render_lab(LAB).rpartition("<tbody>")[2]
    assert re.findall(r"<tr>\s*<td>(\d+)</td>", table) == ["10", "20", "25"]


def test_lab_names_the_range_of_its_knobs():
    cells = re.findall(r"<td>(.*?)</td>", render_lab(LAB))
    assert cells[:4] == ["λ₂ (L2)", "0", "0.000001", "1"]
    assert cells[4:7] == ["units of the hidden layers", "50-50", "choice of 50-50, 5"]


def test_lab_has_no_dead_controls():
    assert not re.search("<(input|button|select)", render_lab(LAB))


def change(content, path, value):
    """Return a copy with one key changed, or removed if the value is `...`."""
    content = copy.deepcopy(content)
    *parents, key = path
    inner = content
    for parent in parents:
        inner = inner[parent]
    if value is ...:
        del inner[key]
    else:
        inner[key] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["version"], 1, "$.version: 2 was expected"),
        (["description"], ..., "'description' is a required property"),
        (["reference", "val_loss"], ..., "$.reference: 'val_loss' is a required"),
        (["reference", "val_loss"], [0.1], "$.reference.val_loss: must be as long"),
        (["reference", "val_loss", 3], "0.1", "$.reference.val_loss[3]: '0.1' is not"),
        (["reference", "val_loss", 3], float("nan"), "$: Out of range float"),
        (["reference", "epoch", 3], 7, "$.reference.epoch: must be 1, 2, 3"),
        (["experiment"], None, "$.experiment: None is not of type 'object'"),
        (["experiment", "data"], ..., "$.experiment: 'data' is a required property"),
        (["experiment", "data"], "cats", "$.experiment: data = 'cats': must be one of"),
        (["experiment", "dropout"], 1, "$.experiment: dropout = 1: must be"),
        (["experiment", "layers"], 1, "$.experiment: unknown field 'layers'"),
        (["against"], {"l2": -1}, "$.against: l2 = -1: must be"),
        (["seeds"], 21, "$.seeds: 21 is greater than the maximum"),
        (["seeds"], "1", "$.seeds: '1' is not of type 'integer'"),
        (["over"], {"l2": [0.0, "1"]}, "$.over.l2[1]: '1' is not of type 'number'"),
        (["over"], {"l2": [0.1, 0.0]}, "$.over: over: l2 = [0.1, 0.0]: must ascend"),
        (["over"], {"l3": [0.0, 0.1]}, "$.over: over: l3"),
        (["order", "knobs"], ["l2"], "$.order.knobs: must be ['hidden', 'l2'] in"),
        (["order", "over"], ["l2"], "$.order.over: must be [] in"),
        (["views"], [], "$.views: [] should be non-empty"),
        (["views", 0], "curve", "$.views[0]: 'curve' is not one of"),
        (["views", 0], "images", "$.views: 'images' must be left out"),
        (["views", 0], "map", "$.views: 'map' must be left out of a lab without two"),
        (["knobs", "l2", "max"], "1", "$.knobs.l2.max: '1' is not of type"),
        (["knobs", "l2", "max"], 1e-9, "$.knobs: l2 = (1e-06, 1e-09): must have low"),
        (["knobs", "l2", "scale"], "cubic", "$.knobs.l2.scale: 'cubic' is not one"),
        (["knobs", "l2", "scale"], "linear", "$.knobs.l2.scale: must be 'log'"),
        (["knobs", "l3"], LAB["knobs"]["l2"], "$.knobs: knob 'l3' = (1e-06, 1.0)"),
        (["knobs", "hidden", "choices"], [[50, 50]], "$.knobs.hidden.choices: "),
        (["knobs", "hidden", "choices", 1], 3, "$.knobs.hidden.choices[1]: 3 is not"),
        (["knobs", "hidden", "choices", 1], "5", "$.knobs: hidden = [[50, 50], '5']"),
        (["knobs", "hidden", "value"], [5], "$.knobs.hidden.value: must be [50, 50]"),
        (["knobs", "hidden", "texts"], ["?"], "$.knobs.hidden.texts: must be ['50-50'"),
    ],
)
def test_a_malformed_lab_is_told_by_its_key(path, value, problem):
    assert problem in find_problem(LAB_MIME, change(LAB, path, value))


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["layout", "meta"], ..., "$.layout: 'meta' is a required property"),
        (["layout", "meta", "description"], " ", "$.layout.meta.description: ' '"),
        (["layout", "title"], "A", "$.layout.title: 'A' is not of type 'object'"),
        (["data"], {}, "$.data: {} is not of type 'array'"),
    ],
)
def test_a_malformed_figure_is_told_by_its_key(path, value, problem):
    assert problem in find_problem(FIGURE_MIME, change(FIGURE, path, value))


def test_corrupt_content_is_told():
    assert find_problem(LAB_MIME, "{").startswith("$: '{' is not of type 'object'")


def test_sound_outputs_have_no_problem():
    assert find_problem(FIGURE_MIME, FIGURE) is None
    assert find_problem(LAB_MIME, LAB) is None


JUNK = (None, True, -1, 0, 0.5, 3, 1e9, "", "moons", [], [1], {}, {"l2": [0, 1]})
MUTATED = 400


def test_of_mutated_labs_none_passes_and_then_fails():
    draw = random.Random(0)
    knobs = {"l2": (1e-6, 1.0), "dropout": (0.0, 0.9), "data": ("moons", "ring")}
    parsed = parse_knobs(BASE, knobs)
    more = {"knobs": {name: knob.to_dict() for name, knob in parsed.items()}}
    more |= {"over": parse_over(BASE, None, parsed), "against": LAB["experiment"]}
    more |= {"order": {"knobs": [*parsed], "over": [*more["over"]]}}
    more |= {"seeds": 3, "views": ["curves", "regions", "pairs", "map", "shares"]}
    assert find_problem(LAB_MIME, LAB | more) is None
    refused = 0
    for _ in range(MUTATED):
        mutated = change(LAB | more, *mutation(LAB | more, draw))
        try:
            problem = find_problem(LAB_MIME, mutated)
            refused += problem is not None
            assert problem is not None or render_lab(mutated)
        except Exception as error:
            raise AssertionError(f"{mutated} fails") from error
    assert refused > MUTATED / 2


def mutation(lab, draw):
    """A path into the lab, and what to put there."""
    path, inner = [], lab
    while (
        isinstance(inner, dict | list) and inner and (not path or draw.random() < 0.8)
    ):
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        path.append(draw.choice(keys))
        inner = inner[path[-1]]
    return path, draw.choice([..., *JUNK])


def build(folder, data):
    """Build a book of one notebook with one output; return its HTML and warnings."""
    output = nbformat.v4.new_output("display_data", data=data)
    code = nbformat.v4.new_code_cell("x", outputs=[output], execution_count=1)
    title = nbformat.v4.new_markdown_cell("# Chapter")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[title, code]), folder / "index.ipynb"
    )
    options = ["-q", "-C", "-D", "extensions=myst_nb", "-D", "nb_execution_mode=off"]
    command = [sys.executable, "-m", "sphinx", *options, folder, folder / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (folder / "out" / "index.html").read_text(), done.stderr


VIEW = {WIDGET: {"model_id": "a"}}


def test_page_prefers_the_lab_to_the_widget(tmp_path):
    html, _ = build(tmp_path, {LAB_MIME: LAB, **VIEW, "text/plain": "Lab(...)"})
    assert outputs(html)["val_loss"] == "0.5000"
    assert "model_id" not in html


def test_a_malformed_lab_is_a_warning_that_names_document_and_key(tmp_path):
    lab = change(LAB, ["reference", "val_loss"], ...)
    _, warnings = build(tmp_path, {LAB_MIME: lab, "text/plain": "Lab(...)"})
    assert "index.ipynb" in warnings
    assert "$.reference: 'val_loss' is a required property" in warnings
