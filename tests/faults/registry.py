"""What was done to the system, how often, and how often it held: each test counts its own trials, a table shows them.

`python -m tests.faults` runs every trial, keeps results.json beside this file, and writes infra/faults.md from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = "FAULTS_RESULTS"  # environment: where the outcomes go; without it they are not kept
FULL = "FAULTS_FULL"  # environment: all trials, as the table counts them; N: every N-th edge, and an N-th of the kills


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    key: str
    fault: str
    where: str
    held: str  # what must hold after it
    how: str  # the mechanism


class Campaign:
    """The trials of one session of tests."""

    def __init__(self) -> None:
        self.share = int(os.environ.get(FULL, "0"))
        self._counted: dict[str, dict[str, Any]] = {}

    def times(self, quick: int, full: int) -> int:
        """How many kills: few in every run of the tests, all of them for the table."""
        return max(1, full // self.share) if self.share else quick

    def walk(self, step: int, first: int) -> list[str]:
        """From which edge on, and every how many-th: all of them for the table."""
        return [str(self.share or step), "1" if self.share else str(first)]

    @contextmanager
    def trial(self, fault: Fault, times: int = 1) -> Iterator[None]:
        """Count `times` trials, and as many survivals if the block ends well."""
        row = self._row(fault)
        row["tried"] = int(row["tried"]) + times
        yield
        row["survived"] = int(row["survived"]) + times

    def took(self, fault: Fault, what: str, seconds: float) -> None:
        """Note how long something took under a fault, or without it; the page tells the median. It decides nothing."""
        self._row(fault).setdefault("seconds", {}).setdefault(what, []).append(round(seconds, 2))

    def _row(self, fault: Fault) -> dict[str, Any]:
        return self._counted.setdefault(fault.key, {**asdict(fault), "tried": 0, "survived": 0})

    def keep(self) -> None:
        """Put the outcomes where the environment says."""
        if RESULTS in os.environ and self._counted:
            Path(os.environ[RESULTS]).write_text(json.dumps(self._counted, indent=2, sort_keys=True) + "\n")
