"""Two lines side by side, week after week: whose requests, whose parameters, whose champion; refusals and crashes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.automation import alarms, sealing
from pipelines.line import LINE_TAG, MODEL_TAG
from pipelines.resources.workbench import Launch
from tests.pipelines.line import errors, failures, materialized
from tests.pipelines.two_lines import Location, Mortal, later
from tests.toy_batch import file_requests, request_body, request_id, toy_workspace
from unlearning import files
from unlearning.evidence import promotion
from unlearning.requests import batch_keys
from unlearning.stages import STAGES


@pytest.fixture
def location(tmp_path: Path, repository: Path) -> Iterator[Location]:
    file_requests(toy_workspace(tmp_path), request_body())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Location(tmp_path, repository, instance)


def _states(location: Location) -> dict[str, str]:
    return {str(entry.model): entry.state for entry in location.ledger.entries()}


def _alarms(location: Location) -> list[dict[str, object]]:
    path = alarms.file(location.workspace)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_one_request_is_forgotten_by_both_models_and_a_crash_is_gone_on_from(location: Location) -> None:
    diary = location.home / "diary"
    compute = Mortal(stage="unlearned_checkpoint", deaths=1, diary=str(diary))
    location = Location(location.home, location.repository, location.instance, compute)
    location.ledger.register("digits-mae", "toys")
    location.ledger.register("toys-two", "toys")
    at = later()
    for line, model in ((location.first, "digits-mae"), (location.second, "toys-two")):
        [asked] = location.tick(line, at)
        key = batch_keys.of_tick(line.name, at)
        assert (asked.run_key, asked.partition_key) == (key, key)
        assert (asked.tags[MODEL_TAG], asked.tags[LINE_TAG]) == (model, line.name)
        assert location.instance.get_dynamic_partitions(line.partition_set) == [key]
        result = location.run(line, key)
        assert result.success, errors(result)
        assert set(materialized(result)) == {"/".join([*line.prefix, name]) for name in [*STAGES, "model_promotion"]}
        served = promotion.champion(location.workspace, model)
        assert served is not None
        assert (served.version, served.batch) == (1, key)
    assert _states(location) == {"digits-mae": "promoted", "toys-two": "promoted"}
    launches = diary.read_text().splitlines()
    for line in (location.first, location.second):
        assert launches.count(f"{batch_keys.of_tick(line.name, at)} unlearned_checkpoint") == 2
        assert launches.count(f"{batch_keys.of_tick(line.name, at)} reference_checkpoint") == 1
    rows = materialized(result)["second/evaluation_report"].metadata["inputs"].value
    made = {record.data["input"]: record.data["made_by"] for record in rows.records}
    assert made["unlearned_checkpoint"].startswith(f"run {result.run_id[:8]}")  # the line's own event, by its prefix
    assert location.tick(location.second, at + timedelta(days=7)) == []


def test_a_tick_that_is_killed_anywhere_gives_the_same_batches_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = request_body(request_id=request_id(2), goal="never_seen")
    file_requests(location.workspace, other)
    at, line = later(), location.second
    wanted = [batch_keys.of_tick("second", at), batch_keys.of_tick("second", at, 2)]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for where, what in ((Launch, "pin"), (type(line), "open_batch")):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, killed)
            with pytest.raises(KeyboardInterrupt):
                location.tick(line, at)
    answer = location.tick(line, at)
    assert [asked.partition_key for asked in answer] == wanted
    assert location.tick(line, at) == answer
    goals = {entry.goal for key in wanted for entry in location.ledger.entries(key)}
    assert [len(location.ledger.entries(key)) for key in wanted] == [1, 1]
    assert goals == {"unreconstructable", "never_seen"}
    pinned = location.workbench.pinned(wanted[1])
    assert pinned == location.second.launch(location.workbench)


def test_what_was_sealed_and_never_started_is_found(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    at, line = later(), location.second
    location.tick(line, at)  # and the daemon dies here
    key = batch_keys.of_tick("second", at)

    def found(now: datetime) -> list[str]:
        return sealing.not_started(line, location.workbench, location.instance, now)

    assert found(at) == []  # its run may be on its way
    assert found(at + timedelta(hours=1)) == [key]
    assert sealing.not_started(location.first, location.workbench, location.instance, at + timedelta(hours=1)) == []
    location.instance.create_run_for_job(
        location.defs.resolve_job_def("second_unlearn_batch"), tags={sealing.PARTITION: key}
    )
    assert found(at + timedelta(hours=1)) == []


def test_a_deadline_seals_early_and_only_then(location: Location) -> None:
    line = location.second
    assert line.sla_days * line.seal_early_at == 10.5
    for days, sealed in ((10, False), (11, True)):
        now = later(days=days)
        keys = sealing.early(line, location.workbench, location.instance, now)
        assert keys == ([batch_keys.of_tick("second", now)] if sealed else [])
    assert sealing.early(line, location.workbench, location.instance, later(days=12)) == []
    patient = Location(location.home, location.repository, location.instance, options={"seal_early_at": 1.0})
    [entry] = location.ledger.entries()
    assert not sealing.presses(patient.second, entry, later(days=20))
    hasty = Location(
        location.home,
        location.repository,
        location.instance,
        options={"seal_early_at": 1.0, "seal_early_days_left": 5},
    )
    assert sealing.presses(hasty.second, entry, later(days=16))


def test_a_refused_batch_is_recorded_and_requeued_until_a_person_is_asked(location: Location) -> None:
    options = {"on_refusal": "requeue", "max_attempts": 2}
    refusing = Location(
        location.home, location.repository, location.instance, Mortal(forgetting=0.5, diary="diary"), options=options
    )
    line, at = refusing.second, later()
    for attempt in (1, 2):
        week = at + timedelta(days=7 * attempt)
        key = batch_keys.of_tick("second", week)
        assert [asked.partition_key for asked in refusing.tick(line, week)] == [key]
        result = refusing.run(line, key)
        assert not result.success
        for _ in range(2):  # a sensor may look twice at one run
            assert refusing.failed(line, result) is None
        record = files.read_json(refusing.workspace.batch(key).path / "refusals" / f"{result.run_id}.json")
        assert (record["batch"], record["run"], record["step"]) == (key, result.run_id, "gates")
        assert record["sentence"] == "the gates refused: forgetting, forgetting_trained"
        assert files.read_json(refusing.workspace.batch(key).requests.with_name("batch.json"))["attempts"] == attempt
        assert [entry.state for entry in refusing.ledger.entries(key)] == ["requeued" if attempt == 1 else "failed"]
    assert {alarm["kind"] for alarm in _alarms(refusing)} == {"needs_a_human"}
    assert refusing.tick(line, at + timedelta(days=21)) == []
    skipped = refusing.failed(refusing.first, result)
    assert isinstance(skipped, dg.SkipReason)


def test_a_refused_input_waits_for_a_person_and_tells_no_value(location: Location) -> None:
    line, at = location.second, later()
    location.tick(line, at)
    key = batch_keys.of_tick("second", at)
    compute = Mortal(refuses="reference_checkpoint", diary="diary")
    refusing = Location(location.home, location.repository, location.instance, compute)
    result = refusing.run(line, key)
    assert list(failures(result)) == ["second__reference_checkpoint"]
    assert Path("diary").read_text().count("reference_checkpoint") == 1  # a refusal is not tried again
    refusing.failed(line, result)
    [alarm] = _alarms(refusing)
    assert (alarm["step"], alarm["line"], alarm["kind"]) == ("second__reference_checkpoint", "second", "needs_a_human")
    assert str(alarm["sentence"]).startswith("shard toys-000000.tar is truncated")
    assert [entry.state for entry in refusing.ledger.entries(key)] == ["failed"]


def test_a_crash_fails_nobody(location: Location) -> None:
    line, at = location.second, later()
    location.tick(line, at)
    key = batch_keys.of_tick("second", at)
    compute = Mortal(stage="reference_checkpoint", deaths=9, diary="diary")
    dying = Location(location.home, location.repository, location.instance, compute)
    result = dying.run(line, key)
    assert not result.success
    assert Path("diary").read_text().count("reference_checkpoint") == 1 + line.crash_retries
    dying.failed(line, result)
    assert [alarm["kind"] for alarm in _alarms(dying)] == ["crashed"]
    assert not (dying.workspace.batch(key).path / "refusals").exists()
    assert [entry.state for entry in dying.ledger.entries(key)] == ["unlearning"]
    healed = location.run(line, key)
    assert healed.success, errors(healed)
    assert _states(location)["toys-two"] == "promoted"
