"""The verbs `study` and `sweep` as a command line, and the two that a study runs in its child processes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearning import overrides, yaml_text
from unlearning.errors import ParamsError
from unlearning.log import Bars, say
from unlearning.params import Params
from unlearning.process import die_with_parent
from unlearning.studies import Plans
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser, batch: argparse.ArgumentParser) -> None:
    """Add the verbs; `root` and `batch` hold the options that every verb of their sort takes."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--workers", type=int, default=1, help="points made at a time, each in its own process")
    shared.add_argument("--results", type=Path, metavar="DIR", help="copy study.json, table.md and pareto.png there")
    study = verbs.add_parser("study", parents=[root, shared], help="a grid of unlearning runs: one table, one picture")
    study.add_argument("file", type=Path, nargs="?", default=Path("infra/studies/digits.yaml"), help="(%(default)s)")
    study.add_argument("--only", action="append", default=[], metavar="METHOD", help="as often as needed")
    study.add_argument("--source", help="of the data set, as `unlearning ingest` takes it, if it is not there yet")
    study.set_defaults(verb=_study)
    sweep = verbs.add_parser("sweep", parents=[root, batch, shared], help="several values of one number, on a batch")
    sweep.add_argument("--over", required=True, metavar="KEY", help="unlearn.merge.forget_weight, say")
    sweep.add_argument("--values", required=True, type=_values, help="0.05,0.1,0.2")
    sweep.add_argument("--seeds", type=_values, default=[], help="0,1,2; default: that of the parameters")
    sweep.set_defaults(verb=_sweep)
    for name, text in (
        ("study-base", "make what a study's points share"),
        ("study-point", "make one point of a study"),
    ):
        part = verbs.add_parser(name, parents=[root], help=f"{text} (study runs it)")
        part.add_argument("file", type=Path)
        part.add_argument("--name", required=True, metavar="ID")
        part.set_defaults(verb=_study_part, part=name.removeprefix("study-"))


def _study(options: argparse.Namespace) -> int:
    from unlearning.verbs import ingest

    plans, workspace = Plans.read(options.file), Workspace(options.root)
    source = options.source or plans.study.source
    if source is not None:
        ingest.run(source, plans.study.dataset, workspace, Bars(), plant=plans.plant)
    only = [word for name in options.only for word in ("--only", name)]
    return _grid(plans, ["study", options.file.as_posix(), *only], options, options.only)


def _sweep(options: argparse.Namespace) -> int:
    from unlearning.verbs import sweep

    params = Params.read(options.params, dict(overrides.read(text) for text in options.set))
    batch = Workspace(options.root).batch(options.batch)
    plans = sweep.plan(params, batch, options.over, options.values, options.seeds)
    values = ",".join(str(value) for value in options.values)
    words = ["sweep", "--batch", batch.key, "--over", options.over, "--values", values]
    return _grid(plans, [*words, *(word for text in options.set for word in ("--set", text))], options, ())


def _grid(plans: Plans, words: list[str], options: argparse.Namespace, only: Sequence[str]) -> int:
    from unlearning.verbs import study

    if options.workers < 1:
        raise ParamsError(f"--workers {options.workers}: 1 or more is right")
    command = " ".join(["unlearning", *(Path(word).name if word.startswith("/") else word for word in words)])
    command += f" --workers {options.workers}"
    outcome = study.run(plans, Workspace(options.root), Bars(), command, options.workers, only)
    sys.stdout.write(outcome.table)
    folder = outcome.folder if options.results is None else study.publish(outcome, options.results)
    say({"study": plans.study.name, **outcome.summary["counts"], "path": str(folder)})
    return 1 if outcome.failed else 0


def _study_part(options: argparse.Namespace) -> int:
    die_with_parent()
    plans, workspace = Plans.read(options.file), Workspace(options.root)
    from unlearning.verbs import study

    if options.part == "base":
        say({"base": options.name, "path": str(study.base(plans, options.name, workspace, Bars()))})
    else:
        say(study.point(plans, options.name, workspace, Bars()))
    return 0


def _values(text: str) -> list[Any]:
    values = [yaml_text.parse(part) for part in text.split(",") if part.strip()]
    if not all(isinstance(value, bool | int | float | str) for value in values):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a list of values; 0.05,0.1,0.2, say, is right")
    return values
