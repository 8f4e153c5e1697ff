"""Where the parts of a live lab stand: side by side, or stacked in a narrow panel."""

import anywidget
import ipywidgets as widgets

PARTS = ("controls", "figure", "numbers")


class Fit(anywidget.AnyWidget):
    """Brings the lab's layout, and makes figures follow the width they are given.

    Plotly's own widget looks at the window alone, and only once that has changed.
    """

    _esm = """
    export default {
      render({ el }) {
        const tell = () => window.dispatchEvent(new Event("resize"));
        const watch = new ResizeObserver(() => requestAnimationFrame(tell));
        watch.observe(el);
        return () => watch.disconnect();
      },
    };
    """
    _css = """
    .lab-live { container: lab / inline-size; width: 100%; }
    .lab-live .lab-parts {
      display: grid;
      gap: 0 12px;
      grid-template: "controls figure" auto "numbers figure" 1fr
        / minmax(310px, 1fr) minmax(0, 2fr);
    }
    .lab-live .lab-part-controls { grid-area: controls; }
    .lab-live .lab-part-figure { grid-area: figure; }
    .lab-live .lab-part-numbers { grid-area: numbers; }
    @container lab (max-width: 680px) {
      .lab-live .lab-parts {
        grid-template: "controls" "figure" "numbers" / minmax(0, 1fr);
      }
    }
    .lab-live .lab-status .widget-html-content { line-height: 1.5; }
    .lab-live table { width: 100%; line-height: 1.5; text-align: right;
      font-variant-numeric: tabular-nums; }
    .lab-live th[scope="row"] { text-align: left; font-weight: normal; }
    .lab-live .lab-quiet { opacity: 0.75; }
    .lab-live [data-state="error"] { color: var(--jp-error-color1, #c00); }
    """


def lay_out(controls, figures, numbers) -> widgets.Widget:
    """Return one widget; each argument lists what belongs in that part."""
    contents = controls, (*figures, Fit()), numbers
    boxes = [
        widgets.VBox(children).add_class(f"lab-part-{part}")
        for part, children in zip(PARTS, contents, strict=True)
    ]
    parts = widgets.Box(boxes).add_class("lab-parts")
    return widgets.Box([parts]).add_class("lab-live")


def answer_at_once(widget: widgets.Widget) -> None:
    """Let a widget and all it holds answer while a cell runs.

    JupyterLab addresses widgets' messages to a thread of their own, but ipykernel 7.4
    takes them to the thread that last wrote to the widget: the one that runs cells.
    """
    for child in getattr(widget, "children", ()):
        answer_at_once(child)
    if widget.comm is not None:
        widget.comm._reply_subshell_for = lambda data, addressed: addressed


def close_all(widget: widgets.Widget) -> None:
    """Close a widget and all it holds, which frees them here and in the browser."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()
