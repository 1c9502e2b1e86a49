"""The verb `sequence` as a command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from unlearning.log import Bars, say
from unlearning.sequences import Deletions
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Add the verb; `root` holds the options that every verb takes."""
    text = "one deletion after the other on one model: does every earlier one hold?"
    sequence = verbs.add_parser("sequence", parents=[root], help=text)
    sequence.add_argument(
        "file", type=Path, nargs="?", default=Path("infra/sequences/letters.yaml"), help="(%(default)s)"
    )
    sequence.add_argument("--only", action="append", default=[], metavar="METHOD", help="as often as needed")
    sequence.add_argument("--source", help="of the data set, as `unlearning ingest` takes it, if it is not there yet")
    sequence.add_argument(
        "--results", type=Path, metavar="DIR", help="copy sequence.json, table.md and sequence.png there"
    )
    sequence.set_defaults(verb=_sequence)


def _sequence(options: argparse.Namespace) -> int:
    from unlearning.verbs import ingest, sequence

    deletions, workspace = Deletions.read(options.file), Workspace(options.root)
    source = options.source or deletions.sequence.source
    if source is not None:
        ingest.run(source, deletions.sequence.dataset, workspace, Bars(), plant=deletions.plant)
    only = [word for name in options.only for word in ("--only", name)]
    file = options.file.name if options.file.is_absolute() else options.file.as_posix()
    command = " ".join(["unlearning", "sequence", file, *only])
    outcome = sequence.run(deletions, workspace, Bars(), command, options.only)
    sys.stdout.write(outcome.table)
    folder = outcome.folder if options.results is None else sequence.publish(outcome, options.results)
    say({"sequence": deletions.sequence.name, "methods": len(outcome.summary["methods"]), "path": str(folder)})
    return 0
