"""Who opened a sealed checkpoint, when and why: `<root>/log/unsealed.jsonl`, a hash chain that is only appended to.

    line_n = canonical({at, checkpoint, key, model, reason, role, "before": sha256(line_(n-1))})

A line is on disk, and its sha256 in the log of evidence (log.py), before a clear byte is: an attempt that failed has a
line, too. Nobody is named: `key` is the id of the officer's key for sealing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import log
from unlearning.workspace import Workspace

FIELDS = ("at", "before", "checkpoint", "key", "model", "reason", "role")
MOST_LETTERS = 200  # of a reason


def file(workspace: Workspace) -> Path:
    """Where it lies."""
    return workspace.root / "log" / "unsealed.jsonl"


def read(workspace: Workspace) -> list[Mapping[str, Any]]:
    """Its lines, oldest first. Raises EvidenceError naming the line that breaks the chain.

    A last line that was cut off was never written: its opening did not begin.
    """
    path = file(workspace)
    content = path.read_bytes() if path.is_file() else b""
    return [_parsed(line, before, f"{path}, line {number}") for number, line, before in _lines(content)]


def append(workspace: Workspace, said: Mapping[str, str]) -> None:
    """Add a line, all of whose fields but `before` are said. Raises EvidenceError for a broken chain, StorageError."""
    path = file(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.with_name(".unsealed.lock"), "the log of openings", wait=True):
        read(workspace)
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        line = files.canonical({**said, "before": digests.of_bytes(lines[-1]) if lines else None})
        try:
            with path.open("ab") as target:
                target.truncate(len(whole))
                target.write(line + b"\n")
                target.flush()
                os.fsync(target.fileno())
            files.sync_folder(path.parent)
        except OSError as error:
            raise files.refused(error, path) from error
        # All of them: whoever was killed between the two is finished by the next.
        log.extend(workspace, [bytes.fromhex(digests.of_bytes(one)) for one in (*lines, line)])


def _lines(content: bytes) -> list[tuple[int, bytes, str | None]]:
    """Number, line, and sha256 of the line before it."""
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    before = [None, *(digests.of_bytes(line) for line in lines)]
    return [(number, line, before[number - 1]) for number, line in enumerate(lines, 1)]


def _parsed(line: bytes, before: str | None, where: str) -> Mapping[str, Any]:
    try:
        row = files.parse_json(line, where)
    except StorageError:
        row = None
    if not isinstance(row, dict) or sorted(row) != sorted(FIELDS) or files.canonical(row) != line:
        raise EvidenceError(f"{where}: not a line of the log of openings; restore the file, it is append-only")
    if row["before"] != before:
        raise EvidenceError(f"{where}: does not follow the line before it; restore the file, it is append-only")
    return row
