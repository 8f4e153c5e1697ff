"""Re-runs chapters in place and stores what they show: `make execute`.

python -m utils.book.execute                 every chapter, then book/claims.md
python -m utils.book.execute book/X.ipynb    that chapter, then book/claims.md
"""

import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from utils.book.claims import write_claims
from utils.mimetypes import WIDGET

BOOK = Path(__file__).parents[2] / "book"
CELL_METADATA = ("tags", "mystnb")


def execute(path: Path) -> float:
    """Run the notebook at path, store its outputs in it, return the seconds taken.

    Widgets and the kernel's own metadata are left out: they differ at each run, and a
    stored widget is dead. Until it is run again, a lab shows its table.

    Raises: nbclient.exceptions.CellExecutionError where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client(notebook, path.parent, timeout=600).execute()
    clean(notebook)
    nbformat.write(notebook, path)
    return time.perf_counter() - start


def client(
    notebook: nbformat.NotebookNode, folder: Path, **options: Any
) -> NotebookClient:
    """Return what runs a notebook in a folder, on a kernel that complains little.

    Args: options: of NotebookClient.
    """
    return NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        **options,
    )


def clean(notebook: nbformat.NotebookNode) -> None:
    """Leave only what a reader or a test needs; in place."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        kept = {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        cell.metadata = kept
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)


def chapters() -> list[Path]:
    """Return the notebooks in the order of `_toc.yml`: the last reads the others."""
    toc = (BOOK.parent / "_toc.yml").read_text("utf-8")
    files = [BOOK.parent / f"{name}.ipynb" for name in re.findall(r"file: (\S+)", toc)]
    return [file for file in files if file.exists()]


def main(names: list[str]) -> None:
    """Execute the named chapters, or all, and write the table of claims."""
    paths = [Path(name) for name in names] or chapters()
    for path in paths:
        print(f"{path.name}: {execute(path):.1f} s", flush=True)
    write_claims(BOOK)


if __name__ == "__main__":
    main(sys.argv[1:])
