"""What a study came to: every finished point, means and intervals over seeds, hypervolumes; as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import StorageError
from unlearning.evidence import lineage
from unlearning.metrics._hypervolume import hypervolume
from unlearning.report import attacked
from unlearning.studies import Base, Plans, Point, Target
from unlearning.verbs import _study_base, _study_point, _study_whole
from unlearning.verbs._study_point import FAILED, FINISHED, Record
from unlearning.verbs._study_whole import over_seeds
from unlearning.workspace import Workspace

SCHEMA = "study/1"
SCORES = (
    "forgetting", "forgetting_trained", "forgetting_bounded", "forgetting_trained_bounded",
    "retention", "retention_trained", "sibling_retention", "observer_auc",
)  # fmt: skip
WORST, BEST = (0.0, 0.8), (1.0, 1.0)  # of (forgetting, retention); a fifth of what is kept lost is no use to anybody

Json = dict[str, Any]


def summary(plans: Plans, workspace: Workspace, command: str) -> Json:
    """Everything; reads only point.json and ceiling.json, so that it can be made while the study still runs."""
    found = {point: _study_point.read(plans, point, workspace) for point in plans.points}
    records = [record for record in found.values() if record is not None]
    finished = [record for record in records if record["status"] == FINISHED]
    failed = [record for record in records if record["status"] == FAILED]
    return {
        "schema": SCHEMA,
        "name": plans.study.name,
        "dataset": plans.study.dataset,
        "command": command,
        "machines": _machines(finished),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": lineage.code_identity(),
        "methods": list(plans.study.methods),  # their order, which the keys of a JSON object do not keep
        "plan": plans.study.model_dump(mode="json", exclude={"source"}),
        "counts": {
            "points": len(found),
            "finished": len(finished),
            "failed": len(failed),
            "unfinished": len(found) - len(records),
        },
        "hypervolume": {"worst": list(WORST), "best": list(BEST), "of": ["forgetting", "retention"]},
        "panels": [_panel(plans, base, found, workspace) for base in plans.bases],
        "failed": [{"id": record["id"], "sentence": _placeless(record["sentence"], workspace)} for record in failed],
        "points": finished,
    }


def ceiling_file(plans: Plans, base: Base, workspace: Workspace) -> Path:
    """Where the ceiling of a base lies."""
    return _study_base.home(plans, workspace).root / "ceilings" / f"{base.id}.json"


def _panel(plans: Plans, base: Base, found: Mapping[Point, Record | None], workspace: Workspace) -> Json:
    mine = {
        point: record
        for point, record in found.items()
        if point.base == base and record is not None and record["status"] == FINISHED
    }
    forget = plans.study.forget.get(base.forget)
    some = next(iter(mine.values()), None)
    return {
        **asdict(base),
        "classes": None if forget is None else list(forget.classes),
        "siblings": None if forget is None else list(forget.siblings),
        "reference": None if some is None else _reference(some),
        "observer_auc_original": None if some is None else some["scores"].get("observer_auc_original"),
        "whole_pictures": _study_whole.anchors(list(mine.values())),
        "ceiling": _ceiling(ceiling_file(plans, base, workspace)),
        "methods": [line for name in plans.study.methods if (line := _line(name, mine, plans.study.target))["points"]],
    }


def _reference(record: Record) -> Json:
    """The retrained model's own scores; the same for every point of a base, image by image."""
    return {name: record["scores"].get(f"reference_{name}") for name in SCORES}


def _ceiling(path: Path) -> Json | None:
    try:
        found: Json = files.read_json(path)
    except StorageError:
        return None
    return {name: value for name, value in found.items() if name != "key"}


def _line(method: str, mine: Mapping[Point, Record], target: Target) -> Json:
    """One method along its varied key, and how much of the box it dominates."""
    by_value: dict[Any, list[Record]] = {}
    for point, record in mine.items():
        if point.method == method:
            by_value.setdefault(point.value, []).append(record)
    points = [_aggregate(value, records, target) for value, records in by_value.items()]
    pairs = [
        (point["forgetting"]["mean"], point["retention"]["mean"])
        for point in points
        if point["forgetting"] is not None and point["retention"] is not None
    ]
    varied = next((point.varied for point in mine if point.method == method), None)
    return {"method": method, "varied": varied, "hypervolume": hypervolume(pairs, WORST, BEST), "points": points}


def _aggregate(value: Any, records: Sequence[Record], target: Target) -> Json:
    found: Json = {"value": value, "seeds": sorted(record["seed"] for record in records)}
    for name in SCORES:
        known = [record["scores"][name]["value"] for record in records if record["scores"].get(name) is not None]
        found[name] = over_seeds(known) if known else None
    memory = [_grown(record["memory"]) for record in records]
    grown = [value for value in memory if value is not None]
    found["steps"] = max(record["steps"] for record in records)
    found["seconds"] = over_seeds([record["seconds"] for record in records])
    found["memory_mib"] = over_seeds(grown) if grown else None
    found["whole_pictures"] = _study_whole.aggregate(records, target.reference_margin)
    if any("attacks" in record for record in records):
        found["attacks"] = attacked.over_seeds([record.get("attacks", []) for record in records])
    found["meets_target"] = _meets(found, target)
    return found


def _grown(memory: Json | None) -> float | None:
    """MiB that unlearning added: tensors on the device where there is one, else what the process grew by."""
    if memory is None:
        return None
    where = "host_mib" if memory["peak"]["device_mib"] is None else "device_mib"
    return float(memory["peak"][where] - memory["before"][where])


def _meets(found: Json, target: Target) -> bool:
    """Every bound, by the means over seeds; siblings count where there are some."""
    wanted = target.model_dump(exclude={"reference_margin"})
    measured = {name: found[name]["mean"] for name in wanted if found[name] is not None}
    if not {"forgetting", "retention"} <= measured.keys():
        return False
    return all(value >= wanted[name] for name, value in measured.items())


def _placeless(sentence: str, workspace: Workspace) -> str:
    """Without where this machine keeps things: the summary is shown elsewhere."""
    return sentence.replace(f"{workspace.root.resolve()}/", "").replace(f"{Path.cwd()}/", "")


def _machines(records: Sequence[Record]) -> list[Json]:
    """Each machine that points were run on, once."""
    seen: list[Json] = []
    for record in records:
        if record["machine"] not in seen:
            seen.append(record["machine"])
    return seen
