"""Sealed checkpoints of a model: `<vault>/sealed/<model>/<digest of the checkpoint>.sealed`, for their owner alone."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from unlearning import files
from unlearning.digests import FileDigest
from unlearning.evidence import sealing, trust
from unlearning.evidence.sealing import Header
from unlearning.workspace import Workspace

_ENDING = ".sealed"


def file(workspace: Workspace, model: str, checkpoint: str) -> Path:
    """Where the checkpoint of that digest lies."""
    return _home(workspace, model) / f"{checkpoint}{_ENDING}"


def header(path: Path) -> Header:
    """What a sealed file says of itself. Raises EvidenceError for one that is cut off, or none."""
    with path.open("rb") as content:
        return sealing.header_of(content, path)


def names(workspace: Workspace, model: str) -> list[str]:
    """Digests of the checkpoints of a model that are sealed."""
    return sorted(path.stem for path in _home(workspace, model).glob(f"*{_ENDING}"))


def listed(workspace: Workspace, model: str) -> list[tuple[Path, Header]]:
    """Every sealed checkpoint of a model, by digest. Raises EvidenceError for a damaged one."""
    return [(path, header(path)) for path in sorted(_home(workspace, model).glob(f"*{_ENDING}"))]


def store(workspace: Workspace, folder: Path, found: list[FileDigest], public: bytes, **said: str | int) -> Path:
    """Seal a folder with these files; the sealed file appears whole, and lies on disk when this returns.

    said  fields of its header: batch, model, expires_at, sealed_at
    Raises EvidenceError where the folder changes meanwhile, StorageError for a full disk; then nothing is left of it.
    """
    told = sealing.described(found, recipient=trust.key_id(public), **said)
    path = file(workspace, told.model, told.checkpoint)
    workspace.vault.mkdir(mode=0o700, parents=True, exist_ok=True)
    for home in (path.parent.parent, path.parent):
        home.mkdir(mode=0o700, exist_ok=True)
    with _alone(workspace, told.model):
        _sweep(path.parent)
        partial = path.with_name(f".{path.name}.{os.getpid()}.00000000.partial")
        try:
            with os.fdopen(os.open(partial, sealing.FRESH, 0o600), "wb") as out:
                sealing.seal(out, folder, told, public)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(path)
            files.sync_folder(path.parent)
        except OSError as error:
            raise files.refused(error, path) from error
        finally:
            partial.unlink(missing_ok=True)
    return path


def begun(workspace: Workspace, model: str) -> bool:
    """Whether somebody who was killed left a half of one, or somebody is writing one now."""
    return any(_halves(_home(workspace, model)))


def sweep(workspace: Workspace, model: str) -> None:
    """Remove what killed writers left: each half holds its key, wrapped, and opens as far as it goes."""
    if begun(workspace, model):
        with _alone(workspace, model):
            _sweep(_home(workspace, model))


def drop(path: Path) -> None:
    """Remove one: its content key lies nowhere else. Again: nothing happens."""
    with suppress(FileNotFoundError):
        path.unlink()
        files.sync_folder(path.parent)


def _alone(workspace: Workspace, model: str) -> AbstractContextManager[None]:
    return files.locked(_home(workspace, model) / ".lock", f"the sealed checkpoints of {model}", wait=True)


def _sweep(home: Path) -> None:
    for path in _halves(home):
        path.unlink(missing_ok=True)


def _halves(home: Path) -> list[Path]:
    return sorted(home.glob(".*.partial"))


def _home(workspace: Workspace, model: str) -> Path:
    return workspace.vault / "sealed" / model
