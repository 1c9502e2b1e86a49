"""The calls that MLflow did not take, one JSON line each, in `<root>/mlflow/outbox/<batch>.<asset>.jsonl`.

Two processes write here (Dagster's and the compute process), each may be killed at any moment, and no call is lost.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning import files


@dataclass(frozen=True, slots=True)
class Outbox:
    """One of them. There is no file where nothing waits."""

    path: Path

    def keep(self, what: str, arguments: Mapping[str, Any], reason: str) -> None:
        """Add one call."""
        line = {"at": time.time(), "call": what, "arguments": arguments, "reason": reason}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def lines(self) -> list[str]:
        """The calls, oldest first. A line that a kill cut short says nothing."""
        if not self.path.is_file():
            return []
        with self._alone():
            found = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.is_file() else []
        return [line for line in found if line.endswith("}\n")]

    def drop(self, lines: Sequence[str]) -> None:
        """Take these calls out; what came meanwhile stays."""
        if not lines or not self.path.is_file():
            return
        gone = Counter(lines)
        with self._alone():
            left = []
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                if gone[line] > 0:
                    gone[line] -= 1
                elif line.endswith("}\n"):
                    left.append(line)
            if left:
                files.write_bytes(self.path, "".join(left).encode())
            else:
                self.path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with files.locked(self.path.parents[1] / ".outbox-locks" / self.path.stem, str(self.path), wait=True):
            yield
