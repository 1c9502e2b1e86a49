"""The far end of a study's point: `python -m pipelines.study_worker base|point FILE --name ID --root ROOT`.

As pipelines/trainer.py, without MLflow: a study's numbers stand in point.json, and Dagster shows them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.trainer import pipes_session, stop_politely
from unlearning.errors import UnlearningError
from unlearning.log import Bars, Log, Progress
from unlearning.process import die_with_parent
from unlearning.studies import Plans
from unlearning.verbs import study
from unlearning.workspace import Workspace

# As in unlearning/__main__.py: threads that wait by spinning starve each other on a shared machine.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def main(argv: Sequence[str] | None = None) -> int:
    """Make it. 0 made or reused, 2 refused with a sentence."""
    die_with_parent()
    words = _parser().parse_args(argv)
    stop_politely()
    with pipes_session() as pipes:
        try:
            plans, make = Plans.read(words.file), {"base": study.base, "point": study.point}[words.what]
            make(plans, words.name, Workspace(words.root), _log(None if pipes is None else pipes.log.info))
        except UnlearningError as error:
            if pipes is not None:
                pipes.report_custom_message({"refused": str(error)})
            sys.stderr.write(f"unlearning: {error}\n")
            return 2
    return 0


def _log(say: Callable[[str], None] | None) -> Log:
    bars = Bars()

    def log(line: Progress) -> None:
        bars(line)
        if say is not None and (line.note or 0 < line.of <= line.step):
            numbers = " ".join(f"{name}={value:.4g}" for name, value in line.numbers.items())
            say(" ".join(filter(None, [line.stage, line.note or f"{line.step}/{line.of}", numbers])))

    return log


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.study_worker", description=__doc__)
    parser.add_argument("what", choices=["base", "point"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--root", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
