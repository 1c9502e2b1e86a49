"""Who may write: every attempt at a thing takes the next generation, and one that holds an older one is refused.

A lock says who may begin. It cannot say that whoever began an hour ago, was stopped and goes on now is still the one:
its lock file may have been deleted or replaced meanwhile, by a clean-up or a file system that forgot it. The generation
can, because it lies beside what is written (fencing tokens: Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import StorageError


@dataclass(frozen=True, slots=True)
class Fence:
    """One attempt's right to write, for as long as `path` names it."""

    path: Path
    generation: int
    token: str  # two that took the same number, because the file was lost, are two

    @classmethod
    def take(cls, path: Path) -> Fence:
        """The next generation; the one before may not write any more. The caller holds the lock of what it fences."""
        files.sweep(path)  # whoever was killed taking theirs
        taken = cls(path, _generation(path) + 1, uuid.uuid4().hex)
        files.write_json(path, {"generation": taken.generation, "token": taken.token})
        return taken

    def hold(self, what: str) -> None:
        """Raise StorageError if another attempt has begun since, or has finished and put everything away."""
        if _read(self.path).get("token") != self.token:
            raise StorageError(
                f"{what}: attempt {self.generation} was overtaken by a later one while it was stopped, and writes "
                "nothing any more; run again to see what the later one made"
            )


def _generation(path: Path) -> int:
    found = _read(path).get("generation")
    return found if isinstance(found, int) else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = files.read_json(path)
    except StorageError:
        return {}  # never written, or damaged: then nobody holds it
    return tree if isinstance(tree, dict) else {}
