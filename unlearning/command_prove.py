"""The verbs `prove`, `log` and `export-signature` as a command line."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.log import say
from unlearning.workspace import NAME, Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Add the verbs; `root` holds the options that every verb takes."""
    prove = verbs.add_parser(
        "prove", parents=[root], help="what one person may check: their image is in the one set and not in the other"
    )
    which = prove.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="?", metavar="KEY", help="of a stored sample")
    which.add_argument("--image", type=Path, metavar="PICTURE", help="by its bytes, whether it is stored or not")
    which.add_argument("--name", metavar="KEY", help="whether the data set had a sample of that key at all")
    prove.add_argument("--batch", required=True, metavar="KEY", help="the certified batch it is about")
    prove.add_argument(
        "--in",
        dest="sets",
        action="append",
        choices=("dataset", "forget", "retain"),
        help="the sets it speaks of, as often as needed; default: forget and retain",
    )
    prove.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    prove.set_defaults(verb=_prove)
    log = verbs.add_parser("log", parents=[root], help="the append-only log of everything signed here")
    ways = log.add_mutually_exclusive_group()
    ways.add_argument("--checkpoint", type=Path, metavar="FILE", help="write a signed head, to be kept elsewhere")
    ways.add_argument("--check", type=Path, metavar="FILE", help="does the log continue the one of that checkpoint?")
    log.set_defaults(verb=_log)
    export = verbs.add_parser(
        "export-signature", parents=[root], help="an OpenSSF model signature (model.sig) of what is served"
    )
    export.add_argument("model", help="model.name of params.yaml")
    export.set_defaults(verb=_export)


def _prove(options: argparse.Namespace) -> int:
    from unlearning.verbs import prove

    batch = Workspace(options.root).batch(options.batch)
    sets = tuple(dict.fromkeys(options.sets or prove.OF_IMAGE))
    if options.name is not None:
        text = prove.of_name(options.name, batch)
    elif options.image is not None:
        text = prove.of_image(options.image.read_bytes(), batch, sets)
    else:
        text = prove.of_sample(options.key, batch, sets)
    if options.output is None:
        sys.stdout.write(text.decode())
    else:
        files.write_bytes(options.output, text)
    return 0


def _log(options: argparse.Namespace) -> int:
    from unlearning.verbs import log_heads

    workspace = Workspace(options.root)
    if options.checkpoint is not None:
        files.write_bytes(options.checkpoint, log_heads.checkpoint(workspace))
        return 0
    if options.check is None:
        head = log_heads.head(workspace)
        say({"size": head.size, "root": head.root.hex()})
        return 0
    if not options.check.is_file():
        raise EvidenceError(f"{options.check}: there is no such checkpoint")
    wrong = log_heads.problem(workspace, options.check.read_bytes(), str(options.check))
    sys.stdout.write(f"{wrong or 'the log continues it'}\n")
    return 1 if wrong else 0


def _export(options: argparse.Namespace) -> int:
    from unlearning.verbs import model_signature

    workspace = Workspace(options.root)
    if not re.fullmatch(NAME, options.model):
        raise EvidenceError(f"{options.model[:40]!r} is no model's name; the one in params.yaml (model.name) is right")
    signature = model_signature.run(options.model, workspace)
    say({"signature": str(signature), "public_key": str(model_signature.public_key(workspace))})
    return 0
