"""The data sets of the pages, each a script that web/lab loads.

python -m utils.book.page_data FOLDER    writes a script for each into the folder
"""

import json
import sys
from pathlib import Path

from utils.experiment import DATA
from utils.lab.pack import pack


def write(folder: Path) -> None:
    """Write NAME.js for every data set: a script, because those load from disk too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DATA:
        script = f"bookData({json.dumps(name)}, {json.dumps(pack(name))});\n"
        (folder / f"{name}.js").write_text(script)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
