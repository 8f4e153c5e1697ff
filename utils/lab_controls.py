"""What a live lab is operated with: its knobs, and their layout. Nothing trains here.

Everything is a slider, a number box or a ToggleButton: ipykernel handles those on a
thread of their own, but makes a Button wait until the running cell has ended.
"""

import dataclasses
import math
from dataclasses import dataclass

import ipywidgets as widgets

from utils.experiment import Experiment
from utils.plots import LABELS, LOG_KNOBS

PENALTIES = ("l1", "l2")
CONVENTION = "L = L<sub>data</sub> + λ₁ Σ|w| + λ₂ Σw²"
LABEL_WIDTH = "8.5em"
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Knob:
    """A field of Experiment that the reader may turn, and how far."""

    name: str
    low: float
    high: float
    value: float

    @property
    def label(self) -> str:
        """The field's name for readers."""
        return _label(self.name)

    @property
    def scale(self) -> str:
        """'log' or 'linear'."""
        return "log" if self.name in LOG_KNOBS else "linear"

    @property
    def whole(self) -> bool:
        """True for a count."""
        return isinstance(self.low, int)

    @property
    def steps(self) -> list[float]:
        """The values of a logarithmic slider: ten a decade, 0 first where allowed."""
        grid = (float(f"{10 ** (k / 10):.2g}") for k in _tenths(self.low, self.high))
        inside = {v for v in grid if self.low < v < self.high}
        zero = set() if self.name == "lr" else {0.0}
        return sorted({self.low, self.high, self.value} | inside | zero)

    def to_dict(self) -> dict:
        """What the page needs to know of it."""
        ends = {"min": self.low, "max": self.high}
        return {"label": self.label, **ends, "scale": self.scale, "value": self.value}


def parse_knobs(base: Experiment, ranges: dict) -> dict[str, Knob]:
    """Return a Knob for each name=(low, high).

    Raises: ValueError naming the knob, the value and what it must be.
    """
    return {name: _knob(base, name, limits) for name, limits in ranges.items()}


def _knob(base, name, limits):
    names = [f.name for f in dataclasses.fields(base) if _is_number(f.name, base)]
    if name not in names:
        raise ValueError(f"knob {name!r} = {limits!r}: must be one of {names}")
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise ValueError(f"{name} = {limits!r}: must be a range (low, high)")
    low, high = (getattr(base.replace(**{name: end}), name) for end in limits)
    if not low < high:
        raise ValueError(f"{name} = {limits!r}: low must be < high")
    log, value = name in LOG_KNOBS, getattr(base, name)
    if log and low == 0:
        raise ValueError(
            f"{name} = {limits!r}: low must be > 0 on a log scale"
            " (the slider has 0 at its left end all the same)"
        )
    if not (low <= value <= high or (log and value == 0)):
        raise ValueError(
            f"{name} = {limits!r}: must hold the experiment's own {name} = {value!r}"
        )
    return Knob(name, low, high, value)


def _is_number(name, base):
    """True for what a slider can turn; the seed has a box of its own."""
    value = getattr(base, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and name != "seed"


def _tenths(low, high):
    return range(math.ceil(10 * math.log10(low)), math.floor(10 * math.log10(high)) + 1)


class Controls:
    """The widgets of a lab.

    `sliders` maps a knob's name to its slider; `penalty` chooses between L1 and L2
    where one slider serves both, and is None elsewhere.

    Args:
        base: where the controls stand at first.
        knobs: what parse_knobs returned.
    Raises: ValueError if l1 and l2 are both knobs, and neither is 0 in base.
    """

    def __init__(self, base: Experiment, knobs: dict[str, Knob]):
        self.base = base
        choice = _choice(base, knobs)
        self.sliders = {n: _slider(k) for n, k in knobs.items() if n not in choice}
        self.penalty = _penalty(choice) if choice else None
        if choice:
            slider = _slider(_merged(choice)).add_class("lab-l1").add_class("lab-l2")
            self.sliders = dict.fromkeys(PENALTIES, slider) | self.sliders
            self.penalty.observe(self._name_penalty, "value")
        self.seed = widgets.BoundedIntText(base.seed, min=0, max=MAX_SEED)
        _describe(self.seed, "seed")
        self.change = widgets.ToggleButtons(
            options=[("restarts", "start"), ("goes on", "go on")],
            tooltips=["from the same initial weights", "from the present weights"],
            style={"button_width": "6em"},
        )
        self.play = _toggle("Play", "play", "play")
        self.restart = _toggle("Restart", "refresh", "restart")
        self.pin = _toggle("Pin", "thumb-tack", "pin")
        self.unpin = _toggle("Unpin", "times", "unpin")
        self.progress = widgets.IntProgress(0, 0, base.epochs)
        _describe(self.progress, "epoch 0")
        self.status = widgets.HTML().add_class("lab-status")
        self.numbers = widgets.HTML().add_class("lab-numbers")

    def experiment(self) -> Experiment:
        """Return the experiment the controls stand for.

        Raises: ValueError if it is not a valid one.
        """
        values = {name: slider.value for name, slider in self.sliders.items()}
        if self.penalty is not None:
            values[_other(self.penalty.value)] = 0.0
        return self.base.replace(**values, seed=self.seed.value)

    def changing(self) -> list[widgets.Widget]:
        """The widgets whose `value` changes the experiment."""
        penalty = [] if self.penalty is None else [self.penalty]
        return [*dict.fromkeys(self.sliders.values()), *penalty, self.seed]

    def show_playing(self, playing: bool) -> None:
        """Turn the play button into a pause button, or back."""
        self.play.value = playing
        self.play.description = "Pause" if playing else "Play"
        self.play.icon = "pause" if playing else "play"

    def show_epoch(self, epoch: int, end: int) -> None:
        """Move the progress bar."""
        with self.progress.hold_sync():
            self.progress.max, self.progress.value = end, epoch
            self.progress.description = f"epoch {epoch}"

    def box(self) -> widgets.Widget:
        """Return what the reader operates, in a column."""
        rows = [] if self.penalty is None else [_row("penalty", self.penalty)]
        rows += dict.fromkeys(self.sliders.values())
        if any(name in self.sliders for name in PENALTIES):
            rows.append(_row("loss", widgets.HTML(CONVENTION)))
        buttons = [self.play, self.restart, self.pin, self.unpin]
        row = widgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        rows += [self.seed, _row("a change", self.change), row]
        return widgets.VBox([*rows, self.progress, self.status])

    def _name_penalty(self, change):
        self.sliders["l1"].description = LABELS[change.new]


def short_label(name: str) -> str:
    """Return the label without what is in brackets."""
    return _label(name).split(" (")[0]


def _label(name):
    return LABELS.get(name, name.replace("_", " "))


def _heading(label):
    """What fits beside a slider."""
    return label if len(label) <= 16 else label.split(" (")[0]


def _choice(base, knobs):
    """The λ knobs that share a slider, or none.

    One given knob suffices: the other then takes its range, unless the experiment
    uses the other penalty itself.
    """
    given = {name: knob for name, knob in knobs.items() if name in PENALTIES}
    if len(given) == 2 and base.l1 and base.l2:
        raise ValueError(
            f"l1 = {base.l1!r}, l2 = {base.l2!r}: one must be 0 where both are knobs,"
            " since one slider drives either"
        )
    if len(given) == 1:
        (knob,) = given.values()
        other = _other(knob.name)
        if getattr(base, other):
            return {}
        given[other] = Knob(other, knob.low, knob.high, 0.0)
    return given


def _other(penalty):
    return PENALTIES[1 - PENALTIES.index(penalty)]


def _merged(choice):
    """One knob with the range of both; it stands at the λ in use."""
    used = _first_penalty(choice)
    low = min(knob.low for knob in choice.values())
    high = max(knob.high for knob in choice.values())
    return Knob(used, low, high, choice[used].value)


def _first_penalty(choice):
    """The penalty in use, else the one named first."""
    used = [name for name, knob in choice.items() if knob.value]
    return (used or list(choice))[0]


def _penalty(choice):
    options = [("L1", "l1"), ("L2", "l2")]
    buttons = widgets.ToggleButtons(options=options, value=_first_penalty(choice))
    buttons.style.button_width = "5em"
    return buttons.add_class("lab-penalty")


def _slider(knob):
    if knob.scale == "log":
        options = [(_short(v), v) for v in knob.steps]
        slider = widgets.SelectionSlider(options=options, value=knob.value)
    else:
        kind = widgets.IntSlider if knob.whole else widgets.FloatSlider
        slider = kind(knob.value, min=knob.low, max=knob.high, step=_step(knob))
    return _describe(slider.add_class(f"lab-{knob.name}"), _heading(knob.label))


def _step(knob):
    """About a hundred steps, each a power of ten."""
    step = 10.0 ** math.floor(math.log10((knob.high - knob.low) / 50))
    return max(1, int(step)) if knob.whole else step


def _short(value):
    return f"{value:g}".replace("e-0", "e-")


def _toggle(text, icon, name):
    layout = {"width": "auto", "flex": "1 1 auto"}
    button = widgets.ToggleButton(description=text, icon=icon, layout=layout)
    return button.add_class(f"lab-{name}")


def _describe(widget, text):
    widget.description = text
    widget.style = {"description_width": LABEL_WIDTH}
    widget.layout.width = "auto"
    return widget


def _row(text, widget):
    """A widget that has no description of its own, in line with those that do."""
    label = widgets.Label(text, layout={"width": LABEL_WIDTH, "flex": "0 0 auto"})
    label.layout.justify_content = "flex-end"
    return widgets.HBox([label, widget])
