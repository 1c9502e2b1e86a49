"""`unlearning intake`: what lies in the inbox goes to the ledger, each request exactly once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import RequestError
from unlearning.requests import tokens
from unlearning.requests.inbox import Inbox, Letter
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import Filed
from unlearning.settings import Settings
from unlearning.verbs import _ledger
from unlearning.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look into the inbox came to. Files are named by the sha256 of their bytes."""

    filed: int = 0  # requests that are new
    known: int = 0  # requests that the ledger had already, word for word
    waiting: int = 0  # files that may still be written, or for which there was no time: the next look takes them
    files: tuple[str, ...] = ()  # taken in, now in done/
    refused: tuple[str, ...] = ()  # set aside in refused/, the reason beside each


def take_in(
    workspace: Workspace, inbox: str | None = None, settle_s: float | None = None, within_s: float = float("inf")
) -> Taken:
    """Claim, file, and put away every file of the inbox; the oldest first, one process at a time.

    inbox     a folder or an address (unlearning/requests/inbox.py); default: that of the settings, else `<root>/inbox`
    settle_s  seconds a file must have been at rest; default: that of the settings
    within_s  seconds after which no further file is begun; the next call goes on

    Killed anywhere and called again, it ends the same. A file that holds one request too few, too many or badly written
    is refused whole. Raises RequestError for an address that is no inbox, StorageError where it cannot be reached.
    """
    with door_of(workspace, inbox) as (door, scratch):
        waiting = door.claim(Settings().inbox_settle_s if settle_s is None else settle_s)
        ledger, taken, began = _ledger.of(workspace), Taken(waiting=waiting), time.monotonic()
        for letter in door.letters():
            if time.monotonic() - began > within_s:
                taken = replace(taken, waiting=taken.waiting + 1)
            else:
                taken = _filed(door, letter, ledger, scratch, taken)
    return taken


@contextmanager
def door_of(workspace: Workspace, inbox: str | None = None) -> Iterator[tuple[Inbox, Path]]:
    """The inbox, held alone, and a folder for copies that can be erased. Raises as `take_in` does."""
    place = inbox or Settings().inbox or str(workspace.root.resolve() / "inbox")
    door, scratch = Inbox(place), workspace.root / "work"
    lock = workspace.root / "locks" / f"inbox-{digests.of_bytes(place.encode())[:12]}"
    with files.locked(lock, "the inbox", wait=True):
        scratch.mkdir(parents=True, exist_ok=True)
        yield door, scratch


def file(filed: Sequence[Filed], workspace: Workspace, source: str) -> tuple[list[dict[str, Any]], int]:
    """A receipt each, and how many of the requests are new; all or none. Raises ConflictError, StorageError."""
    entries, fresh = _ledger.of(workspace).take(filed, source)
    return [entry.receipt for entry in entries], fresh


def counts(workspace: Workspace) -> dict[str, int]:
    """How many requests stand in which state. Raises StorageError where the ledger cannot be reached."""
    return _ledger.of(workspace).counts()


def token(workspace: Workspace, controller_id: str, operator: bool) -> str:
    """Let a controller use the HTTP intake; the token is handed out here and never again. Raises RequestError."""
    return tokens.add(workspace, controller_id, operator)


def _filed(door: Inbox, letter: Letter, ledger: Ledger, scratch: Path, taken: Taken) -> Taken:
    try:
        filed = door.read(letter, scratch)
        entries, fresh = ledger.take(filed, source="inbox")
    except RequestError as error:
        door.refuse(letter, str(error))
        return replace(taken, refused=(*taken.refused, letter.name))
    door.accept(letter)
    known = taken.known + len(entries) - fresh
    return replace(taken, filed=taken.filed + fresh, known=known, files=(*taken.files, letter.name))
