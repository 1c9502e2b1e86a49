"""sha256 of files and folders."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from unlearning.files import canonical


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file of an asset: its path inside the asset, sha256 of its bytes, and size in bytes."""

    path: str
    sha256: str
    bytes: int


def of_bytes(content: bytes) -> str:
    """sha256, hex."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(path: Path) -> list[FileDigest]:
    """Every file below `path`, by name. Symbolic links are not followed and not listed."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return [FileDigest(file.relative_to(path).as_posix(), of_file(file), file.stat().st_size) for file in files]


def of_listing(files: list[FileDigest]) -> str:
    """One sha256 for a folder: of the canonical list of (path, sha256)."""
    return of_bytes(canonical([[file.path, file.sha256] for file in files]))


def of_value(value: object) -> str:
    """sha256 of a value's canonical JSON."""
    return of_bytes(canonical(value))
