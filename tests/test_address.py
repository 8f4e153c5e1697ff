"""web/lab/address.js alone: it reads what it writes, and nothing else does harm."""

import json
import random
import string
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "web" / "lab" / "address.js"
KNOBS = {
    "l2": {"values": [0, 1e-5, 0.1], "whole": False},
    "n_train": {"values": [10, 100], "whole": True},
    "seed": {"values": [0, 2**32 - 32], "whole": True},
    "hidden": {"choices": [[5], [50, 50], []], "texts": ["5", "50-50", "none"]},
    "optimizer": {"choices": ["sgd", "adam"], "texts": ["SGD", "Adam"]},
    "batch_norm": {"choices": [False, True], "texts": ["off", "on"]},
}
FLAT, LINE, IMAGES = ({"features": n, "most": 1000} for n in (2, 1, 64))


@pytest.fixture(scope="session")
def base_url():
    """None: a blank page serves."""


@pytest.fixture(scope="module")
def address(browser):
    """address(script, *given): runs it with a new module as `a`, given as `given`."""
    page, text = browser.new_page(), json.dumps(SOURCE.read_text("utf-8"))
    load = f"""const source = new Blob([{text}], {{ type: "text/javascript" }});
        const a = await import(URL.createObjectURL(source));"""
    yield lambda script, *given: page.evaluate(
        f"async (given) => {{ {load} {script} }}", given
    )
    page.close()


def restore(address, hash, limits=FLAT, number=1):
    """What the settings of a lab become."""
    return address(
        """const [hash, number, knobs, limits] = given;
        a.load(hash);
        return a.restore(a.read(number) ?? {}, knobs, limits);""",
        hash, number, KNOBS, limits,
    )  # fmt: skip


# There and back


SETTINGS = [
    {},
    {"l2": 0.00321, "n_train": 37, "seed": 4_000_000_000},
    {"hidden": [50, 50], "optimizer": "sgd", "batch_norm": True},
    {"hidden": [], "l2": 0},
]
POINTS = [
    (None, FLAT),
    ({"X": [0.1, -0.25, 12.5, 0], "y": [0, 1]}, FLAT),
    ({"X": [-3, 0.01, 2.99], "y": [0.5, -1.25, 0]}, LINE),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("points, limits", POINTS)
def test_what_a_link_says_is_what_comes_back(address, settings, points, limits):
    found = address(
        """const [settings, points, knobs, limits] = given;
        const link = a.link(3, a.forAddress(settings), points);
        const numbers = a.load(new URL(link).hash);
        return { numbers, ...a.restore(a.read(3), knobs, limits) };""",
        settings, points, KNOBS, limits,
    )  # fmt: skip
    wanted = {"numbers": [3], "settings": settings, "points": points, "said": []}
    assert found == wanted


def test_each_lab_has_a_part_of_its_own(address):
    found = address(
        """const hash = "#lab=2&l2=0.01;lab=1&seed=3;nonsense;lab=0;lab=x;lab=1.5";
        const numbers = a.load(hash);
        return [numbers, a.read(1), a.read(2), a.read(3)];"""
    )
    assert found == [[2, 1], {"seed": "3"}, {"l2": "0.01"}, None]


def test_the_address_is_written_once_the_sliders_rest(address):
    found = address(
        """return (async () => {
          const written = [];
          history.replaceState = (state, title, url) => written.push(url);
          const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          for (let k = 0; k < 20; k++) {
            a.write(1, { l2: String(k) }, null);
            a.write(2, { seed: "5" }, null);
            await rest(5);
          }
          const before = written.length;
          await rest(600);
          a.write(1, {}, null);
          await rest(600);
          a.write(2, {}, null);
          await rest(600);
          return [before, written.map((url) => url.split("#")[1] ?? "")];
        })();"""
    )
    assert found == [0, ["lab=1&l2=19;lab=2&seed=5", "lab=2&seed=5", ""]]


def test_a_browser_that_refuses_the_address_is_asked_again(address):
    found = address(
        """return (async () => {
          const written = [];
          history.replaceState = (state, title, url) => {
            written.push(url);
            if (written.length === 1) throw new DOMException("no", "SecurityError");
          };
          const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          a.write(1, { l2: "1" }, null);
          await rest(600);
          a.write(1, { l2: "2" }, null);
          await rest(600);
          return written;
        })();"""
    )
    assert found == ["#lab=1&l2=1", "#lab=1&l2=2"]


# What people type, and what nobody should


@pytest.mark.parametrize(
    "text, value",
    [("0,003", 0.003), (" 12 ", 12), ("1e-3", 0.001), ("−1", -1), ("-1", -1),
     (".5", 0.5), ("5.", 5), ("+2", 2), ("1E5", 1e5), ("", None), ("abc", None),
     ("10¹¹", None), ("0x10", None), ("1,2,3", None), ("1e", None), ("Infinity", None),
     ("NaN", None), ("1 2", None), ("--1", None), ("1_000", None), ("٣", None)],
)  # fmt: skip
def test_numbers_as_people_type_them(address, text, value):
    found = address(
        "const v = a.parse(given[0]); return Number.isNaN(v) ? null : v;", text
    )
    assert found == value


@pytest.mark.parametrize(
    "hash, settings, said",
    [
        ("l2=5", {"l2": 0.1}, "l2 = 5: 0.1 is used"),
        ("l2=-1", {"l2": 0}, "l2 = -1: 0 is used"),
        ("l2=abc", {}, "l2 = abc: must be a number"),
        ("l2=", {}, "l2 = : must be a number"),
        ("l2=NaN", {}, "l2 = NaN: must be a number"),
        ("l2=1e999", {}, "l2 = 1e999: must be a number"),
        ("n_train=37.4", {"n_train": 37}, "n_train = 37.4: 37 is used"),
        ("n_train=1e11", {"n_train": 100}, "n_train = 1e11: 100 is used"),
        ("seed=1.5", {"seed": 2}, "seed = 1.5: 2 is used"),
        ("hidden=5-5", {}, "hidden = 5-5: must be one of 5, 50-50, "),
        ("optimizer=toString", {}, "optimizer = toString: must be one of sgd, adam"),
        ("batch_norm=1", {}, "batch_norm = 1: must be one of false, true"),
        ("nope=3", {}, "nope is no knob of this lab: left out"),
        ("constructor=1", {}, "constructor is no knob"),
        ("__proto__=1", {}, "__proto__ is no knob"),
        ("hasOwnProperty=1", {}, "hasOwnProperty is no knob"),
        ("%E0%A4%A", {}, "is no knob"),
        ("points=1.1", {}, "the points in the address cannot be read"),
        ("points=1.1~_x", {}, "the points in the address cannot be read"),
        ("points=__proto__", {}, "the points in the address cannot be read"),
    ],
)
def test_what_makes_no_sense_is_put_right_and_said(address, hash, settings, said):
    found = restore(address, f"#lab=1&{hash}")
    assert found["settings"] == settings
    assert found["points"] is None
    (sentence,) = found["said"]
    assert sentence.startswith(said) or said in sentence


def test_no_more_points_than_there_may_be(address):
    two = "points=1.1~_2.2!"
    some = {"features": 2, "most": 1}
    assert restore(address, f"#lab=1&{two}")["points"] == {
        "X": [0.01, 0.01, 0.02, 0.02], "y": [0, 1]
    }  # fmt: skip
    assert restore(address, f"#lab=1&{two}", some)["points"] is None
    assert restore(address, "#lab=1&points=1.1_2.2", IMAGES)["points"] is None


PIECES = [
    *KNOBS, "points", "lab", "constructor", "__proto__", "toString", "valueOf", "=",
    "&", ";", "#", "%", "%00", "%E0%A4%A", "<img src=x onerror=hurt()>", "javascript:",
    "+", "-", "1", "1e309", "-0", "NaN", "null", "undefined", "true", "50-50", "sgd",
    "1.1~", "_", "!", "zzzzz.zzzzz!", "1.1", "é", "😀", " ", ",", "0,5",
]  # fmt: skip


def fragments(count):
    draw = random.Random(0)
    for _ in range(count):
        some = draw.choices(PIECES, k=draw.randrange(12))
        noise = draw.choices(string.printable, k=draw.randrange(8))
        parts = some + noise
        draw.shuffle(parts)
        yield draw.choice(
            ["#lab=1&", "#", "", "#lab=1&l2=", "#lab=1&points="]
        ) + "".join(parts)


def test_random_fragments_give_settings_that_a_lab_may_have(address):
    hashes = list(fragments(4000))
    told = address(
        """const [hashes, knobs, all] = given;
        return all.map((limits) => hashes.map((hash) => {
          a.load(hash);
          return a.restore(a.read(1) ?? {}, knobs, limits);
        }));""",
        hashes, KNOBS, [FLAT, LINE, IMAGES],
    )  # fmt: skip
    read = 0
    for limits, all_found in zip([FLAT, LINE, IMAGES], told, strict=True):
        for found in all_found:
            read += bool(found["settings"] or found["said"])
            for name, value in found["settings"].items():
                knob = KNOBS[name]
                if "choices" in knob:
                    assert value in knob["choices"]
                else:
                    low, *_, high = knob["values"]
                    assert low <= value <= high
                    assert not knob["whole"] or value == int(value)
            for sentence in found["said"]:
                assert len(sentence) < 120
            if points := found["points"]:
                assert len(points["X"]) == limits["features"] * len(points["y"])
                assert 0 < len(points["y"]) <= limits["most"]
                assert all(abs(v) <= 1000 for v in points["X"] + points["y"])
    assert read > 4000
