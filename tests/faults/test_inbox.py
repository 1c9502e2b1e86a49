"""The inbox killed anywhere, and taken in by several at once: every request exactly once, every file put away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toy_batch import request_body, request_id
from unlearning.requests.ledger import Ledger
from unlearning.verbs import intake
from unlearning.workspace import Workspace

FILES, EACH = 6, 40

# The n-th call that changes something on disk is the last one: no sentence, no cleaning up.
KILLED = """
import os, signal, sys
from unlearning.requests.inbox import Inbox
from unlearning.requests.ledger import Ledger

left = int(sys.argv[2])

def deadly(owner, name, after):
    action = getattr(owner, name)

    def counted(*words, **named):
        global left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = action(*words, **named)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, counted)

after = sys.argv[3] == "after"
for owner, name in ((Inbox, "_move"), (Ledger, "take")):
    deadly(owner, name, after)

from pathlib import Path
from unlearning.verbs import intake
from unlearning.workspace import Workspace

intake.take_in(Workspace(Path(sys.argv[1])), settle_s=0)
"""


def _fill(workspace: Workspace) -> set[str]:
    """Files with requests, some of them in two files; the ids of all."""
    home = workspace.root / "inbox"
    home.mkdir(parents=True)
    wanted = set()
    for number in range(FILES):
        ids = [request_id(number * (EACH - 5) + one) for one in range(EACH)]
        (home / f"{number}.jsonl").write_text("".join(json.dumps(request_body(request_id=one)) + "\n" for one in ids))
        wanted.update(ids)
    (home / "bad.json").write_text("{")
    return wanted


def _settled(workspace: Workspace, wanted: set[str]) -> None:
    ledger, home = Ledger(workspace.ledger), workspace.root / "inbox"
    entries = ledger.entries()
    assert len(entries) == len(wanted)
    assert {entry.request_id for entry in entries} == wanted
    assert all([event.new for event in ledger.events(entry)] == ["received", "verified"] for entry in entries[::25])
    assert sorted(path.name for path in home.iterdir()) == ["claimed", "done", "refused"]
    assert list((home / "claimed").iterdir()) == []
    assert len(list((home / "done").iterdir())) == FILES
    assert len(list((home / "refused").iterdir())) == 2  # the file, and why


def _run(repository: Path, *words: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(repository)}
    return subprocess.Popen([sys.executable, *words], env=env, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_edge_and_called_again(tmp_path: Path, repository: Path, when: str) -> None:
    workspace = Workspace(tmp_path / "var")
    wanted = _fill(workspace)
    for edge in (3, 8, 4, 2):  # each attempt goes on where the last one was killed
        process = _run(repository, "-c", KILLED, str(workspace.root), str(edge), when)
        assert process.wait() == -signal.SIGKILL
    intake.take_in(workspace, settle_s=0)
    _settled(workspace, wanted)


def test_three_at_once_share_the_work(tmp_path: Path, repository: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    wanted = _fill(workspace)
    words = ["-m", "unlearning", "intake", "--root", str(workspace.root), "--settle", "0"]
    running = [_run(repository, *words) for _ in range(3)]
    assert {process.wait() for process in running} <= {0, 2}  # 2: whoever met the file that is refused
    _settled(workspace, wanted)
