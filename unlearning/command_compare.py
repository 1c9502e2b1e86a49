"""The verb `compare` as a command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unlearning.log import say
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Add the verb; `root` holds the options that every verb takes."""
    compare = verbs.add_parser("compare", parents=[root], help="several evaluation reports on one page")
    compare.add_argument(
        "places", nargs="+", metavar="REPORT", help="key of a batch, folder of an evaluation_report, or a report.json"
    )
    compare.add_argument("--out", type=Path, metavar="DIR", default=Path("compare"), help="(%(default)s)")
    compare.add_argument(
        "--unlike", action="store_true", help="also runs that were not evaluated alike; the page says what differs"
    )
    compare.set_defaults(verb=_compare)


def _compare(options: argparse.Namespace) -> int:
    from unlearning.verbs import compare

    done = compare.run(options.places, Workspace(options.root), options.out, options.unlike)
    runs = {run["name"]: run["verdict"] for run in done.summary["runs"]}
    say({"runs": runs, "unlike": list(done.summary["unlike"]), "path": str(done.folder / "compare.html")})
    return 0
