"""Kill -9, in processes of their own: `python -m tests.faults.killed edges|moments|full HOME …` prints JSON.

Nothing of the system knows of it: Python tells an audit hook every opening, renaming, linking and removing of a file,
and the ledger's commits are counted on both sides. The n-th of them is the last thing that a process does. Imports are
paid for once: every attempt is a fork of a process that has computed nothing.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from tests.faults import lines
from unlearning.errors import UnlearningError

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate")


class Edges:
    """Counts what changes below a folder; at the `last` of them something happens: the process ends."""

    def __init__(self, below: Path, last: int, happens: Callable[[], None] | None = None) -> None:
        self.seen, self._last, self._below, self._happens = 0, last, str(below), happens or _die
        sys.addaudithook(self._heard)
        commit: Callable[[DefaultDialect, Any], None] = DefaultDialect.do_commit

        def committed(dialect: DefaultDialect, connection: Any) -> None:
            self.one()
            commit(dialect, connection)
            self.one()

        DefaultDialect.do_commit = committed  # type: ignore[method-assign]

    def one(self) -> None:
        """The next edge."""
        self.seen += 1
        if self.seen == self._last:
            self._happens()

    def _heard(self, event: str, words: tuple[Any, ...]) -> None:
        wrote = event == "open" and isinstance(words[2], int) and words[2] & _WRITES
        if (wrote or event in _CHANGES) and str(words[0]).startswith(self._below):
            self.one()


def edges(home: Path, step: int, first: int) -> dict[str, Any]:
    """Kill the toy line at every `step`-th edge from `first` on, and go on; what a reader saw, and what came of it."""
    counted = _child(lambda: _count(home / "whole"))
    whole = counted["left"]
    found: list[dict[str, Any]] = []
    for last in range(first, int(counted["edges"]) + 1, step):
        folder = home / str(last)
        ended = _child(partial(_killed_at, folder, last))
        if ended != {"signal": signal.SIGKILL}:
            found.append({"at": last, "wrong": f"it was not killed: {ended}"})
            continue
        after = _child(partial(_again, folder, lines.toy, whole))
        found.append({"at": last, **after})
        shutil.rmtree(folder)
    return {"edges": counted["edges"], "trials": found}


def moments(home: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill `unlearning run` at random moments, again and again in one root until a run ends; then the next root."""
    rng = random.Random(seed)
    found: list[dict[str, Any]] = []
    lines.everything()
    _child(lambda: lines.prepared(home / "start"))
    shutil.copytree(home / "start", home / "whole")
    began = time.monotonic()
    whole = _child(lambda: _whole(home / "whole"))["left"]
    took, done = time.monotonic() - began, 0
    while done < kills:
        folder, here = home / f"root-{len(found)}", 0
        shutil.copytree(home / "start", folder)
        while done + here < kills and _killed_after(rng.uniform(0, took), folder):
            here += 1
        after = _child(partial(_again, folder, lines.trained, whole))
        found.append({"kills": here, **after})
        done += here
        shutil.rmtree(folder)
    return {"seconds": round(took, 1), "trials": found}


def full(home: Path, step: int, first: int) -> dict[str, Any]:
    """From every `step`-th edge on, counted from `first`, no file may grow by a byte; then there is room again."""
    counted = _child(partial(_count, home / "whole"))
    found: list[dict[str, Any]] = []
    for last in range(first, int(counted["edges"]) + 1, step):
        folder = home / str(last)
        refused = _child(partial(_full_from, folder, last))
        after = _child(partial(_again, folder, lines.toy, counted["left"]))
        found.append({"at": last, **refused, **after})
        shutil.rmtree(folder)
    return {"trials": found, "whole": counted["left"]}


def _full_from(home: Path, last: int) -> dict[str, Any]:
    """The sentence of a run on a disk that is full from the `last` edge on; none if nothing was left to write."""
    home.mkdir()
    lines.sources(home)
    Edges(home / "var", last, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)))
    try:
        lines.toy(home)
    except UnlearningError as error:
        return {"refused": str(error)}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"refused": "", "left": lines.left(home)}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _count(home: Path) -> dict[str, Any]:
    home.mkdir(parents=True)
    lines.sources(home)
    edges = Edges(home / "var", 0)
    lines.toy(home)
    seen = edges.seen
    return {"edges": seen, "left": lines.left(home)}


def _killed_at(home: Path, last: int) -> None:
    home.mkdir()
    lines.sources(home)
    Edges(home / "var", last)
    lines.toy(home)


def _whole(home: Path) -> dict[str, Any]:
    lines.trained(home)
    return {"left": lines.left(home)}


def _again(home: Path, line: Callable[[Path], None], whole: dict[str, Any]) -> dict[str, Any]:
    """What lay there, and whether the same call makes it what it would have been. A difference is named."""
    torn = lines.torn(home, whole)
    line(home)
    here = lines.left(home)
    differ = sorted(name for name in here.keys() | whole.keys() if here.get(name) != whole.get(name))
    return {"torn": torn, "differ": differ, "leftovers": lines.leftovers(home)}


def _killed_after(seconds: float, home: Path) -> bool:
    """Whether there was something to kill: False if the run had ended by then."""
    child = _fork(lambda: lines.trained(home), None)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _child(action: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """What `action` returns in a process of its own; how that ended, where it did not."""
    read, write = os.pipe()
    child = _fork(action, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    answer: dict[str, Any] = json.loads(said) if said else {"wrong": f"exit code {os.WEXITSTATUS(status)}"}
    return answer


def _fork(action: Callable[[], dict[str, Any] | None], pipe: int | None) -> int:
    child = os.fork()
    if child:
        return child
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        lines.nothing_by_chance()
        answer = action() or {}
    except BaseException:
        answer = {"wrong": traceback.format_exc()[-1500:]}
    if pipe is not None:
        os.write(pipe, json.dumps(answer).encode())  # the reader reads until we end
    os._exit(0)


if __name__ == "__main__":
    chosen = {"edges": edges, "moments": moments, "full": full}[sys.argv[1]]
    sys.stdout.write(json.dumps(chosen(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))) + "\n")
