"""What is sealed when: a batch a goal at every tick of the schedule, earlier where a deadline asks.

Everything here may be killed anywhere and called again: the key of a batch is a function of the line and the tick, a
sealed batch gives the same entries again, and what was sealed and never started is found by looking.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import count

import dagster as dg

from pipelines.line import MODEL_TAG, Line
from pipelines.resources.workbench import Workbench
from unlearning import files
from unlearning.log import silent
from unlearning.requests import batch_keys
from unlearning.requests.ledger import Entry
from unlearning.verbs import _ledger, seal
from unlearning.workspace import BatchFolder

PARTITION = "dagster/partition"  # Dagster's own tag
_SEALED = "resolving"  # the state of a request from its sealing until its images are known
STARTS_WITHIN = timedelta(minutes=15)  # between a run's request and the run


def tick(line: Line, workbench: Workbench, instance: dg.DagsterInstance, at: datetime) -> list[str]:
    """Seal what was received before `at`: one batch a goal, each at most `line.max_batch`. The keys, in their order.

    Called again for the same `at`, whatever happened in between: the same keys. Raises ParamsError.
    """
    params, ledger = line.read(workbench), _ledger.of(workbench.workspace)
    ledger.register(params.model.name, params.data.name)
    keys: list[str] = []
    for number in count(1):
        key = batch_keys.of_tick(line.name, at, number)
        if not ledger.entries(key) and not ledger.pending(params.model.name, params.data.name, before=at):
            break
        _seal(line, workbench, key, at)
        line.open_batch(instance, key)
        keys.append(key)
    return keys


def early(line: Line, workbench: Workbench, instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """What `tick` seals, now, where a pending request has used up its share of the time; else nothing."""
    params, ledger = line.read(workbench), _ledger.of(workbench.workspace)
    waiting = ledger.pending(params.model.name, params.data.name, before=now)
    if not any(presses(line, entry, now) for entry in waiting):
        return []
    known = {entry.batch for entry in ledger.listed(state=_SEALED, model=params.model.name)}
    return [key for key in tick(line, workbench, instance, now) if key not in known]


def presses(line: Line, entry: Entry, now: datetime) -> bool:
    """Whether a pending request can wait no longer: of the shorter of the law's time and the line's own."""
    received = datetime.fromisoformat(entry.received_at)
    due = min(datetime.fromisoformat(entry.due_at), received + timedelta(days=line.sla_days))
    if now >= received + (due - received) * line.seal_early_at:
        return True
    return line.seal_early_days_left is not None and due - now <= timedelta(days=line.seal_early_days_left)


def not_started(line: Line, workbench: Workbench, instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Batches of this line that were sealed a while ago and have no run: whoever would have asked for one died."""
    model, ledger = line.read(workbench).model.name, _ledger.of(workbench.workspace)
    sealed = {entry.batch: None for entry in ledger.listed(state=_SEALED, model=model) if entry.batch is not None}
    found = []
    for key in sealed:
        if not key.startswith(f"{line.name}-") or instance.get_runs_count(dg.RunsFilter(tags={PARTITION: key})):
            continue
        batch = _seal(line, workbench, key, now)  # in the ledger it is sealed; its folder may be missing
        if now - _sealed_at(batch) >= STARTS_WITHIN:
            line.open_batch(instance, key)
            found.append(key)
    return found


def asked(line: Line, workbench: Workbench, keys: Iterable[str]) -> list[dg.RunRequest]:
    """A run for each, named by its batch: Dagster starts one of that name once."""
    return [
        dg.RunRequest(
            run_key=key, partition_key=key, tags={**line.tags, MODEL_TAG: line.read(workbench, key).model.name}
        )
        for key in dict.fromkeys(keys)
    ]


def _seal(line: Line, workbench: Workbench, key: str, before: datetime) -> BatchFolder:
    """Pin the parameters, then seal: from its first moment a batch is made with one set of them."""
    if workbench.params is None and workbench.pinned(key) is None:
        line.launch(workbench).pin(workbench.workspace, key)
    params, batch = line.open(workbench, key)
    seal.run(params, batch, silent, before=before, most=line.max_batch)
    return batch


def _sealed_at(batch: BatchFolder) -> datetime:
    return datetime.fromisoformat(files.read_json(batch.requests.with_name("batch.json"))["sealed_at"])
