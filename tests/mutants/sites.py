"""Where the code can be changed by a hair, in Python and in JavaScript.

Strings, comments, docstrings and annotations are left alone. So are `strict=` of zip
and `stacklevel=` of a warning: they guard or word what other code does.
"""

import ast
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("utils/engine", "utils/sweep", "utils/lab", "web/trainer", "web/lab")
COMPARED = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"), ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}  # fmt: skip
COMPUTED = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
}  # fmt: skip
JOINED = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
UNSEEN_KEYWORDS = {"strict", "stacklevel"}


@dataclass(frozen=True)
class Site:
    """A piece of a file, and what it may be changed to."""

    path: str
    start: int
    end: int
    others: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    """One file, changed in one place: its text, the lines of the change in both."""

    path: str
    line: int
    text: str
    before: str
    after: str

    @property
    def place(self) -> str:
        """The directory of PLACES that it is in."""
        return next(place for place in PLACES if self.path.startswith(f"{place}/"))


def mutant(site: Site, other: str) -> Mutant:
    """Return the mutant with another text at a site."""
    source = (ROOT / site.path).read_text("utf-8")
    start = source.rfind("\n", 0, site.start) + 1
    end = source.find("\n", site.end)
    after = source[start : site.start] + other + source[site.end : end]
    line, text = source.count("\n", 0, start) + 1, source[: site.start] + other
    text += source[site.end :]
    return Mutant(site.path, line, text, _bare(source[start:end]), _bare(after))


def all_sites() -> list[Site]:
    """Return every place of every file in PLACES, in a fixed order."""
    return python_sites() + _javascript(_names(".js", ".ts"))


def python_sites() -> list[Site]:
    """Return those of Python alone."""
    return [site for name in _names(".py") for site in _python(name)]


def _names(*ends):
    files = [path for place in PLACES for path in sorted((ROOT / place).rglob("*.*"))]
    return [str(f.relative_to(ROOT)) for f in files if f.suffix in ends]


def _bare(text):
    return "\n".join(line.strip() for line in text.splitlines())


def _javascript(names):
    command = ["node", str(Path(__file__).with_name("sites.mjs")), *names]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return [Site(name, a, b, tuple(c)) for name in names for a, b, c in found[name]]


def _python(name):
    source = (ROOT / name).read_text("utf-8")
    return [Site(name, a, b, tuple(c)) for a, b, c in Finder(source).sites]


class Finder(ast.NodeVisitor):
    """Collects the sites of a Python file: (start, end, other texts)."""

    def __init__(self, source: str):
        self.source, self.sites = source, []
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.visit(ast.parse(source))

    def _at(self, line, column):
        """Return an ast position, which counts bytes, as an index."""
        head = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + len(head)

    def _span(self, node):
        end = self._at(node.end_lineno, node.end_col_offset)
        return self._at(node.lineno, node.col_offset), end

    def _text(self, node):
        start, end = self._span(node)
        return self.source[start:end]

    def _put(self, node, *others):
        self.sites.append((*self._span(node), others))

    def _swap(self, left, right, pair):
        """Change the operator between two nodes."""
        (_, start), (end, _) = self._span(left), self._span(right)
        old, new = pair
        sign = rf"\b{old}\b" if old.isalpha() else re.escape(old).replace(r"\ ", r"\s+")
        found = re.search(sign, self.source[start:end])
        self.sites.append((start + found.start(), start + found.end(), (new,)))

    def visit_JoinedStr(self, node):
        """Leave formatted texts alone."""

    def visit_arguments(self, node):
        """Look at defaults, not at annotations."""
        for default in (*node.defaults, *filter(None, node.kw_defaults)):
            self.visit(default)

    def _visit_function(self, node):
        for one in (node.args, *node.decorator_list, *node.body):
            self.visit(one)

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_AnnAssign(self, node):
        """Look at the value, not at the annotation."""
        if node.value:
            self.visit(node.value)

    def visit_Compare(self, node):
        """Boundaries and equalities."""
        sides = [node.left, *node.comparators]
        for left, right, sign in zip(sides, sides[1:], node.ops, strict=False):
            self._swap(left, right, COMPARED[type(sign)])
        self.generic_visit(node)

    def visit_BinOp(self, node):
        """Arithmetic, but for what joins or formats texts."""
        pair = COMPUTED.get(type(node.op))
        if pair and not any(map(_is_text, (node.left, node.right))):
            self._swap(node.left, node.right, pair)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        """`+=` and the like; the statement may go as well."""
        if type(node.op) in COMPUTED and not _is_text(node.value):
            old, new = COMPUTED[type(node.op)]
            self._swap(node.target, node.value, (f"{old}=", f"{new}="))
        self._put(node, "pass")
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        """`and` for `or`."""
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._swap(left, right, JOINED[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        """Without `not`, without the sign."""
        if isinstance(node.op, ast.Not | ast.USub):
            self._put(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node):
        """Numbers and truth values."""
        value = node.value
        if isinstance(value, bool):
            self._put(node, str(not value))
        elif isinstance(value, int):
            others = {0: (1,), 1: (0, 2)}.get(value, (value + 1, value - 1))
            self._put(node, *map(str, others))
        elif isinstance(value, float):
            self._put(node, repr(2 * value or 1.0), f"(-{value!r})")

    def _condition(self, node):
        test = node.test
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            self._put(test, f"(not ({self._text(test)}))")
        self.generic_visit(node)

    visit_If = visit_IfExp = visit_While = _condition

    def visit_Expr(self, node):
        """A statement dropped; a docstring is none."""
        if not isinstance(node.value, ast.Constant):
            self._put(node, "pass")
            self.generic_visit(node)

    def visit_Assign(self, node):
        """State that is not kept; a name that is not bound would fail at once."""
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._put(node, "pass")
        self.generic_visit(node)

    def _drop(self, node):
        self._put(node, "pass")

    visit_Raise = visit_Continue = visit_Break = visit_Delete = _drop

    def visit_Return(self, node):
        """The value dropped."""
        if node.value and getattr(node.value, "value", 0) is not None:
            self._put(node.value, "None")
        self.generic_visit(node)

    def visit_Call(self, node):
        """A keyword removed."""
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in UNSEEN_KEYWORDS:
                start, end = self._span(keyword)
                comma = re.match(r"\s*,", self.source[end:])
                self.sites.append((start, end + len(comma[0]) if comma else end, ("",)))
        self.generic_visit(node)


def _is_text(node):
    """Whether a node is a text as far as one sees."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return isinstance(node, ast.JoinedStr)
