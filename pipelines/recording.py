"""What MLflow is told about one asset: parameters, numbers, data sets, files, and a checkpoint's registry entry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import registry, signing
from pipelines.dvc import DvcProject
from pipelines.metadata import flat
from pipelines.registry import Registered
from pipelines.tracking import Run, Subject, Tracking
from unlearning import files
from unlearning.evidence import lineage, plan, promotion
from unlearning.evidence.lineage import Record
from unlearning.evidence.promotion import Champion
from unlearning.params import Params
from unlearning.report.attacked import glance
from unlearning.stages import Stage
from unlearning.workspace import BatchFolder

# Only files without a sample key or a picture of a forget image: MLflow forgets nothing. report.html and figures/ show
# forget images only where params.report.show_forget_images says so.
ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "original_checkpoint": ("checkpoint.json", "log.jsonl"),
    "reference_checkpoint": ("checkpoint.json", "log.jsonl"),
    "unlearned_checkpoint": ("checkpoint.json", "log.jsonl"),
    "deletion_plan": ("plan.json",),
    "evaluation_report": ("report.json", "report.html", "figures/*.png"),
    "certificate": ("certificate.json",),
    "interim_filter": ("filter.json",),
}
_ENDS = {"value": "", "low": ".low", "high": ".high"}
_CONTEXTS = {"image_dataset": "source", "forget_manifest": "forget", "retain_proxy_set": "retain"}


def subject(stage: Stage, params: Params, batch: BatchFolder) -> Subject:
    """Which MLflow run belongs to the asset. Raises ManifestError if an input is missing."""
    return Subject(params.model.name, stage.name, batch.key, lineage.key(stage, params, batch))


def inputs(run: Run, stage: Stage, params: Params, batch: BatchFolder, dvc: DvcProject) -> None:
    """Before the verb: what it will read."""
    chosen = params.model_dump(mode="json", include=set(stage.params))
    if stage.name == "unlearned_checkpoint":
        chosen["unlearn"] = plan.read(batch)["unlearn"]
    run.params({name: _text(value) for name, value in flat(chosen)})
    for name, sha256 in lineage.inputs(stage, params, batch).items():
        if name in _CONTEXTS:
            place = batch.workspace.dataset(params.data.name) if name == "image_dataset" else batch.asset(name)
            shown = params.data.name if name == "image_dataset" else name
            run.dataset(shown, _relative(place, dvc.folder), sha256, dvc.md5(place), _CONTEXTS[name])


def outputs(run: Run, record: Record, params: Params, batch: BatchFolder) -> None:
    """After the verb: what it made."""
    made = batch.lineage(record.asset).stat().st_mtime  # what waited and what is said anew from the files is one number
    numbers = {name: value for name, value in flat(record.facts) if isinstance(value, int | float)}
    run.metric({name: float(value) for name, value in numbers.items() if not isinstance(value, bool)}, 0, made)
    if record.asset == "evaluation_report":
        report = files.read_json(batch.report)
        run.metric({**_scores(report), **_attacks(report)}, 0, made)
    run.artifact(batch.lineage(record.asset), "lineage")
    folder = batch.asset(record.asset)
    for pattern in ARTIFACTS.get(record.asset, ()):
        for path in sorted(folder.glob(pattern)):
            beside = path.parent.relative_to(folder).as_posix()
            run.artifact(path, None if beside == "." else beside)
    if record.asset == "certificate":
        run.params(signing.facts(batch))
        for path in signing.files(batch):
            run.artifact(path)
    _version(run, record, params, batch)


def promoted(
    tracking: Tracking, params: Params, batch: BatchFolder, now: Champion, tags: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """After a promotion: its run, and the aliases; the run's page and the version, where MLflow answers.

    Said anew when another batch is served by now, it leaves the aliases where they are.
    """
    name = params.model.name
    run = tracking.open(Subject(name, "model_promotion", batch.key, str(now.certificate_sha256)), tags)
    version = None
    if promotion.champion(batch.workspace, name) == now:
        version = registry.crown(run, Registered(name, now.sha256), now.previous["sha256"] if now.previous else None)
    for path in (promotion.file(batch.workspace, name), *signing.files(batch)):
        run.artifact(path)
    run.close("FINISHED")
    return run.link, version


def _version(run: Run, record: Record, params: Params, batch: BatchFolder) -> None:
    """A model version for what is, was or may be served. The original's weights stay here: they remember."""
    folder = batch.asset(record.asset)
    model = Registered(params.model.name, record.sha256)
    tags = {"batch": batch.key, "asset": record.asset, "code": str(record.code.get("revision"))}
    if record.asset == "original_checkpoint":
        registry.register(run, model, [folder / "checkpoint.json"], {**tags, "weights": "kept in the workspace"})
    elif record.asset == "unlearned_checkpoint":
        registry.register(run, model, [folder / "model.safetensors", folder / "checkpoint.json"], tags)
        registry.propose(run, model)


def _scores(report: Mapping[str, Any]) -> dict[str, float]:
    """`forgetting`, `forgetting.low`, … from report.json."""
    return {
        name if part == "value" else f"{name}.{part}": float(score[part])
        for name, score in report.get("scores", {}).items()
        if score is not None
        for part in ("value", "low", "high")
        if score.get(part) is not None
    }


def _attacks(report: Mapping[str, Any]) -> dict[str, float]:
    """`attack.relearn.signal`, `.forgetting_least`, `attack.probe.auc_unlearned`, …: of each kind the worst variant."""
    numbers: dict[str, float | None] = {}
    for row in glance(report):
        line, name = row["line"], f"attack.{row['kind']}"
        if line is None:
            continue
        signal = line["signal"] or {}
        numbers |= {f"{name}.signal{end}": signal.get(part) for part, end in _ENDS.items()}
        if line["finding"] == "curve":
            numbers |= {f"{name}.forgetting_before": line["start"], f"{name}.forgetting_least": line["unlearned"]}
            numbers[f"{name}.forgetting_reference"] = line["reference"]
        elif line["finding"] == "told":
            numbers |= {f"{name}.auc_{role}": line[role] for role in ("original", "unlearned", "reference")}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else files.canonical(value).decode()


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)
