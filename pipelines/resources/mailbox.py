"""What a compute process elsewhere has to say: a file on the root, which both ends mount.

Reading a pod's log instead loses the words of a pod that ends before the first look at it, is cut off after hours, and
needs the right to read logs. A network file system shows what was appended to whoever opens the file anew.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler  # the type of an argument; Dagster exports no name for it


class Mailbox(dg.PipesFileMessageReader):
    """Pipes messages through `<root>/pipes/<random>.jsonl`; gone when the job is."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), cleanup_file=False)
        self.path = path

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[Mapping[str, Any]]:
        """As its base does; before the last look the file is opened anew."""
        with super().read_messages(handler) as params:
            try:
                yield params
            finally:
                self.path.read_bytes()

    def refusal(self) -> str | None:
        """The sentence with which the verb refused, if it did."""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            message = json.loads(line)
            payload = (message.get("params") or {}).get("payload")
            if message.get("method") == "report_custom_message" and isinstance(payload, dict) and "refused" in payload:
                return str(payload["refused"])
        return None


@contextmanager
def opened(root: Path) -> Iterator[Mailbox]:
    """An empty one below `root`, removed at the end."""
    folder = root / "pipes"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.jsonl"
    path.touch()
    try:
        yield Mailbox(path)
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
