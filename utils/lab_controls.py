"""What a live lab is operated with: its knobs, and their layout. Nothing trains here.

Everything is a slider, a number box, a menu or a ToggleButton, which report a value: a
Button's click would wait until the running cell has ended.
"""

import ipywidgets as widgets

from utils.experiment import Experiment
from utils.lab_knobs import (
    PENALTIES,
    Choice,
    Knob,
    label,
    merge,
    other_penalty,
    penalty_knobs,
    with_values,
)

CONVENTION = "L = L<sub>data</sub> + λ₁ Σ|w| + λ₂ Σw²"
LABEL_WIDTH = "9.5em"
MAX_SEED = 2**32 - 1
FILL = "Fill the map of λ × p"
HEADING = 18  # letters that fit beside a slider
BUTTON_EM, BUTTONS_EM = 0.6, 13  # a letter's width; room for a row of buttons


class Controls:
    """The widgets of a lab.

    `sliders` maps the name of a Knob to its slider, `choices` that of a Choice to its
    buttons or its menu; `penalty` chooses between L1 and L2 where one slider serves
    both, and is None elsewhere. `fill` fills the map, None without one.

    Args:
        base: where the controls stand at first.
        knobs: what parse_knobs returned.
        axes: those of the lab's map, if it has one; its settings are among those of
            the sliders.
    Raises: ValueError if l1 and l2 are both knobs, and neither is 0 in base.
    """

    def __init__(
        self,
        base: Experiment,
        knobs: dict[str, Knob | Choice],
        axes: dict | None = None,
    ):
        self.base = base
        stops = {axis["name"]: axis["values"] for axis in (axes or {}).values()}
        shared = penalty_knobs(base, knobs)
        numbers = {n: k for n, k in knobs.items() if isinstance(k, Knob)}
        self.sliders = {
            n: _slider(k, stops.get(n, ()))
            for n, k in numbers.items()
            if n not in shared
        }
        self.choices = {n: _menu(knobs[n]) for n in knobs if n not in numbers}
        self.penalty = _penalty(shared) if shared else None
        if shared:
            both = [v for n in PENALTIES for v in stops.get(n, ())]
            slider = _slider(merge(shared), both)
            slider.add_class("lab-l1").add_class("lab-l2")
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
        self.fill = _toggle(FILL, "th", "fill") if axes else None
        self.progress = widgets.IntProgress(0, 0, base.epochs)
        _describe(self.progress, "epoch 0")
        self.status = widgets.HTML().add_class("lab-status")
        self.numbers = widgets.HTML().add_class("lab-numbers")

    def experiment(self) -> Experiment:
        """Return the experiment the controls stand for.

        Raises: ValueError if it is not a valid one.
        """
        settings = self.sliders | self.choices
        values = {name: widget.value for name, widget in settings.items()}
        if self.penalty is not None:
            values[other_penalty(self.penalty.value)] = 0.0
        return with_values(self.base, values | {"seed": self.seed.value})

    def changing(self) -> list[widgets.Widget]:
        """The widgets whose `value` changes the experiment."""
        penalty = [] if self.penalty is None else [self.penalty]
        settings = [*dict.fromkeys(self.sliders.values()), *self.choices.values()]
        return [*settings, *penalty, self.seed]

    def load(self, settings: dict[str, float]) -> None:
        """Move the sliders to a cell of the map.

        Args:
            settings: a value of each axis of the map.
        """
        for name, value in settings.items():
            if self.penalty is not None and name in PENALTIES:
                self.penalty.value = name
            self.sliders[name].value = value

    def show_filling(self, filling: bool) -> None:
        """Turn the button that fills the map into one that stops it, or back."""
        self.fill.value = filling
        self.fill.description = "Stop" if filling else FILL
        self.fill.icon = "stop" if filling else "th"

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
        rows += [_row(_heading(label(n)), menu) for n, menu in self.choices.items()]
        buttons = [self.play, self.restart, self.pin, self.unpin]
        row = widgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        rows += [self.seed, _row("a change", self.change), row]
        return widgets.VBox([*rows, self.progress, self.status])

    def _name_penalty(self, change):
        self.sliders["l1"].description = label(change.new)


def _heading(text):
    """What fits beside a slider: the label, else a part of it."""
    if len(text) <= HEADING:
        return text
    short, _, rest = text.partition(" (")
    return rest.rstrip(")") if short == "p" else short


def _penalty(shared):
    options = [("L1", "l1"), ("L2", "l2")]
    buttons = widgets.ToggleButtons(options=options, value=next(iter(shared)))
    buttons.style.button_width = "5em"
    return buttons.add_class("lab-penalty")


def _slider(knob, stops=()):
    if knob.scale == "log":
        options = [(_short(v), v) for v in sorted({*knob.steps, *stops})]
        slider = widgets.SelectionSlider(options=options, value=knob.value)
    else:
        kind = widgets.IntSlider if knob.whole else widgets.FloatSlider
        slider = kind(knob.value, min=knob.low, max=knob.high, step=knob.step)
    return _describe(slider.add_class(f"lab-{knob.name}"), _heading(knob.label))


def _menu(choice):
    """Buttons where they fit into one row, else a menu."""
    widest = max(len(text) for text, _ in choice.options)
    width = max(3, 2 + BUTTON_EM * widest)
    kind = widgets.ToggleButtons
    if width * len(choice.options) > BUTTONS_EM:
        kind = widgets.Dropdown
    menu = kind(options=choice.options, value=choice.value)
    if kind is widgets.Dropdown:
        menu.layout = {"width": "auto", "flex": "1 1 0", "min_width": "0"}
    else:
        menu.style.button_width = f"{width:g}em"
    return menu.add_class(f"lab-{choice.name}")


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
