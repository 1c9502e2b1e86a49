"""The soak's clock: real time, moved ahead by what `<root>/clock` says, for every process of the soak alike.

Time passes inside a week as it does outside, so that what came first stays first; between two weeks it jumps.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# What asks how long ago a file was written. Files bear the real time, so between two weeks all of them grow old.
AGES = ("unlearning.verbs._purge_places",)

# Everything that asks for the time and writes it down, or counts deadlines by it.
READERS = (
    "unlearning.evidence.lineage",
    "unlearning.evidence.promotion",
    "unlearning.requests.ledger",
    "unlearning.verbs._purge_job",
    "unlearning.verbs.certify",
    "unlearning.verbs.request",
    "pipelines.automation.sensors",
)


class Clock:
    """Moved by one process, read by all."""

    def __init__(self, root: Path) -> None:
        self._file = root / "clock"

    def now(self, zone: tzinfo | None = UTC) -> datetime:
        """The simulated moment."""
        ahead = float(self._file.read_text()) if self._file.exists() else 0.0
        return datetime.now(zone) + timedelta(seconds=ahead)

    def move(self, to: datetime) -> None:
        """From now on it is `to`. Time never goes back."""
        assert to >= self.now() or not self._file.exists(), f"{to} is before {self.now()}"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(str((to - datetime.now(UTC)).total_seconds()))

    def keep(self) -> None:
        """Have this process live by it."""
        clock = self

        class Simulated(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return clock.now(tz)

        for name in READERS:
            importlib.import_module(name).__dict__["datetime"] = Simulated
        for name in AGES:
            importlib.import_module(name).__dict__["time"] = SimpleNamespace(time=lambda: clock.now().timestamp())
