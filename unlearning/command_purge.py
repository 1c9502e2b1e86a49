"""The verb `purge` as a command line: remove what a promoted batch forgot, or look for copies of what was purged.

Exit codes: 0 nothing is left but what has an end · 1 something is left, or the scan found a copy · 2 refused.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearning import overrides
from unlearning.errors import ParamsError
from unlearning.log import Bars, say
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser, settings: Settings) -> None:
    """Add the verb; `root` holds the options that every verb takes."""
    purge = verbs.add_parser("purge", parents=[root], help="remove every stored copy of what a served batch forgot")
    purge.add_argument("batch", nargs="?", metavar="BATCH", help="one that was promoted")
    purge.add_argument("--params", type=Path, default=settings.params, help="parameter file (%(default)s)")
    purge.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="purge.keep_versions=1, say")
    purge.add_argument(
        "--scan",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="remove nothing: look for copies of what purged batches forgot, below the root or these folders",
    )
    purge.set_defaults(verb=_purge)


def _purge(options: argparse.Namespace) -> int:
    if (options.scan is None) == (options.batch is None):
        raise ParamsError("purge: name a promoted BATCH, or --scan [FOLDER …], one of the two")
    return _scan(options) if options.batch is None else _remove(options)


def _remove(options: argparse.Namespace) -> int:
    from unlearning.verbs import purge

    params = Params.read(options.params, dict(overrides.read(text) for text in options.set))
    done = purge.run(params, Workspace(options.root).batch(options.batch), Bars())
    say({"changed": done.changed, **asdict(done.record)})
    return 0 if done.record.status == "complete" else 1


def _scan(options: argparse.Namespace) -> int:
    from unlearning.verbs import purge

    workspace = Workspace(options.root)
    found = purge.scan(workspace, options.scan or [workspace.root], Bars())
    by_place = Counter(_place(hit.path, options.root) for hit in found.hits)
    say(
        {
            "files": found.files,
            "bytes": found.bytes,
            "hits": len(found.hits),
            "by_place": dict(sorted(by_place.items())),
            "paths": sorted({_relative(hit.path, options.root) for hit in found.hits}),
            "not_looked_into": dict(sorted(found.not_looked_into.items())),
        }
    )
    return 1 if found.hits else 0


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _place(path: Path, root: Path) -> str:
    """The folder right below the root that a path lies in; elsewhere its own."""
    return path.relative_to(root).parts[0] if path.is_relative_to(root) else str(path.parent)
