"""The inbox: a folder, or a bucket, where controllers leave files of requests. Each request is taken in exactly once.

    <inbox>/*.json, *.jsonl, *.csv  ->  claimed/<name>  ->  done/<sha256>.<ext>
                                                        or  refused/<sha256>.<ext> beside <sha256>.<ext>.why

A file is claimed by a rename, so that nobody reads what is still being filed under a name; then it is filed whole or
not at all. Whoever is killed leaves the file in `claimed/`, and the next call takes it up again: that a request has one
effect is the ledger's promise, not the file's. What controllers call their files may be somebody's name, so nothing
that is kept or said carries it: a file is known by the sha256 of its bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from unlearning.errors import RequestError, StorageError
from unlearning.requests import schema
from unlearning.requests.schema import Filed

PROTOCOLS = frozenset({"file", "local", "memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss"})
ENDINGS = (".json", ".jsonl", ".csv")
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload")
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Letter:
    """One claimed file: where it lies, and what it is called from now on."""

    path: str
    name: str  # <sha256 of its bytes>.<json|jsonl|csv>


class Inbox:
    """One inbox. Nothing in it is created before there is something to claim."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        """`url`: a folder, or an address of one of PROTOCOLS. Raises RequestError for any other, or for a chain."""
        protocol = url.partition("://")[0] if "://" in url else "file"
        if "::" in url or protocol not in PROTOCOLS:
            raise RequestError(
                f"inbox {protocol[:20]!r}: not a place that requests are read from; "
                f"a folder or one of {', '.join(sorted(PROTOCOLS))} is right"
            )
        try:
            self._files, home = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StorageError(f"inbox: {protocol}:// cannot be opened ({str(error)[:120]})") from None
        self.home, self._clock = str(home).rstrip("/"), clock
        self.local = protocol in ("file", "local")

    def claim(self, settle_s: float) -> int:
        """Move every finished file into `claimed/`; how many were left because they may still be written.

        settle_s  seconds that a file must have been at rest; one called *.part, or with a dot in front, waits
        """
        waiting = 0
        for info in self._listed(self.home):
            name = PurePosixPath(info["name"]).name
            if name.startswith(".") or name.endswith(_UNFINISHED):
                waiting += 1
            elif name.endswith(ENDINGS) and not info.get("islink"):
                if self._clock() - _changed(info) < settle_s:
                    waiting += 1
                else:
                    # A killed process may have left a file of the same name there, not yet filed.
                    self._move(info["name"], f"{self.home}/claimed/{uuid.uuid4().hex[:12]}-{name}")
        return waiting

    def letters(self) -> Iterator[Letter]:
        """Every claimed file, those of a killed process among them, oldest first."""
        for info in sorted(self._listed(f"{self.home}/claimed"), key=lambda one: (_changed(one), one["name"])):
            yield Letter(info["name"], f"{self._digest(info['name'])}{PurePosixPath(info['name']).suffix}")

    def read(self, letter: Letter, scratch: Path) -> list[Filed]:
        """Its requests, all valid; `scratch` can be erased. Raises RequestError with line and field, never a value."""
        if int(self._files.size(letter.path) or 0) > schema.MAX_FILE:
            raise RequestError(f"inbox file {letter.name}: more than {schema.MAX_FILE} bytes; split the file")
        with tempfile.TemporaryDirectory(dir=scratch, prefix="inbox-") as home:
            copy = Path(home) / letter.name
            self._files.get_file(letter.path, str(copy))
            try:
                return schema.read(copy)
            except RequestError as error:
                raise RequestError(str(error).replace(str(copy), f"inbox file {letter.name}")) from None

    def accept(self, letter: Letter) -> None:
        """Its requests are in the ledger."""
        self._move(letter.path, f"{self.home}/done/{letter.name}")

    def refuse(self, letter: Letter, sentence: str) -> None:
        """Set it aside with the reason beside it; nothing of it is in the ledger."""
        self._files.makedirs(f"{self.home}/refused", exist_ok=True)
        self._files.pipe_file(f"{self.home}/refused/{letter.name}.why", f"{sentence}\n".encode())
        self._move(letter.path, f"{self.home}/refused/{letter.name}")

    def taken_in(self) -> Iterator[Letter]:
        """Every file whose requests are in the ledger."""
        for info in sorted(self._listed(f"{self.home}/done"), key=lambda one: str(one["name"])):
            yield Letter(info["name"], PurePosixPath(info["name"]).name)

    def drop(self, letter: Letter) -> None:
        """Remove a file for good. Again: nothing happens."""
        with suppress(FileNotFoundError):
            self._files.rm_file(letter.path)

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        # A symbolic link could lead anywhere: only files that really lie here are looked at.
        return [one for one in found if one["type"] == "file" and not one.get("islink")]

    def _move(self, source: str, target: str) -> None:
        """A rename where there is one, else copy and delete. Somebody quicker has it already: that is well."""
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            if self.local:
                os.replace(source, target)
            else:
                self._files.mv(source, target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"inbox {self.home}: a file cannot be moved ({error.strerror or error})") from None

    def _digest(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._files.open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()


def _changed(info: dict[str, Any]) -> float:
    """Seconds since the epoch; 0 where a store says nothing: it shows an object only once it is whole."""
    moment = info.get("mtime", 0.0)
    return float(moment.timestamp() if hasattr(moment, "timestamp") else moment)
