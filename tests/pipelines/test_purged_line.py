"""A line whose models are really trained: promoted, purged by its sensor and its job, and the next batch is made of
what is left. Everything that was certified before can still be verified, and proved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.automation import sensors
from pipelines.line import Line as OneLine
from pipelines.purging import purge_job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from tests import toy_batch, toys
from tests.pipelines.greys import root_of_greys
from tests.pipelines.line import OVERRIDES, QUIET, Line, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.data import index, manifest
from unlearning.evidence import bundle, lineage, promotion, proofs, purge
from unlearning.log import silent
from unlearning.stages import STAGES
from unlearning.verbs import prove, verify
from unlearning.verbs import purge as verb
from unlearning.workspace import BatchFolder

TRAINED: dict[str, Any] = {
    "generator": {"kind": "mae", **toys.SMALL_MAE},
    "original": {"steps": 100, "batch_size": 8, "warmup_steps": 5, "learning_rate": 1e-2},
    "unlearn.budget": {"steps": 5, "batch_size": 8, "warmup_steps": 0, "learning_rate": 1e-4},
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "report.pictures": 2,
    # What so short a training comes to is not what is tried here.
    "gates.retention_at_least.value": -100.0,
    "gates.forgetting_at_least.value": -100.0,
    "gates.reference_distance_at_most.value": 100.0,
}


def _workbench(line: Line) -> Workbench:
    return Workbench(root=str(line.workspace.root), params=str(line.params), overrides={**OVERRIDES, **TRAINED})


@pytest.fixture
def greys(repository: Path, tmp_path: Path, empty_database: Path) -> Iterator[Line]:
    """Pictures that a small model learns in seconds."""
    root_of_greys(tmp_path, empty_database)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(tmp_path, repository / "params.yaml", instance)


def _made(line: Line, number: int, person: str) -> BatchFolder:
    """Batch `b<number>` from its request to its promotion."""
    wanted = {"request_id": toy_batch.request_id(number), "selectors": [{"subject": person}]}
    toy_batch.file_requests(line.workspace, toy_batch.request_body(**wanted))
    key = f"b{number}"
    done = line.run(key, compute=SameProcess(), **TRAINED)
    assert materialized(done).keys() == {*STAGES, "model_promotion"}, errors(done)
    return line.batch(key)


def _purged(line: Line, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Eight days later: what the sensor asks for, and each of it done by the job."""
    monkeypatch.setattr(sensors, "now", lambda: datetime.now(UTC) + timedelta(days=8))
    (sensor,) = [one for one in sensors.of_line(OneLine()) if one.name == "purges"]
    with dg.build_sensor_context(instance=line.instance, resources={"workbench": _workbench(line)}) as context:
        answer: Any = sensor(context)
    resources = {"workbench": _workbench(line), "mlflow": MlflowTracking(), "dvc": Dvc(project=str(line.home))}
    asked = [str(one.partition_key) for one in answer.run_requests or []]
    for key in asked:
        done = purge_job(OneLine()).execute_in_process(
            run_config=QUIET, resources=resources, instance=line.instance, partition_key=key
        )
        assert done.success
    return asked


def _image(line: Line, table: pa.Table, row: int) -> tuple[str, bytes]:
    """Key and bytes of one stored image."""
    one = table.slice(row, 1).to_pylist()[0]
    with index.shard_path(line.workspace, one["dataset"], one["shard"]).open("rb") as shard:
        shard.seek(one["offset"])
        return one["key"], shard.read(one["bytes"])


def _weights(place: Path) -> set[bytes]:
    return {path.read_bytes() for path in place.rglob("*.safetensors")}


@pytest.mark.slow
def test_the_next_batch_is_made_of_what_a_purge_left_and_everything_is_still_proved(
    greys: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = _made(greys, 1, "person-6")
    forgotten, table = manifest.read(first.forget), index.read(greys.workspace.dataset("toys"))
    key, content = _image(greys, forgotten, 0)
    knew = (first.original / "model.safetensors").read_bytes()
    assert knew in _weights(greys.workspace.root)
    before = prove.of_sample(key, first)

    assert _purged(greys, monkeypatch) == ["b1"]

    record = purge.read(first)
    assert record is not None
    assert (record.status, record.scan.hits) == ("complete", 0)
    assert knew not in _weights(greys.workspace.root)
    left = index.read(greys.workspace.dataset("toys"))
    assert set(left["key"].to_pylist()) == set(table["key"].to_pylist()) - set(forgotten["key"].to_pylist())
    copy = tmp_path / "var" / "notes.png"
    copy.write_bytes(content)  # the scan is no blind one
    assert [hit.path for hit in verb.scan(greys.workspace, [greys.workspace.root], silent).hits] == [copy]
    copy.unlink()

    second = _made(greys, 2, "person-2")  # of shards that were written anew

    assert lineage.read(second, "original_checkpoint").facts["source"] == "champion"
    report = files.read_json(second.report)
    assert {row["name"]: row["status"] for row in report["criteria"]}["earlier_purged"] == "pass"
    now = promotion.champion(greys.workspace, greys.read_params().model.name)
    assert now is not None
    assert (now.batch, now.version) == ("b2", 2)

    assert _purged(greys, monkeypatch) == ["b2"]  # the first is complete, and is not asked for again

    for batch in (first, second):
        found = verify.run(batch.path)
        assert found.verified, found.mismatches
        said = bundle.of_batch(batch).purge
        assert said is not None
        assert said.status == "complete"
    # Of an image that is nowhere stored any more: by the kept manifest, and by bytes that only its subject has.
    assert prove.of_sample(key, first) == before == prove.of_image(content, first)
    assert proofs.problems(proofs.read(before, "the proof"), bundle.roots(first), content) == []
