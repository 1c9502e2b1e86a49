"""Is the process of a run still there? A run says so in `<root>/runs/<run id>.json`; nobody else has to be asked.

A code server reports the runs it started when they die. When it dies with them (a machine that is started again, say)
nobody does: run monitoring asks the launcher, and the launcher of a single machine cannot tell, so such a run stays
STARTED for ever. On Kubernetes it can tell, and nothing of this is needed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from unlearning import files
from unlearning.errors import StorageError
from unlearning.workspace import Workspace

NOWHERE = "unknown"  # a system without /proc
Alive = Literal["alive", "gone", "unknown"]


def beating(workspace: Workspace, run_id: str) -> Callable[[], None]:
    """Say that this process makes `run_id`; the function that says it goes on, to be called now and then."""
    path = _file(workspace, run_id)
    files.write_json(path, {"pid": os.getpid(), "started": _started(os.getpid()), "where": _where()})
    return path.touch


def ended(workspace: Workspace, run_id: str) -> None:
    """Nobody asks any more."""
    _file(workspace, run_id).unlink(missing_ok=True)


def known(workspace: Workspace) -> list[str]:
    """The runs that said something."""
    return sorted(path.stem for path in (workspace.root / "runs").glob("*.json"))


def state(workspace: Workspace, run_id: str, now: float | None = None, stale_s: float = 1800.0) -> Alive:
    """`gone` where its process is not there any more; `unknown` where nothing was said, or not where this process is.

    Process ids mean something only in one boot of one process namespace. A process elsewhere (a machine that was
    started again, say) counts as gone once it has been silent for `stale_s`.
    """
    path = _file(workspace, run_id)
    try:
        said = files.read_json(path)
        silent_s = (time.time() if now is None else now) - path.stat().st_mtime
        if said["where"] == _where() != NOWHERE:
            return "alive" if _started(int(said["pid"])) == said["started"] is not None else "gone"
    except (StorageError, OSError, KeyError, TypeError, ValueError):
        return "unknown"
    return "gone" if silent_s > stale_s else "unknown"


def _file(workspace: Workspace, run_id: str) -> Path:
    return workspace.root / "runs" / f"{run_id}.json"


def _started(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None where there is none. An id alone is used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _where() -> str:
    """This boot and this process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return NOWHERE
