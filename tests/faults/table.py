"""The table of faults, from the outcomes that are kept: infra/faults.md, and its short form in README."""

from __future__ import annotations

import json
from pathlib import Path
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
block-level tool was used), a network file system that loses locks, a DVC remote that is half there or changed, a run
that is cancelled in Dagster's page, and a writer stopped between its last look at the generation and its rename.
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
    said = f"\nMeasured on {where}, with SHARE={kept['share']}.\n"
    table = "\n".join([head, "| --- | --- | ---: | ---: | --- | --- |", *rows])
    return f"{_ABOUT}\n{table}\n{said}{_NOT_TRIED}\nIn short:\n\n{MARK}\n{short()}\n{MARK}\n"


def shown(text: str) -> str | None:
    """What a page holds between its marks; None where it has none."""
    parts = text.split(MARK)
    return parts[1].strip() if len(parts) == 3 else None


def _ordered() -> list[dict[str, Any]]:
    return sorted(outcomes().values(), key=lambda row: str(row["fault"]))
