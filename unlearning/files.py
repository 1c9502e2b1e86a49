"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import rfc8785

from unlearning import json_text
from unlearning.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: a limit on the size of one file


def canonical(value: Any) -> bytes:
    """RFC 8785 JSON: one value, one spelling. Raises StorageError for NaN, infinity and integers beyond 2^53."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise StorageError(f"a record cannot be written as canonical JSON: {error}") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step. A full disk leaves what stood there before. Raises StorageError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial, file = _aside(path)
        with file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)
    except OSError as error:
        raise refused(error, path) from error


def _aside(path: Path) -> tuple[Path, BinaryIO]:
    """An empty file beside `path`, to be filled and renamed: the one that a killed writer left, where there is one.

    Its lock ends with its writer. While another holds it, or where there are no locks, it is a file of its own name.
    """
    usual = path.with_name(f".{path.name}.0.00000000.partial")
    while True:
        file = usual.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _names(usual, file):
                file.truncate(0)
                return usual, file
        except OSError:
            file.close()
            own = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")
            return own, own.open("xb")
        file.close()  # renamed between our opening and our locking it: it is somebody's target now


def _names(path: Path, file: BinaryIO) -> bool:
    """Whether `path` is still the file that was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def write_json(path: Path, value: Any) -> None:
    """`value` as canonical JSON, in one step."""
    write_bytes(path, canonical(value) + b"\n")


def read_json(path: Path) -> Any:
    """The JSON at `path`, strictly. Raises StorageError when it is missing or not JSON."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise StorageError(f"{path}: there is no such file") from None


def parse_json(text: str | bytes, where: str) -> Any:
    """One JSON value, strictly (unlearning/json_text.py). Raises StorageError naming `where`."""
    try:
        return json_text.parse(text)
    except json_text.NotJson as error:
        raise StorageError(f"{where}: {error}") from None


def sync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `target` in one rename when the block ends well, and vanishes when it does not.

    Raises StorageError for a full disk; what stood at `target` before is then untouched.
    """
    home = target.parent / ".partial"
    home.mkdir(parents=True, exist_ok=True)
    partial = home / f"{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        yield partial
        for file in sorted(partial.rglob("*")):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            else:
                sync_folder(file)
        sync_folder(partial)
        if target.exists():
            target.rename(home / f"{partial.name}-old")
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise refused(error, target) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(home / f"{partial.name}-old", ignore_errors=True)


def sweep(target: Path, but: Path | None = None) -> None:
    """Remove what killed writers of `target` left beside it: it may hold what was to be forgotten.

    The caller holds the lock that every writer of `target` takes. A stopped writer, which lost that lock, finds its
    folder gone when it goes on.
    """
    mark = re.escape(target.name) + r"[-.]\d+[-.][0-9a-f]{8}(-old|\.partial)?"
    for home in (target.parent, target.parent / ".partial"):
        for path in home.iterdir() if home.is_dir() else ():
            if path == but or not re.fullmatch(r"\." + mark if home == target.parent else mark, path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold `path` alone; the kernel lets go when the process dies.

    Raises StorageError if somebody else holds it, unless told to wait for them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StorageError(f"{what} is being made by another process now; wait for it, or stop it") from None
        yield


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under a second name: a hard link where the file system has them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def refused(error: OSError, path: Path) -> StorageError:
    """The sentence for a failed write."""
    if error.errno in FULL:
        return StorageError(f"{path}: the disk is full; what stood there before is untouched, free space and run again")
    return StorageError(f"{path}: cannot be written ({error.strerror or error}); what stood there before is untouched")
