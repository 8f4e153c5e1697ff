"""The changes that `make mutants` tries: each builds, and none is of a text."""

import ast
from fnmatch import fnmatch

from tests.mutants.__main__ import KNOWN, Known
from tests.mutants.relevant import TESTS, files_for
from tests.mutants.sites import PLACES, ROOT, Finder, python_sites

SOURCE = '''
def f(x: int = 1, *, name="a", flag=True) -> int:
    """Add 1, or not."""
    if x < 2 and not flag:
        g(x, strict=True, often=3)  # 4
    return -x + 0.5
'''
CHANGED = [
    ("1", "0"), ("1", "2"), ("True", "False"), ("<", "<="), ("and", "or"),
    ("not flag", "(flag)"), ("2", "3"), ("2", "1"), ("often=3", ""),
    ("g(x, strict=True, often=3)", "pass"), ("True", "False"), ("3", "4"), ("3", "2"),
    ("-x + 0.5", "None"),
    ("+", "-"), ("-x", "(x)"), ("0.5", "1.0"), ("0.5", "(-0.5)"),
]  # fmt: skip


def test_what_is_changed():
    found = [
        (SOURCE[start:end], other)
        for start, end, others in Finder(SOURCE).sites
        for other in others
    ]
    assert sorted(found) == sorted(CHANGED)


def test_every_change_builds_and_means_something_else():
    sites = python_sites()
    assert len(sites) > 2000
    for site in sites[::7]:
        source = (ROOT / site.path).read_text("utf-8")
        before = ast.dump(ast.parse(source))
        for other in site.others:
            text = source[: site.start] + other + source[site.end :]
            assert ast.dump(ast.parse(text)) != before, (site, other)


def test_what_is_known_is_still_there():
    """A line that was changed must be judged anew."""
    known = Known(KNOWN.read_text("utf-8"))
    lines = {
        (path, line.strip())
        for path, *_ in known.lines | known.changes
        for line in (ROOT / path).read_text("utf-8").splitlines()
    }
    firsts = {(path, before.split("\n")[0]) for path, before, _ in known.changes}
    assert known.lines | firsts <= lines


def test_every_file_has_tests_that_exist():
    files = [file for place in PLACES for file in (ROOT / place).rglob("*.*s")]
    files += [file for place in PLACES for file in (ROOT / place).rglob("*.py")]
    for file in files:
        names = files_for(str(file.relative_to(ROOT)))
        assert names and all((ROOT / name).is_file() for name in names)
    patterns = [str(file.relative_to(ROOT)) for file in files]
    assert all(any(fnmatch(name, p) for name in patterns) for p in TESTS)
