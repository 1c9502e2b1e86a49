"""`unlearning study FILE`: a grid of unlearning runs, one table, one picture. Run it again and it goes on.

First the bases (manifests, original, reference, ceiling), then the points, each in a process of its own. A point that
is refused or breaks is recorded with its sentence, and the study goes on.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import DataError, ParamsError
from unlearning.log import Log, Progress
from unlearning.report import pareto, quality, whole
from unlearning.studies import Base, Plans, Point
from unlearning.verbs import _study_base, _study_point, _study_summary, _study_workers
from unlearning.verbs._study_point import FAILED, FINISHED, Record
from unlearning.verbs._study_workers import Ended, Job
from unlearning.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a study, and where it is written."""

    folder: Path
    summary: dict[str, Any]
    failed: tuple[str, ...]  # ids of the points of this call that came to nothing

    @property
    def table(self) -> str:
        """table.md."""
        return (self.folder / "table.md").read_text(encoding="utf-8")


def run(
    plans: Plans, workspace: Workspace, log: Log, command: str, workers: int = 1, only: Collection[str] = ()
) -> Outcome:
    """Make every point that is not made yet, of the methods `only` or of all; then the summary.

    Raises ParamsError for a kind or field that does not exist, before anything is trained; DataError without data.
    """
    _refuse_unfit(plans, workspace, only)
    home = _study_base.home(plans, workspace)
    wanted = [point for point in plans.points if not only or point.method in only]
    with files.locked(home.root / ".locks" / "study", f"study {plans.study.name}"):
        waiting = [point for point in wanted if not _finished(plans, point, workspace)]
        bases = list(dict.fromkeys(point.base for point in waiting))
        broken = _make_bases(plans, bases, workspace, log, workers)
        for point in waiting:
            if point.base in broken:
                _study_point.fail(plans, point, workspace, f"base {point.base.id}: {broken[point.base]}")
        runnable = [point for point in waiting if point.base not in broken]
        _make_points(plans, runnable, workspace, log, workers, done=len(wanted) - len(runnable), of=len(wanted))
        found = write(plans, workspace, command)
    ids = tuple(point.id for point in wanted if not _finished(plans, point, workspace))
    return Outcome(home.root, found, ids)


def base(plans: Plans, name: str, workspace: Workspace, log: Log) -> Path:
    """Make one base and its ceiling, in this process. Raises what the verbs raise, ParamsError for an unknown id."""
    chosen = next((one for one in plans.bases if one.id == name), None)
    if chosen is None:
        raise ParamsError(f"{plans.file}: there is no base {name[:80]!r}; the first is {plans.bases[0].id!r}")
    batch = _study_base.make(plans, chosen, workspace, log)
    plan, target = plans.study.ceiling, _study_summary.ceiling_file(plans, chosen, workspace)
    if plan.steps:
        compute = importlib.import_module("unlearning.verbs._study_compute")  # needs torch
        params, home = plans.base_params(chosen), _study_base.home(plans, workspace)
        compute.ceiling(params, batch, home, plan, target, log)
    return batch.path


def point(plans: Plans, name: str, workspace: Workspace, log: Log) -> Record:
    """Make one point, in this process; its base must be there. What is refused is recorded, and raised."""
    return _study_point.run(plans, plans.point(name), workspace, log)


def folder(plans: Plans, workspace: Workspace) -> Path:
    """Where everything of a study lies."""
    return _study_base.home(plans, workspace).root


def point_folder(plans: Plans, name: str, workspace: Workspace) -> Path:
    """Where one point lies, point.json in it. Raises ParamsError for an unknown id."""
    return _study_point.folder(plans, plans.point(name), workspace).path


def write(plans: Plans, workspace: Workspace, command: str) -> dict[str, Any]:
    """study.json, table.md and pareto.png of what is finished by now, in the study's folder.

    And whole_pictures.png, where points were asked for some.
    """
    place = folder(plans, workspace)
    found = _study_summary.summary(plans, workspace, command)
    files.write_json(place / "study.json", found)
    files.write_bytes(place / "table.md", quality.table(found).encode())
    files.write_bytes(place / "pareto.png", pareto.picture(found))
    pictures = whole.picture(found)
    if pictures is not None:
        files.write_bytes(place / "whole_pictures.png", pictures)
    return found


def publish(outcome: Outcome, target: Path) -> Path:
    """Copy the files that `write` writes, and nothing else: no picture of the data, no path of this machine."""
    place = target / str(outcome.summary["name"])
    for name in ("study.json", "table.md", "pareto.png", "whole_pictures.png"):
        if (outcome.folder / name).is_file():
            files.write_bytes(place / name, (outcome.folder / name).read_bytes())
    return place


def _refuse_unfit(plans: Plans, workspace: Workspace, only: Collection[str]) -> None:
    unknown = sorted(set(only) - set(plans.study.methods))
    if unknown:
        exist = ", ".join(plans.study.methods)
        raise ParamsError(f"{plans.file}: there is no method {unknown[0]!r}; methods that exist: {exist}")
    if not (workspace.dataset(plans.study.dataset) / "dataset.json").is_file():
        raise DataError(
            f"study {plans.study.name}: data set {plans.study.dataset!r} is not ingested; name its source with --source"
        )
    kinds = importlib.import_module("unlearning.verbs._kinds")  # needs torch
    for one in plans.points:
        if not only or one.method in only:
            try:
                kinds.check(plans.params(one))
            except ParamsError as error:
                raise ParamsError(f"{plans.file}: point {one.id}: {error}") from None


def _finished(plans: Plans, point: Point, workspace: Workspace) -> bool:
    found = _study_point.read(plans, point, workspace)
    return found is not None and found["status"] == FINISHED


def _make_bases(plans: Plans, bases: Sequence[Base], workspace: Workspace, log: Log, workers: int) -> dict[Base, str]:
    """The bases that came to nothing, with the reason. One that waits for another's original does so in its child."""
    by_name, broken = {base.id: base for base in bases}, dict[Base, str]()
    jobs = [_job("study-base", name, plans, workspace) for name in by_name]

    def ended(child: Ended) -> None:
        if child.code != 0:
            broken[by_name[child.job.name]] = child.sentence
        word = "made" if child.code == 0 else f"failed: {child.sentence}"
        log(Progress("study: bases", 0, 0, note=f"base {child.job.name} {word}"))

    _study_workers.run(jobs, workers, ended)
    return broken


def _make_points(
    plans: Plans, points: Sequence[Point], workspace: Workspace, log: Log, workers: int, done: int, of: int
) -> None:
    by_name = {one.id: one for one in points}
    jobs = [_job("study-point", name, plans, workspace) for name in by_name]

    def ended(child: Ended) -> None:
        nonlocal done
        done += 1
        found = _study_point.read(plans, by_name[child.job.name], workspace)
        if child.code != 0 and (found is None or found["status"] != FAILED):  # it broke without a word in point.json
            found = _study_point.fail(plans, by_name[child.job.name], workspace, child.sentence)
        log(Progress("study: points", done, of, note=f"{done}/{of} {child.job.name}: {_spoken(found)}"))

    _study_workers.run(jobs, workers, ended)


def _job(verb: str, name: str, plans: Plans, workspace: Workspace) -> Job:
    home = _study_base.home(plans, workspace)
    words = (verb, str(plans.file.resolve()), "--name", name, "--root", str(workspace.root.resolve()))
    return Job(name, words, home.root / "logs" / f"{name}.log")


def _spoken(found: Record | None) -> str:
    if found is None or found["status"] == FAILED:
        return "failed: " + ("it said nothing" if found is None else str(found["sentence"]))
    shown = ("forgetting", "retention", "sibling_retention")
    known = [(name, found["scores"].get(name)) for name in shown]
    scores = ", ".join(f"{name} {score['value']:.3f}" for name, score in known if score is not None)
    return f"{scores}, {found['seconds']:.0f} s"
