"""log.jsonl: what a run measured, a line a step logged. Holds no clock, so the same run leaves the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from unlearning import files


class Journal:
    """Append-only, cut back to the step from which a run resumes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, step: int) -> None:
        """Forget lines beyond `step`, and a last line that a kill left half written."""
        if not self._path.exists():
            return
        kept = [line for line in self.lines() if line["step"] <= step]
        files.write_bytes(self._path, b"".join(files.canonical(line) + b"\n" for line in kept))

    def append(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line. Raises StorageError for a full disk."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(files.canonical({"step": step, **numbers}) + b"\n")
        except OSError as error:
            raise files.refused(error, self._path) from error

    def last(self) -> dict[str, float]:
        """The newest line; empty if there is none."""
        lines = self.lines()
        return lines[-1] if lines else {}

    def content(self) -> bytes:
        """The whole file."""
        return self._path.read_bytes() if self._path.exists() else b""

    def lines(self) -> list[dict[str, float]]:
        """Every whole line, oldest first."""
        lines = []
        for line in self.content().splitlines():
            try:
                tree = json.loads(line)
            except ValueError:
                continue
            if isinstance(tree, dict) and isinstance(tree.get("step"), int):
                lines.append(tree)
        return lines
