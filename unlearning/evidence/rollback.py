"""Serve an earlier version again: as a new generation, never by rewriting one.

The generations between are not unmade: their lines, checkpoints and certificates stay, and the new line says which
version it serves again and how many requests are open once more. The deadlines of these have been running all along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unlearning import files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import history, promotion, purge
from unlearning.evidence.history import Row
from unlearning.evidence.promotion import Champion
from unlearning.workspace import Workspace

_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{2,63}")


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    champion: Champion
    changed: bool  # False: it was rolled back before
    undone: tuple[str, ...]  # batches whose forgetting stood before, and does not stand now


def roll_back(workspace: Workspace, model: str, to_version: int, reason: str, expected: int | None = None) -> Restored:
    """Make a new generation that serves `to_version`, once. Raises EvidenceError, with everything as it was.

    The kept checkpoint is hashed, and must be what that version was served as.
    reason    a code: a-z, 0-9, underscore and hyphen; it is kept for ever, so it names nobody
    expected  the version that is to be replaced; another one being served refuses
    """
    if not _CODE.fullmatch(reason):
        raise EvidenceError(f"reason {reason[:40]!r} is no code; 3 to 64 of a-z, 0-9, _ and - are right: worse_quality")
    with promotion.changing(workspace, model) as (now, lines):
        if now is None:
            raise EvidenceError(f"model {model}: nothing is served, so there is nothing to roll back")
        if now.rollback_of == to_version and expected in (None, now.version, _before(lines)):
            return Restored(now, False, _undone_by(lines, len(lines) - 1))
        if expected is not None and now.version != expected:
            raise EvidenceError(f"model {model}: version {now.version} is served, not {expected}; look before you roll")
        wanted = _servable(workspace, model, to_version, now, lines)
        gone = tuple(
            batch for batch in history.in_effect(lines) if batch not in history.in_effect(lines, wanted["version"])
        )
        after = Champion(
            now.version + 1,
            wanted["checkpoint"],
            wanted["sha256"],
            wanted["batch"],
            wanted["certificate_sha256"],
            promotion.without_previous(now),
            wanted.get("deletions_since_base"),
            wanted.get("base"),
            rollback_of=to_version,
            reason=reason,
            pending_again=sum(_requests(workspace, batch) for batch in gone),
            at=promotion.moment(),
        )
        promotion.put(workspace, model, after)
    return Restored(after, True, gone)


def _servable(workspace: Workspace, model: str, to_version: int, now: Champion, lines: Sequence[Row]) -> Row:
    """The line of the version, whose kept checkpoint is whole."""
    wanted = history.of_version(lines, to_version)
    served = ", ".join(str(row["version"]) for row in lines if row["version"] != now.version)
    if wanted is None:
        raise EvidenceError(f"model {model}: version {to_version} was never served; {served or 'none'} were before")
    again = [batch for batch in history.in_effect(lines, to_version) if batch not in history.in_effect(lines)]
    if again:
        raise EvidenceError(
            f"model {model}: version {to_version} stands on batch {again[0]}, which was rolled back and whose requests "
            f"are open again; seal another batch for them"
        )
    gone = [batch for batch in history.in_effect(lines) if purge.begun(workspace.batch(batch))]
    undone = [batch for batch in gone if batch not in history.in_effect(lines, to_version)]
    if undone:
        raise EvidenceError(
            f"model {model}: version {to_version} was served before batch {undone[0]}, which is purged: its requests "
            "are done, and nothing could be forgotten for them again; a version that stands on it is right"
        )
    if wanted["sha256"] == now.sha256:
        raise EvidenceError(f"model {model}: version {now.version} serves the checkpoint of version {to_version} now")
    promotion.require_kept(workspace, wanted["checkpoint"], wanted["sha256"], to_version)
    return wanted


def _before(lines: Sequence[Row]) -> int | None:
    """The version that the last one replaced."""
    return lines[-2]["version"] if len(lines) > 1 else None


def _undone_by(lines: Sequence[Row], place: int) -> tuple[str, ...]:
    standing = history.in_effect(lines[: place + 1])
    return tuple(batch for batch in history.in_effect(lines[:place]) if batch not in standing)


def _requests(workspace: Workspace, key: str) -> int:
    """How many requests the batch forgot something for. Raises EvidenceError where it no longer says so."""
    batch = workspace.batch(key)
    try:
        said: list[dict[str, Any]] = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
    except (StorageError, KeyError, TypeError):
        raise EvidenceError(
            f"{batch.asset('forget_manifest')}: batch {key} would be rolled back, and nothing says for how many "
            "requests; restore its folder"
        ) from None
    return sum(one["state"] == "scheduled" for one in said)


def as_json(done: Restored, model: str) -> dict[str, Any]:
    """What the command line says of it."""
    shown = {name: value for name, value in asdict(done.champion).items() if name not in ("previous", "base")}
    return {"model": model, "changed": done.changed, "undone": list(done.undone), **shown}
