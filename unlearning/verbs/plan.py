"""deletion_plan: which way of forgetting the batch takes, and why. Milliseconds, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from unlearning import files, policy
from unlearning.data import index, manifest
from unlearning.evidence import drift
from unlearning.evidence import plan as plans
from unlearning.evidence.drift import Start
from unlearning.evidence.lineage import Record
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.policy import Seen
from unlearning.verbs import _asset
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Write plan.json. The same batch and the same served model give the same plan, whenever it is made again.

    Raises PolicyError where no rule applies, ParamsError where a rule's overrides do not fit, and EvidenceError where
    champion.json is none; ledger and files are then as before.
    """
    begun = drift.start(batch, params.model.name)

    def fill(folder: Path, key: str) -> dict[str, Any]:
        seen = _seen(params, batch)
        drifted = drift.of(begun, batch, params.model.name, params.policy.drift.distance is not None)
        decision = policy.decide(params, seen, drifted, batch.key)
        said = {
            "schema": plans.SCHEMA,
            "batch": batch.key,
            **policy.as_json(decision, seen, drifted),
            "start": {"version": begun.version, "sha256": begun.sha256},
            **(_training(params, batch) if decision.tier == "retrain" else {}),
        }
        files.write_json(folder / "plan.json", said)
        log(Progress(plans.ASSET, 0, 0, note=decision.reason))
        return {
            **plans.said(said),
            "images": seen.images,
            "days_left": seen.days_left,
            "deletions_since_base": drifted.deletions,
            "distance_from_base": drifted.distance,
        }

    _set_aside_outdated(batch, begun)
    return _asset.make(plans.ASSET, params, batch, log, fill)


def _set_aside_outdated(batch: BatchFolder, begun: Start) -> None:
    """What is served is no asset of the batch: a plan that was made for another version is made again."""
    before = plans.read_or_empty(batch)
    if before and before["start"] != {"version": begun.version, "sha256": begun.sha256}:
        batch.lineage(plans.ASSET).unlink(missing_ok=True)


def _seen(params: Params, batch: BatchFolder) -> Seen:
    forget = len(manifest.only(manifest.read(batch.forget), "train"))
    trained = index.describe(batch.workspace.dataset(params.data.name))["splits"].get("train", 0)
    resolved = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
    scheduled = [one for one in resolved if one["state"] == "scheduled"]
    sealed = files.read_json(batch.requests.with_name("batch.json"))
    return Seen(
        sharded=params.generator.kind == "sharded",
        images=forget,
        share=forget / trained if trained else None,
        selectors=tuple(sorted({kind for one in scheduled for kind in one["selectors"]})),
        days_left=_days_left(params.policy.days, batch, scheduled, sealed.get("sealed_at")),
        goal=sealed["goal"],
        attempts=sealed.get("attempts"),
    )


def _days_left(days: int, batch: BatchFolder, scheduled: list[dict[str, Any]], sealed_at: str | None) -> int | None:
    """Calendar days, UTC, from sealing to the earliest deadline; None for a batch sealed before that was written."""
    if sealed_at is None:
        return None
    live = {(one["controller_id"], one["request_id"]) for one in scheduled}
    submitted = [_day(at) for name, at in _submitted(batch) if name in live]
    return (min(submitted) + timedelta(days=days) - _day(sealed_at)).days if submitted else None


def _submitted(batch: BatchFolder) -> Iterator[tuple[tuple[str, str], str]]:
    for line in batch.requests.read_bytes().splitlines():
        request = json.loads(line)
        yield (request["controller_id"], request["request_id"]), request["submitted_at"]


def _day(moment: str) -> date:
    return datetime.fromisoformat(moment).astimezone(UTC).date()


def _training(params: Params, batch: BatchFolder) -> dict[str, Any]:
    """What a retraining is a function of, beside the data set: its parameters, and what was ever forgotten before."""
    sections = ("model", "data", "generator", "corruption", "original")
    return {
        "training_sha256": params.section_digest(*sections),
        "forgotten": files.read_json(batch.asset("forget_manifest") / "resolution.json").get("earlier", []),
    }
