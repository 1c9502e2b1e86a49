"""How long the parts of an evaluation took, kept by its content: what is not made again keeps the time it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from unlearning import files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage
from unlearning.process import machine
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder

Made = TypeVar("Made")


@dataclass(slots=True)
class Clock:
    """The seconds of each part, and the machine they were taken on: of the first run, however often it is resumed."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=machine)

    @classmethod
    def of_evaluation(cls, batch: BatchFolder, key: str) -> Clock:
        """The clock of the asset with that content key, as it was left."""
        path = batch.workspace.work("timings") / f"{key}.json"
        try:
            kept = files.read_json(path)
            return cls(path, {str(name): float(took) for name, took in kept["seconds"].items()}, kept["machine"])
        except (StorageError, KeyError, TypeError, ValueError, AttributeError):
            return cls(path)  # none yet, or a damaged one

    def of(self, what: str, make: Callable[[], Made]) -> Made:
        """What `make` makes; the seconds are kept unless a run before took them."""
        start = time.perf_counter()
        made = make()
        if what not in self.seconds:
            self.seconds[what] = round(time.perf_counter() - start, 3)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(self.path, {"seconds": self.seconds, "machine": self.machine})
        return made


def stages(batch: BatchFolder) -> list[tuple[str, float, float]]:
    """(stage, seconds, of these for preparation) of what the lineage of a batch has the time of."""
    found = []
    for name in STAGES:
        try:
            facts: Mapping[str, Any] = lineage.read(batch, name).facts
        except (StorageError, EvidenceError):
            continue
        if name != "evaluation_report" and isinstance(facts.get("seconds"), int | float):
            prepared = float(facts.get("preparation_seconds") or 0.0)
            found.append((name, float(facts["seconds"]) + prepared, prepared))
    return found
