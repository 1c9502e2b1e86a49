"""`unlearning unseal MODEL VERSION --reason TEXT --to FOLDER`: a sealed checkpoint back in the clear, for one purpose.

That it was opened, when and why, is on disk before its first byte is.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import access_log, history, purge, sealed_models, sealing, sealing_key
from unlearning.evidence.sealing import Header
from unlearning.workspace import Workspace

_LEAST_DIGITS = 12  # of a digest that is not named whole


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of it."""

    folder: Path
    header: Header


def run(
    model: str,
    version: str,
    workspace: Workspace,
    reason: str,
    to: Path,
    key: Path | None = None,
    now: datetime | None = None,
) -> Opened:
    """Write the checkpoint that was served as a version, or has that digest, into a folder that is not there yet.

    reason  kept for ever; it names nobody
    key     the officer's private half; default: the one in the vault
    Raises EvidenceError or StorageError, with no clear byte left. Only an attempt with the right key is logged.
    """
    at = purge.stamp(now or datetime.now(UTC))
    checkpoint = _checkpoint(workspace, model, version)
    path = sealed_models.file(workspace, model, checkpoint)
    _refuse_reason(reason)
    _refuse_target(workspace, to)
    private = sealing_key.private(key or sealing_key.private_file(workspace))
    with path.open("rb") as file:
        header = sealing.header_of(file, path)
        if (header.model, header.checkpoint) != (model, checkpoint):
            raise EvidenceError(f"{path}: is about another checkpoint than its name says; restore it from a backup")
        if header.expires_at <= at:  # times of one spelling compare as text
            raise EvidenceError(f"{path}: expired at {header.expires_at}; the next purge removes it, nobody opens it")
        own = sealing.require_recipient(header, private, path)
        said = {"at": at, "checkpoint": checkpoint, "key": own, "model": model, "reason": reason}
        with _aside(to) as folder:
            access_log.append(workspace, {**said, "role": "privacy_officer"})
            sealing.unseal(file, path, private, folder)
    return Opened(to, header)


def listing(model: str, workspace: Workspace) -> dict[str, Any]:
    """What of a model is sealed, and who opened any of it. Needs no key. Raises EvidenceError."""
    versions = _versions(workspace, model)
    sealed = [
        {
            "checkpoint": one.checkpoint,
            "versions": versions.get(one.checkpoint, []),
            "sealed_at": one.sealed_at,
            "expires_at": one.expires_at,
            "batch": one.batch,
            "key": one.recipient,
            "bytes": one.clear_bytes,
        }
        for _, one in sealed_models.listed(workspace, model)
    ]
    opened = [row for row in access_log.read(workspace) if row["model"] == model]
    return {"model": model, "sealed": sealed, "opened": opened}


def _versions(workspace: Workspace, model: str) -> dict[str, list[int]]:
    """Digest of a checkpoint -> the versions it was served as."""
    found = dict[str, list[int]]()
    for row in history.read(workspace, model):
        found.setdefault(row["sha256"], []).append(row["version"])
    return found


def _checkpoint(workspace: Workspace, model: str, version: str) -> str:
    """The digest that is meant, of a sealed one."""
    known = sealed_models.names(workspace, model)
    if re.fullmatch(r"[0-9]{1,9}", version):
        row = history.of_version(history.read(workspace, model), int(version))
        found = [] if row is None else [row["sha256"]]
    else:
        whole = len(version) >= _LEAST_DIGITS
        found = [one for one in known if whole and one.startswith(version)]
    if len(found) != 1 or found[0] not in known:
        raise EvidenceError(
            f"{version[:64]!r} of {model} is not sealed here; a version's number or {_LEAST_DIGITS} digits of a "
            f"checkpoint that `unlearning unseal {model}` lists are right"
        )
    return str(found[0])


def _refuse_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > access_log.MOST_LETTERS or not reason.isprintable():
        raise EvidenceError(f"a reason is one line of 1 to {access_log.MOST_LETTERS} letters that names nobody")


def _refuse_target(workspace: Workspace, to: Path) -> None:
    if os.path.lexists(to):
        raise EvidenceError(f"{to}: is there already; a folder that is not there yet is right")
    home = to.resolve().parent
    if not home.is_dir():
        raise EvidenceError(f"{home}: is no folder; make it first")
    if any(home.is_relative_to(inside.resolve()) for inside in (workspace.root, workspace.vault)):
        raise EvidenceError(f"{to}: lies below the root, where a purge says that nothing is; name a folder elsewhere")


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder for its owner alone; it becomes `target` when the block ends well, and vanishes when it does not."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
            files.sync_folder(inner)
        files.sync_folder(folder)
        folder.rename(target)
        files.sync_folder(target.parent)
    except OSError as error:
        raise files.refused(error, target) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
