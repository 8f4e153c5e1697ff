"""What `pip install .` brings, on which Python, and what is pinned for the book."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.notebooks import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]


def pinned(name):
    """{distribution: version} of a file of pins."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin[0]): pin[1] for pin in pins}


PINS = pinned("requirements.txt")
LOCKED = pinned("constraints.txt") | PINS


def declared(*extras):
    """The requirements of `pip install .[extras]`."""
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for e in extras for line in optional[e])]
    return [Requirement(line) for line in lines]


def brought(requirements):
    """The distributions that an installation of these brings."""
    found, waiting = set(), list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate()
        if name not in found and wanted and name in LOCKED:
            found.add(name)
            waiting += map(Requirement, requires(name) or [])
    return found


def imported(folder):
    """The distributions that the files of a folder import, wherever they do."""
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    modules = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    known = packages_distributions()
    return {canonicalize_name(d) for m in modules - {"utils"} for d in known[m]}


@pytest.mark.parametrize("extras", [(), ("book",)])
def test_an_installation_can_import_what_utils_does(extras):
    book = imported(ROOT / "utils" / "book")
    others = set().union(
        *(
            imported(folder)
            for folder in (ROOT / "utils").iterdir()
            if folder.is_dir() and folder.name not in ("book", "__pycache__")
        )
    )
    wanted = others | book if extras else others
    assert len(others) > 10
    assert wanted <= brought(declared(*extras))


def test_bounds_are_loose_and_hold_for_the_pins():
    for requirement in declared(*PROJECT["optional-dependencies"]):
        assert re.fullmatch(r">=[\d.]+", str(requirement.specifier)), requirement
        assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_all_packages_are_installed():
    packages = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "utils").rglob("__init__.py")
    }
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == packages


def test_pins_are_exact_and_locked():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in named)
    locked = pinned("constraints.txt")
    assert {n: v for n, v in PINS.items() if n != "torch"}.items() <= locked.items()


def test_every_pin_runs_on_the_oldest_python_promised():
    """A package may ask for 3.11.5, say, where the book promises 3.11."""
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert re.fullmatch(r"3\.\d+", oldest)
    assert f"Python ≥ {oldest}" in (ROOT / "README.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"({oldest.replace('.', ', ')})" in makefile
    installed = {canonicalize_name(d.name): d for d in distributions()}
    asked = {
        name: installed[name].metadata.get("Requires-Python")
        for name in LOCKED
        if name in installed
    }
    assert len(asked) > 100
    too_new = {
        name: python
        for name, python in asked.items()
        if python and f"{oldest}.0" not in SpecifierSet(python)
    }
    assert not too_new
