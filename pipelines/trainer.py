"""The far end: `python -m pipelines.trainer STAGE --params … --root … --batch …` makes one asset in a compute process.

Needs neither Dagster nor MLflow, only dagster-pipes where Dagster waits at the other end. Rank 0 reports: bars on
stderr, log lines to Dagster, numbers to MLflow, `progress.json` beside the resumable state. The loop saves its own
state, so a stop at any moment loses the steps since the last save and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.tracking import Place, Run, Tracking
from unlearning import files, stages
from unlearning.errors import UnlearningError
from unlearning.evidence import lineage
from unlearning.log import Bars, Log, Progress, silent
from unlearning.params import Params
from unlearning.process import die_with_parent
from unlearning.settings import Settings
from unlearning.stages import BESIDE, STAGES
from unlearning.verbs import stage
from unlearning.workspace import Workspace

# As in unlearning/__main__.py: threads that wait by spinning starve each other on a shared machine.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

_EVERY_S = 5.0  # between two lines to Dagster, and between two calls to MLflow


@dataclass(slots=True)
class Reporter:
    """A log that speaks to everybody who waits, each as often as they can bear."""

    run: Run
    say: Callable[[str], None]
    progress: Path | None
    bars: Log = field(default_factory=Bars)
    clock: Callable[[], float] = time.monotonic
    _said: float = field(default=-_EVERY_S, init=False)

    def __call__(self, line: Progress) -> None:
        """Report it."""
        self.bars(line)
        self.run.metric(line.numbers, line.step)
        due = self.clock() - self._said >= _EVERY_S or bool(line.note) or 0 < line.of <= line.step
        if due:
            self._said = self.clock()
            self.say(_spoken(line))
            self.run.flush()
            if self.progress is not None:
                numbers = {name: float(value) for name, value in line.numbers.items() if abs(value) < float("inf")}
                state = {"stage": line.stage, "step": line.step, "of": line.of, "numbers": numbers, "note": line.note}
                files.write_json(self.progress, {**state, "pid": os.getpid(), "at": time.time()})


def main(argv: Sequence[str] | None = None) -> int:
    """Make the asset. 0 made or reused, 2 refused with a sentence."""
    die_with_parent()
    words = _parser().parse_args(argv)
    if words.processes > 1 and "RANK" not in os.environ:
        _become_torchrun(words.processes, list(argv or sys.argv[1:]))
    stop_politely()
    with pipes_session() as pipes:
        try:
            _make(words, pipes)
        except UnlearningError as error:
            if pipes is not None:
                pipes.report_custom_message({"refused": str(error)})
            sys.stderr.write(f"unlearning: {error}\n")
            return 2
    return 0


def _make(words: argparse.Namespace, pipes: Any) -> None:
    params = Params.read(words.params, dict(words.overrides))
    batch = Workspace(words.root).batch(words.batch)
    if not _leads():
        stage.run(words.stage, params, batch, silent)
        return
    say = pipes.log.info if pipes is not None else _nothing
    settings = Settings()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.mlflow_uri
    tracking = Tracking(Place.under(words.root, uri, settings.mlflow_timeout_s), say)
    run = tracking.resume(os.environ.get("MLFLOW_RUN_ID", ""), f"{batch.key}.{words.stage}")
    key = lineage.key(stages.named(words.stage), params, batch)
    log = Reporter(run, say, batch.workspace.work(key) / "progress.json")
    try:
        stage.run(words.stage, params, batch, log)
    finally:
        run.flush()
        if tracking.skipped and run.id is not None:
            say(f"{tracking.skipped} MLflow calls wait in {tracking.outbox(run.outbox).path}")


def _become_torchrun(processes: int, words: list[str]) -> None:
    """Replace this process: the request to die with the parent outlives exec."""
    launch = ["--standalone", "--nproc-per-node", str(processes), "-m", "pipelines.trainer", *words]
    os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *launch])


def stop_politely() -> None:
    """SIGTERM and SIGINT unwind the stack once, so that temporary folders go; the second one is not heard."""

    def leave(number: int, frame: FrameType | None) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        sys.exit(128 + number)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, leave)


@contextlib.contextmanager
def pipes_session() -> Iterator[Any]:
    """Dagster's end, on rank 0, where there is one."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ or not _leads() or importlib.util.find_spec("dagster_pipes") is None:
        yield None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield pipes


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _nothing(sentence: str) -> None:
    """Nobody waits."""


def _spoken(line: Progress) -> str:
    numbers = " ".join(f"{name}={value:.4g}" for name, value in line.numbers.items())
    where = f"{line.step}/{line.of}" if line.of > 0 else ""
    return " ".join(filter(None, [line.stage, where, numbers, line.note]))


def _pair(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    return name, json.loads(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.trainer", description=__doc__)
    parser.add_argument("stage", choices=[name for name, found in {**STAGES, **BESIDE}.items() if found.trains])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--batch", required=True)
    parser.add_argument("--set", dest="overrides", type=_pair, action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--processes", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
