"""The verbs as a command line: `unlearning VERB …`, or `python -m unlearning VERB …`.

Exit codes: 0 done · 1 `verify` found a mismatch, or points of a study came to nothing · 2 an input is wrong, one line
says what, and nothing was changed · 130 interrupted, the same command again resumes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import unlearning
from unlearning import (
    command_compare,
    command_intake,
    command_keys,
    command_prove,
    command_purge,
    command_request,
    command_sequence,
    command_study,
    command_trace,
    files,
    overrides,
)
from unlearning.errors import DataError, UnlearningError
from unlearning.log import Bars, say
from unlearning.params import Params
from unlearning.rules import Profile
from unlearning.settings import Settings
from unlearning.stages import BESIDE, STAGES
from unlearning.workspace import Workspace

# A verb's module is imported inside the function that runs it: most need torch, `verify` must not.

# Threads of a parallel region that wait by spinning starve each other as soon as anything else runs on the machine: on
# two cores a training step took ten times as long. They spin briefly, then sleep. OpenMP reads it at import.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    try:
        options = _parser(Settings()).parse_args(argv)
        verb: Callable[[argparse.Namespace], int] = options.verb
        code = verb(options)
        sys.stdout.flush()
        return code
    except UnlearningError as error:
        return _failed(" ".join(str(error).split()), 2)
    except BrokenPipeError:  # whoever reads us (`head`, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else "a file"
        if error.errno in files.FULL:
            return _failed(str(files.refused(error, Path(where))), 2)
        return _failed(f"{where}: {error.strerror or error}; check that it exists and may be read and written", 2)
    except KeyboardInterrupt:
        return _failed("stopped; the same command again resumes", 130)


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unlearning", description="Make an image generator forget, with evidence.")
    parser.add_argument("--version", action="version", version=f"unlearning {unlearning.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--root", type=Path, default=settings.root, help="all that a run makes lies here (%(default)s)")
    _add_ingest(verbs, root)
    command_request.add(verbs, root)
    batch = _batch(settings)
    _add_stages(verbs, root, batch)
    command_study.add(verbs, root, batch)
    command_sequence.add(verbs, root)
    command_compare.add(verbs, root)
    command_intake.add(verbs, root)
    command_trace.add(verbs, root)
    command_purge.add(verbs, root, settings)
    command_keys.add(verbs, root, batch)
    command_prove.add(verbs, root)
    _add_embed(verbs, root, settings)
    kinds = verbs.add_parser(
        "kinds", help="every registered generator, corruption, method, merge, scope, metric, attack"
    )
    kinds.add_argument("--json", action="store_true")
    kinds.set_defaults(verb=_kinds)
    return parser


def _add_ingest(verbs: Any, root: argparse.ArgumentParser) -> None:
    ingest = verbs.add_parser("ingest", parents=[root], help="turn a source of images into a data set")
    ingest.add_argument(
        "source", help="a folder of .tar/.tar.gz shards, a tree CLASS/picture, digits, torchvision:NAME or hf:NAME"
    )
    ingest.add_argument("--name", required=True, help="of the data set, as params.yaml will call it (data.name)")
    ingest.add_argument(
        "--subject-from",
        default="none",
        metavar="WHAT",
        help="whom an image belongs to: none, class, folder (CLASS/SUBJECT/picture) or a field of the sample's JSON",
    )
    ingest.add_argument(
        "--plant",
        nargs=2,
        metavar=("PICTURE", "COPIES"),
        help="a known picture (tshirt, letters, flower or a file), repeated in the training part as class planted",
    )
    ingest.set_defaults(verb=_ingest)


def _add_embed(verbs: Any, root: argparse.ArgumentParser, settings: Settings) -> None:
    embed = verbs.add_parser("embed", parents=[root], help="features of a data set, by which near duplicates are found")
    embed.add_argument("name", help="of the data set")
    embed.add_argument("--extractor", help="as resolve.near_duplicates.extractor names it, and by default that one")
    embed.add_argument("--params", type=Path, default=settings.params, help="parameter file (%(default)s)")
    embed.set_defaults(verb=_embed)


def _batch(settings: Settings) -> argparse.ArgumentParser:
    batch = argparse.ArgumentParser(add_help=False)
    batch.add_argument("--batch", required=True, metavar="KEY", help="a-z, 0-9, dot, underscore, hyphen")
    batch.add_argument("--params", type=Path, default=settings.params, help="parameter file (%(default)s)")
    batch.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="unlearn.budget.steps=8, say; as often as needed",
    )
    return batch


def _add_stages(verbs: Any, root: argparse.ArgumentParser, batch: argparse.ArgumentParser) -> None:
    by_verb: dict[str, dict[str, str]] = {}
    for stage in (*STAGES.values(), *BESIDE.values()):
        by_verb.setdefault(stage.verb[0], {})[" ".join(stage.verb[1:])] = stage.name
    for word, names in by_verb.items():
        command = verbs.add_parser(word, parents=[root, batch], help=f"make {' or '.join(names.values())}")
        if "" not in names:
            command.add_argument("which", choices=sorted(names))
        _add_profile(command)
        command.set_defaults(verb=_stages, which="", names=names)
    run = verbs.add_parser("run", parents=[root, batch], help="make every asset of a batch, in order")
    _add_profile(run)
    run.set_defaults(verb=_stages, which="", names={"": None})


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile",
        choices=get_args(Profile),
        help="how much the evaluation tries: --set evaluate.profile=…, and to be named at later stages, too",
    )


def _ingest(options: argparse.Namespace) -> int:
    from unlearning.verbs import ingest

    plant = None if options.plant is None else (options.plant[0], _copies(options.plant[1]))
    done = ingest.run(options.source, options.name, Workspace(options.root), Bars(), options.subject_from, plant)
    said = done.described
    say(
        {
            "dataset": said["name"],
            "reused": done.reused,
            "images": said["images"],
            "splits": said["splits"],
            "classes": len(said["classes"]),
            "subjects": said["subjects"],
            "index_sha256": said["index_sha256"],
        }
    )
    return 0


def _copies(text: str) -> int:
    if not text.isdecimal():
        raise DataError(f"--plant: {text[:40]!r} copies; a whole number is right")
    return int(text)


def _stages(options: argparse.Namespace) -> int:
    from unlearning.verbs import request, stage

    params = Params.read(options.params, _changes(options))
    batch = Workspace(options.root).batch(options.batch)
    chosen = options.names[options.which]
    for name in [chosen] if chosen else STAGES:
        record = stage.run(name, params, batch, Bars())
        request.follow(name, batch)
        say({"asset": name, "sha256": record.sha256, "path": str(batch.asset(name)), "facts": record.facts})
    return 0


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line puts over the parameter file."""
    changes = dict(overrides.read(text) for text in options.set)
    return changes if options.profile is None else {**changes, "evaluate.profile": options.profile}


def _embed(options: argparse.Namespace) -> int:
    from unlearning.verbs import embed

    params = Params.read(options.params, {"data.name": options.name})
    say(embed.run(params, Workspace(options.root), Bars(), options.extractor))
    return 0


def _kinds(options: argparse.Namespace) -> int:
    from unlearning.verbs import kinds

    listing = kinds.listing()
    if options.json:
        say(listing)
        return 0
    for kind in listing:
        sys.stdout.write(f"{kind['family']} {kind['kind']}: {kind['summary']}\n    source: {kind['paper']}\n")
        for one in kind["parameters"]:
            default = "needed" if one["required"] else f"default {one['default']!r}"
            about = ", ".join(part for part in (one["type"], one["bounds"], default, one["description"]) if part)
            sys.stdout.write(f"    {one['name']}: {about}\n")
    return 0


def _failed(sentence: str, code: int) -> int:
    sys.stderr.write(f"unlearning: {sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
