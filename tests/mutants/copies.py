"""Copies of the working tree, in each of which one mutant at a time is tried."""

import json
import os
import queue
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.relevant import files_for
from tests.mutants.sites import ROOT, Mutant

SHARED = (".venv", "node_modules")  # not copied
BUILT = ("web/build", "web/vendor")  # copied, though git ignores them
HANGS = 180  # seconds of a single test, and
LIMIT = 1800  # of all together, after which a mutant counts as caught
FAILED = ("FAILED ", "ERROR ")
UNUSABLE = (4, 5)  # pytest: wrong usage, no tests


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    'caught' or 'late': a test failed, or did not end; 'shaky': failed, but not again;
    'survived'; 'unbuilt'.
    """

    mutant: Mutant
    status: str
    by: str
    seconds: float


class Copy:
    """A copy of the working tree, in which one mutant at a time is tried."""

    def __init__(self, folder: Path):
        self.folder, self.stale = folder, False
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True)
        for name in filter(None, done.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        for name in BUILT:
            shutil.copytree(ROOT / name, folder / name)
        for name in SHARED:
            (folder / name).symlink_to(ROOT / name)

    def __enter__(self):
        env = os.environ | {"PYTHONPATH": str(self.folder)}
        env |= {"PYTHONDONTWRITEBYTECODE": "1"}  # a .pyc knows seconds, not sources
        self.warm = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.warm"], cwd=self.folder, env=env,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        if not Path(found := self.warm.stdout.readline()).is_relative_to(self.folder):
            raise RuntimeError(f"the copy {self.folder} would test {found}")
        return self

    def __exit__(self, *_):
        self.warm.terminate()
        self.warm.wait()

    def check(self, file: str) -> tuple[str, float]:
        """Return a file of tests, and how long it takes: it must pass."""
        begin = time.monotonic()
        status, text = self.test([file])
        if status != 0:
            raise RuntimeError(f"{file} fails of itself:\n{text[-2000:]}")
        return file, time.monotonic() - begin

    def try_out(self, one: Mutant) -> Verdict:
        """Run a mutant's tests against it."""
        begin, target = time.monotonic(), self.folder / one.path
        was, web = target.read_bytes(), one.path.startswith("web/")
        target.write_text(one.text, "utf-8")
        try:
            word, by = "unbuilt", ""
            if self.build(one.path if web else None):
                word, by = self.judge(files_for(one.path))
            if word == "caught" and self.judge([by])[0] == "survived":
                word = "shaky"
        finally:
            target.write_bytes(was)
        return Verdict(one, word, by, time.monotonic() - begin)

    def judge(self, tests):
        """Return 'caught', 'late' or 'survived', and the test that failed."""
        status, text = self.test(tests)
        if status in UNUSABLE:
            raise RuntimeError(f"pytest could not run {tests}:\n{text}")
        failed = [line for line in text.splitlines() if line.startswith(FAILED)]
        if status == 0:
            return "survived", ""
        if status is None or not failed:  # faulthandler has ended it
            return "late", ""
        return "caught", failed[0].split(" - ")[0].split(" ", 1)[1]

    def build(self, path):
        """Make the scripts anew, where they are of another mutant or must be."""
        if path is None and not self.stale:
            return True
        kernels = self.stale == "kernels" or (path or "").endswith(".ts")
        command = ["npm", "run", "build"] if kernels else ["node", "web/build.mjs"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, check=False
        )
        self.stale = ("kernels" if kernels else "scripts") if path else False
        return done.returncode == 0

    def test(self, files):
        """Run tests up to the first failure: (exit status or None, what was said)."""
        options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        options += ["-p", "no:nbval", "-o", "addopts=-p tests.tolerance -ra"]
        options += ["-o", f"faulthandler_timeout={HANGS}"]
        options += ["-o", "faulthandler_exit_on_timeout=true"]
        options += [f"--basetemp={self.folder}/tmp", *files]
        log = self.folder / "log"
        question = {"options": options, "log": str(log), "limit": LIMIT}
        print(json.dumps(question), file=self.warm.stdin, flush=True)
        if not (answer := self.warm.stdout.readline()):
            raise RuntimeError(f"tests.mutants.warm of {self.folder} has been ended")
        status = json.loads(answer)
        return status, log.read_text("utf-8", "replace")


class Copies:
    """So many copies of the tree, each for one task at a time."""

    def __init__(self, count: int, folder: Path):
        self.copies = [Copy(folder / str(k)) for k in range(count)]
        self.open = ExitStack()

    def __enter__(self):
        for copy in self.copies:
            self.open.enter_context(copy)
        return self

    def __exit__(self, *_):
        self.open.close()

    def map(self, act, given):
        """Yield act(copy, one) for each that is given, as they come."""
        free = queue.SimpleQueue()
        for copy in self.copies:
            free.put(copy)

        def alone(one):
            copy = free.get()
            try:
                return act(copy, one)
            finally:
                free.put(copy)

        pool = ThreadPoolExecutor(len(self.copies))
        try:
            for done in as_completed([pool.submit(alone, one) for one in given]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
