"""Resumable state of an unfinished run: safetensors, then a JSON that names its sha256; the newest two are kept.

A state is whole once its JSON is there. A damaged one is passed over for the one before; a state of another recipe is
refused. No RNG state is kept: random numbers are a function of the step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from unlearning import digests, files
from unlearning.errors import CheckpointError, StorageError
from unlearning.fence import Fence
from unlearning.training import checkpoint

SCHEMA = "savepoint/1"
_KEPT = 2


class Savepoints:
    """The states of one run in one folder. `recipe` is everything that the run is a function of."""

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self._folder = folder
        self._recipe_sha256 = digests.of_value(recipe)
        self._fence: Fence | None = None

    def claim(self) -> None:
        """From here on this attempt alone writes; one that was stopped and goes on is refused. Once, before writing."""
        self._fence = Fence.take(self._folder.parent / ".locks" / f"{self._folder.name}.generation")

    def hold(self) -> None:
        """Raise StorageError if another attempt has claimed the folder since, or has put it away."""
        if self._fence is not None:
            self._fence.hold(str(self._folder))

    def save(self, step: int, values: dict[str, Tensor]) -> None:
        """State after `step` steps. Raises CheckpointError if a number is not finite, StorageError as `hold` does.

        StorageError is also raised for a full disk.
        """
        self.hold()
        checkpoint.refuse_not_finite(values, f"state of step {step}")
        sha256 = checkpoint.write_tensors(self._tensors(step), values)
        record = {"schema": SCHEMA, "step": step, "recipe_sha256": self._recipe_sha256, "tensors_sha256": sha256}
        files.write_json(self._record(step), record)
        for old in self._steps()[_KEPT:]:
            self._record(old).unlink(missing_ok=True)  # the JSON first: what it names must never be half there
            self._tensors(old).unlink(missing_ok=True)

    def keep(self, step: int, values: dict[str, Tensor]) -> None:
        """The same, at `kept(step)`, and no later state takes its place. Made again, it is the same bytes."""
        self.hold()
        checkpoint.refuse_not_finite(values, f"state of step {step}")
        checkpoint.write_tensors(self.kept(step), values)

    def kept(self, step: int) -> Path:
        """Where the state after `step` steps lies once it is kept."""
        return self._folder / "kept" / self._tensors(step).name

    def newest(self) -> tuple[int, dict[str, Tensor]] | None:
        """(step, tensors) of the newest whole state. Raises CheckpointError for a state of another recipe."""
        for step in self._steps():
            try:
                record = files.read_json(self._record(step))
            except StorageError:
                continue
            if not isinstance(record, dict) or record.get("schema") != SCHEMA or record.get("step") != step:
                continue
            if record.get("recipe_sha256") != self._recipe_sha256:
                raise CheckpointError(
                    f"{self._record(step)}: the unfinished run there is of another recipe; finish it with the "
                    f"parameters it was started with, or remove {self._folder}"
                )
            try:
                return step, checkpoint.read_tensors(self._tensors(step), str(record.get("tensors_sha256")))
            except CheckpointError:
                continue
        return None

    def _steps(self) -> list[int]:
        """Of every state that was named whole, newest first."""
        names = (path.stem.removeprefix("state-") for path in self._folder.glob("state-*.json"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _record(self, step: int) -> Path:
        return self._folder / f"state-{step:08d}.json"

    def _tensors(self, step: int) -> Path:
        return self._folder / f"state-{step:08d}.safetensors"
