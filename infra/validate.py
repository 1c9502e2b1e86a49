"""`make validate`: everything in infra/ that can be judged without a cluster, an engine or a chart, as a table.

0: nothing is wrong in what was looked at (what was not looked at stands in the table); 1: something is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infra.validation import Row, containers, guide, helm, instances, kubernetes, launched

_ROOMS = (containers, instances, helm, launched, kubernetes, guide)


def main(argv: Sequence[str] | None = None) -> int:
    """Look at everything and print the table."""
    parser = argparse.ArgumentParser(prog="python -m infra.validate", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is written from code anew")
    if parser.parse_args(argv).write:
        launched.EXAMPLE.write_text(launched.example(), encoding="utf-8")
        guide.GUIDE.write_text(guide.written(guide.GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    rows = [row for room in _ROOMS for row in room.rows()]
    sys.stdout.write(table(rows))
    return 1 if any(row.wrong for row in rows) else 0


def table(rows: Sequence[Row]) -> str:
    """One line a row, and below it what is wrong."""
    widths = [max(len(one) for one in column) for column in zip(*((row.what, row.how) for row in rows), strict=True)]
    lines = []
    for row in rows:
        outcome = f"NOT RUN: {row.why_not}" if row.why_not else "WRONG" if row.wrong else "ok"
        lines.append(f"{row.what:<{widths[0]}}  {row.how:<{widths[1]}}  {outcome}")
        lines.extend(f"    {fault}" for fault in row.wrong)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
