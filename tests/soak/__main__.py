"""`make soak`: eight weeks of a line, with everything that goes wrong in them; a table, and JSON under results/.

    python -m tests.soak --home FOLDER [--weeks 8] [--seed 0] [--toy]

What happens is decided by the seed; when exactly a run is killed is not. It ends with 1 where anything at the end is
not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.home import Home

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Play, look, print, keep."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as other:
        home = Home((options.home or Path(other)).resolve(), options.toy)
        os.environ.update(home.env)  # before anything reads the settings
        from tests.soak.play import play

        found = play(home, options.weeks, options.seed, _say)
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if options.results is not None:
        options.results.write_text(text)
    for check in found["checks"]:
        _say(
            f"{'holds ' if check['holds'] else 'BROKEN'}  {check['what']}"
            + (f": {check['said']}" if check["said"] else "")
        )
    return 0 if all(check["holds"] for check in found["checks"]) else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--home", type=Path, help="an empty folder, which stays; default: one that does not")
    parser.add_argument("--weeks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="checkpoints that are only bytes, and no DVC: a minute")
    parser.add_argument("--results", type=Path, help="the file for the JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
