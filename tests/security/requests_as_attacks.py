"""`python -m tests.security.requests_as_attacks [--home FOLDER]`: every attack by request, what came of it, its cost.

Takes about four minutes of one core the first time: one original is trained for all, and found again afterwards. A row
names what was tried, how much of it was accepted, what caught the rest, and what it cost. `accepted` is no verdict by
itself: a legitimate request is accepted, too. infra/decisions/0027-requests-as-attacks.md says what holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from tests.security import request_doors, request_flood, request_models
from tests.security.request_doors import REPOSITORY, Row
from unlearning import files
from unlearning.process import machine

RESULTS = Path(__file__).parent / "results" / "requests_as_attacks.json"
HOME = REPOSITORY / "var" / "requests-as-attacks"


def rows(home: Path = HOME) -> list[Row]:
    """Every row. What was trained is kept below `home`, the rest is made anew."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        toys = Path(scratch)
        return [*request_models.rows(home), *request_doors.rows(toys / "doors"), *request_flood.rows(toys / "flood")]


def table(found: list[Row]) -> str:
    """A line a row, its cost below it."""
    lines = [f"{'attack':<48} {'tried':>7} {'accepted':>8}  caught by"]
    for one in found:
        lines += [f"{one['row']:<48} {one['tried']:>7} {one['accepted']:>8}  {one['caught_by']}", f"    {one['cost']}"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the table and keep the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.requests_as_attacks", description=__doc__)
    parser.add_argument("--home", type=Path, default=HOME, help="what was trained is kept here")
    found = rows(parser.parse_args().home)
    sys.stdout.write(table(found))
    files.write_json(RESULTS, {"schema": "requests-as-attacks/1", "machine": machine(), "rows": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
