"""What utils offers says which types it takes and gives; mypy holds it to that."""

import ast
from pathlib import Path

import pytest

UTILS = Path(__file__).parents[1] / "utils"
FILES = sorted(UTILS.rglob("*.py"))


def functions(body, owner=""):
    """(name, node) of every function and method that others may call."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            own = owner and node.name.startswith("__") and node.name.endswith("__")
            if own or not node.name.startswith("_"):
                yield f"{owner}{node.name}", node


def untyped(source):
    """The parameters and results without a type: 'Runs.frame: X', 'fit: result'."""
    for name, node in functions(ast.parse(source).body):
        a = node.args
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
        for one in every:
            if one and one.annotation is None and one.arg not in ("self", "cls"):
                yield f"{name}: {one.arg}"
        without = name.endswith((".__init__", ".__post_init__"))
        if node.returns is None and not without:
            yield f"{name}: result"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(UTILS)))
def test_every_public_function_has_types(file):
    assert list(untyped(file.read_text("utf-8"))) == []


def test_what_lacks_a_type_is_found():
    source = """
def public(a, *b: int, c=1) -> int: ...
def _private(a): ...
class Public:
    def __init__(self, x): ...
    def __len__(self): ...
    def _own(self, x): ...
class _Private:
    def public(self, x): ...
"""
    assert list(untyped(source)) == [
        "public: a",
        "public: c",
        "Public.__init__: x",
        "Public.__len__: result",
    ]
