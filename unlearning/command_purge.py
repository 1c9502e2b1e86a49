"""The verbs `purge` and `unseal` as a command line: remove what a promoted batch forgot, or look for copies of what was
purged; open an old checkpoint that a purge sealed.

Exit codes: 0 done, nothing is left but what has an end · 1 something is left, or the scan found a copy · 2 refused.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearning import overrides
from unlearning.errors import EvidenceError, ParamsError
from unlearning.log import Bars, say
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.workspace import NAME, Workspace

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
    unseal = verbs.add_parser(
        "unseal", parents=[root], help="open an old checkpoint that a purge sealed; without VERSION: what is sealed"
    )
    unseal.add_argument("model", metavar="MODEL")
    unseal.add_argument("version", nargs="?", metavar="VERSION", help="its number, or 12 digits of its checkpoint")
    unseal.add_argument("--reason", metavar="TEXT", help="kept for ever, with the moment and the key: name nobody")
    unseal.add_argument("--to", type=Path, metavar="FOLDER", help="not there yet, and not below the root")
    unseal.add_argument(
        "--key", type=Path, metavar="FILE", help="the officer's private key for sealing, PEM; default: the vault's"
    )
    unseal.set_defaults(verb=_unseal)


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


def _unseal(options: argparse.Namespace) -> int:
    from unlearning.verbs import unseal

    model, workspace = options.model, Workspace(options.root)
    if not re.fullmatch(NAME, model):
        raise EvidenceError(f"{model[:40]!r} is no model's name; the one in params.yaml (model.name) is right")
    if options.version is None:
        if options.reason or options.to or options.key:
            raise ParamsError("unseal: name the VERSION that is to be opened; MODEL alone lists what is sealed")
        say(unseal.listing(model, workspace))
        return 0
    if options.reason is None or options.to is None:
        raise ParamsError("unseal: say why it is opened (--reason TEXT), and where it is to lie (--to FOLDER)")
    done = unseal.run(model, options.version, workspace, options.reason, options.to, options.key)
    said = {"checkpoint": done.header.checkpoint, "bytes": done.header.clear_bytes}
    say({"folder": str(done.folder), **said, "expires_at": done.header.expires_at})
    return 0


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _place(path: Path, root: Path) -> str:
    """The folder right below the root that a path lies in; elsewhere its own."""
    return path.relative_to(root).parts[0] if path.is_relative_to(root) else str(path.parent)
