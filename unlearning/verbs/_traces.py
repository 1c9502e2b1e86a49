"""What holds of the training traces in a batch's folder, as far as no step is run again. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from unlearning import files, trace_rows
from unlearning.data import manifest
from unlearning.errors import DataError, EvidenceError, ManifestError, StorageError
from unlearning.evidence import certificate, lineage, training_trace
from unlearning.evidence.training_trace import PartTold, Trace
from unlearning.params import Budget
from unlearning.trace_rows import Row
from unlearning.training.schedule import learning_rate
from unlearning.verbs import _trained_on
from unlearning.workspace import BatchFolder

_NOT_RUN = (
    "that {role} was trained as its trace says: running parts of it again tells (`unlearning verify DIR --replay K`)"
)
_NONE = "how {role} was trained, step by step: no training trace lies beside its weights"
_UNSEEN = (
    "which images {role} was trained on: it is of shards, of another batch, or its data set is not here as it was; "
    "where it is, `unlearning verify DIR --replay 0` tells"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What does not hold, and what was not looked at."""

    mismatches: tuple[str, ...]
    not_checked: tuple[str, ...]


def checked(batch: BatchFolder, params: Mapping[str, Any]) -> Checked:
    """Of every checkpoint in the folder. `params` are those of the certificate."""
    mismatches, unseen = list[str](), list[str]()
    for role in certificate.ROLES:
        name = f"{role}_checkpoint"
        try:
            trace = training_trace.read(batch.asset(name))
            if trace is None:
                if role != "original":  # a published one has none, and an earlier batch's verifies with that batch
                    unseen.append(_NONE.format(role=name))
                continue
            problems, blind = _of_role(batch, role, trace, params)
        except (EvidenceError, StorageError) as error:
            mismatches.append(f"{name}: {error}")
            continue
        mismatches += [f"{name}: {problem}" for problem in problems]
        unseen += [_NOT_RUN.format(role=name), *([_UNSEEN.format(role=name)] if blind else [])]
    return Checked(tuple(mismatches), tuple(unseen))


def _of_role(batch: BatchFolder, role: str, trace: Trace, params: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The problems, and whether nobody can say here which images the training had."""
    folder, record = batch.asset(f"{role}_checkpoint"), lineage.read(batch, f"{role}_checkpoint")
    found = training_trace.problems(trace, folder)
    facts = files.read_json(folder / "checkpoint.json")["facts"]
    for part, rows in zip(trace.told.parts, trace.rows, strict=True):
        found += [f"trace of {part.part}: {problem}" for problem in _of_budget(part, rows, facts)]
    if record.facts.get("source") in ("champion", "published"):  # a trace of another batch's training
        return found, True
    found += _of_run(batch, record, trace)
    sets = _sets(batch, role, record.facts, params)
    if sets is None or trace.told.parts[0].part.startswith("shard-"):
        return found, True
    return found + [problem for part in trace.told.parts for problem in _of_sets(part, *sets)], False


def _of_budget(part: PartTold, rows: Sequence[Row], facts: Mapping[str, Any]) -> Iterator[str]:
    try:
        budget = Budget.model_validate(part.start["budget"])
    except (KeyError, ValidationError):
        yield "it names no budget"
        return
    last, stopped = rows[-1].step, facts.get("stopped_at")
    if not (last == budget.steps or (isinstance(stopped, int) and stopped <= last < budget.steps)):
        yield f"{last} steps are done at its end, and the budget has {budget.steps}"
    odd = next((row.step for row in rows if row.learning_rate != learning_rate(budget, row.step - 1)), None)
    if odd is not None:
        yield f"the learning rate of step {odd} is not the budget's"


def _of_run(batch: BatchFolder, record: lineage.Record, trace: Trace) -> Iterator[str]:
    """Of the training that the lineage record names."""
    key = record.facts.get("base") or record.key
    if record.facts.get("trained_as") == "reference_checkpoint":
        key = lineage.read(batch, "reference_checkpoint").key
    for part in trace.told.parts:
        run = part.start.get("run")
        if not isinstance(run, Mapping) or ("member" not in run and run.get("key") != key):
            yield f"trace of {part.part}: is of another training than lineage/{record.asset}.json names"


def _sets(
    batch: BatchFolder, role: str, facts: Mapping[str, Any], params: Mapping[str, Any]
) -> tuple[pa.Table | None, pa.Table] | None:
    """Images to forget, and to keep, that the training had; None where that cannot be said here."""
    try:
        if role == "unlearned" and "forget_images" in facts:
            return _trained_on.unlearning(batch)
        dataset = str(params["data"]["name"])
        record = lineage.read(batch, f"{role}_checkpoint")
        stored = files.read_json(batch.workspace.dataset(dataset) / "dataset.json")["index_sha256"]
        if stored != record.inputs["image_dataset"]:
            return None
        left_out = [] if role == "original" else [manifest.read(batch.forget)]
        if left_out and batch.earlier.is_file():
            left_out.append(manifest.read(batch.earlier))
        return None, _trained_on.without(batch, dataset, role, *left_out)[0]
    except (StorageError, DataError, ManifestError, KeyError, TypeError):
        return None


def _of_sets(part: PartTold, forget: pa.Table | None, retain: pa.Table) -> Iterator[str]:
    """The images that the run could draw are those of the manifests; of a set that its method reads."""
    told = part.start.get("sets")
    tables = {"forget": forget, "retain": retain}
    counts = _counts(told)
    images = {
        name: table["sha256"].to_pylist() if table is not None and counts.get(name) else []
        for name, table in tables.items()
    }
    key = trace_rows.run_key(images.values())
    made = {name: trace_rows.of_set(trace_rows.tokens(key, some)) for name, some in images.items()}
    if told != made or part.start.get("key_id") != trace_rows.key_id(key):
        yield f"trace of {part.part}: it was trained on other images than the manifests name"


def _counts(told: Any) -> dict[str, Any]:
    """How many images of each set the trace tells of; nothing of what is no such thing."""
    sets = told if isinstance(told, Mapping) else {}
    return {name: one.get("images") for name, one in sets.items() if isinstance(one, Mapping)}
