"""The table of faults, from the outcomes that are kept: infra/faults.md, and its short form in README."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

HOME = Path(__file__).resolve().parents[2]
KEPT = Path(__file__).with_name("results.json")
PAGE = HOME / "infra" / "faults.md"
MARK = "<!-- faults -->"
_ABOUT = """# Faults

Each row is a test under `tests/faults/`: what was done to the system, how often, how often it held. Kills, full disks
and stopped writers happen to real processes. `make faults` does it again and writes this page; `SHARE=N` takes every
N-th edge and an N-th of the 200 kills. The quick rows also run, with fewer trials, in `make test`.
"""
_NOT_TRIED = """
Not tried: a power cut (kill -9 loses no page cache; every rename is preceded by fsync of file and folder, and no
block-level tool was used), a network file system that loses locks, a real disk that is full under SQLite (a table that
may not grow stands for it), and a writer stopped between its last look at the generation and its rename.

Known: `dvc push` takes every file of a folder for pushed where the remote has the folder's list. Where a file was lost
there, delete the list (`files/md5/….dir`) and push again. A clock that was ahead when a request came leaves it a due
date that is too late, and no tick takes it before that time.
"""


def outcomes() -> dict[str, dict[str, Any]]:
    """The rows that were kept."""
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_bytes())["faults"]
    return found


def short() -> str:
    """README's: fault, tried, survived."""
    rows = [f"| {row['fault']} | {row['tried']} | {row['survived']} |" for row in _ordered()]
    return "\n".join(["| Fault | Tried | Survived |", "| --- | ---: | ---: |", *rows])


def page() -> str:
    """infra/faults.md."""
    kept = json.loads(KEPT.read_bytes())
    machine = kept["machine"]
    head = "| Fault | Where | Tried | Survived | What must hold | How |"
    rows = [
        f"| {row['fault']} | {row['where']} | {row['tried']} | {row['survived']} | {row['held']} | {row['how']} |"
        for row in _ordered()
    ]
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}"
    said = f"\nMeasured on {where}, with SHARE={kept['share']}.\n{_seconds(kept['faults'])}"
    table = "\n".join([head, "| --- | --- | ---: | ---: | --- | --- |", *rows])
    return f"{_ABOUT}\n{table}\n{said}{_NOT_TRIED}\nIn short:\n\n{MARK}\n{short()}\n{MARK}\n"


def _seconds(faults: dict[str, dict[str, Any]]) -> str:
    """How long a line took with MLflow, and without."""
    took = faults.get("mlflow", {}).get("seconds")
    if not took:
        return ""
    middle = {what: median(seconds) for what, seconds in took.items()}
    more = ", ".join(
        f"{what} {middle[what] - middle['answers']:+.1f} s" for what in sorted(middle.keys() - {"answers"})
    )
    times = min(len(seconds) for seconds in took.values())
    return f"""
A whole line whose trainings are only bytes takes {middle["answers"]:.1f} s while MLflow's SQLite store answers.
With an MLflow that is away, and at most 1 s for a call: {more} (median of {times}).
Who does not answer is asked once a process.
"""


def shown(text: str) -> str | None:
    """What a page holds between its marks; None where it has none."""
    parts = text.split(MARK)
    return parts[1].strip() if len(parts) == 3 else None


def _ordered() -> list[dict[str, Any]]:
    return sorted(outcomes().values(), key=lambda row: str(row["fault"]))
