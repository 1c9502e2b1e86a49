"""MLflow away, slow or back: a run goes on, asks once, and loses no number."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines import registry, tracking
from pipelines.registry import Registered
from pipelines.resources.mlflow import MlflowTracking
from pipelines.tracking import Place, Subject, Tracking
from tests.pipelines.line import Line, ToyCompute, materialized

SUBJECT = Subject("digits-mae", "unlearned_checkpoint", "b1", "k" * 64)


@pytest.fixture(autouse=True)
def _every_server_may_be_asked_again() -> Iterator[None]:
    tracking._silenced.clear()
    yield
    tracking._silenced.clear()


@pytest.fixture
def local(tmp_path: Path, empty_database: Path) -> Place:
    place = Place.under(tmp_path, None, 3.0)
    place.home.mkdir()
    (place.home / "mlflow.db").write_bytes(empty_database.read_bytes())
    return place


@contextmanager
def _mute_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()


def _dead_uri() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def _work(door: Tracking) -> tracking.Run:
    run = door.open(SUBJECT, {"dagster.run_id": "r1"})
    run.params({"unlearn.budget.steps": "8"})
    for step in range(5):
        run.metric({"loss": 1.0 / (step + 1), "broken": float("nan")}, step)
    run.flush()
    run.close("FINISHED")
    return run


def _outbox(place: Place) -> list[dict[str, object]]:
    path = place.home / "outbox" / "b1.unlearned_checkpoint.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_dead_server_is_asked_once_and_everything_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    place = Place.under(tmp_path, _dead_uri(), 1.0)
    door = Tracking(place, said.append)
    run = _work(door)
    assert run.id is None
    assert run.link is None
    assert [line["call"] for line in _outbox(place)] == ["open", "params", "metrics", "close"]
    assert door.skipped == 4
    assert len(said) == 1
    assert "is not asked again by this process" in said[0]


def test_a_hanging_server_costs_one_wait(tmp_path: Path) -> None:
    with _mute_server() as (uri, accepted):
        door = Tracking(Place.under(tmp_path, uri, 1.0), [].append)
        _work(door)
        _work(Tracking(Place.under(tmp_path, uri, 1.0), [].append))
        assert len(accepted) == 1
        assert door.skipped == 4


def test_what_waits_is_delivered_when_the_server_is_back(local: Place) -> None:
    away = Place(_dead_uri(), local.home, 1.0)
    _work(Tracking(away, [].append))
    door = Tracking(local, pytest.fail)
    run = door.open(SUBJECT, {})
    assert run.id is not None
    history = door.ask("b1", "look", {}, lambda client: client.get_metric_history(run.id, "loss"))
    assert history is not None
    assert [(point.step, point.value) for point in history] == [(step, 1.0 / (step + 1)) for step in range(5)]
    assert [line["call"] for line in _outbox(local)] == ["open", "params", "close"]  # said anew by whoever opened it
    run.close("FINISHED")
    assert _outbox(local) == []


def test_a_run_that_failed_is_resumed_and_a_finished_one_is_found(local: Place) -> None:
    door = Tracking(local, pytest.fail)
    first = door.open(SUBJECT, {"dagster.run_id": "r1"})
    first.close("FAILED")
    second = door.open(SUBJECT, {"dagster.run_id": "r2"})
    assert (second.id, second.finished) == (first.id, False)
    second.close("FINISHED")
    third = door.open(SUBJECT, {"dagster.run_id": "r3"})
    assert (third.id, third.finished) == (first.id, True)
    other = door.open(Subject("digits-mae", "unlearned_checkpoint", "b1", "another key"), {})
    assert other.id != first.id


def test_a_refusal_of_one_call_does_not_silence_the_rest(local: Place) -> None:
    said: list[str] = []
    door = Tracking(local, said.append)
    run = door.open(SUBJECT, {})
    run.params({"steps": "8"})
    run.params({"steps": "9"})  # MLflow never changes a parameter
    run.artifact(local.home / "no such file")
    assert door.answers
    assert door.skipped == 2
    assert len(said) == 2
    run.close("FINISHED")
    assert door.open(SUBJECT, {}).finished


def test_a_checkpoint_is_registered_once(local: Place, tmp_path: Path) -> None:
    door = Tracking(local, pytest.fail)
    run = door.open(SUBJECT, {})
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    model = Registered("digits-mae", "a" * 64)
    assert registry.register(run, model, [weights], {"batch": "b1"}) == "1"
    assert registry.register(run, model, [weights], {"batch": "b1"}) == "1"
    assert registry.crown(run, Registered("digits-mae", "never registered"), None) is None


def test_a_dataset_source_survives_the_trip_through_json() -> None:
    from mlflow.data.dataset_source_registry import resolve_dataset_source

    from pipelines.dvc_dataset import DvcDatasetSource

    source = DvcDatasetSource("var/batches/b1/forget_manifest", "a" * 64, "b" * 32)
    again = DvcDatasetSource.from_json(source.to_json())
    assert again.to_dict() == source.to_dict()
    resolved = resolve_dataset_source("dvc://somewhere", candidate_sources=[DvcDatasetSource])
    assert resolved.path == "somewhere"
    with pytest.raises(FileNotFoundError, match="not in the workspace"):
        resolved.load()


def test_the_whole_graph_runs_without_mlflow(line: Line) -> None:
    (line.workspace.root / "mlflow" / "mlflow.db").unlink()
    result = line.run("b1", compute=ToyCompute(), mlflow=MlflowTracking(uri=_dead_uri(), timeout_s=1.0))
    assert result.success
    assert "calls wait in" in str(materialized(result)["unlearned_checkpoint"].metadata["mlflow"].value)
    assert not (line.workspace.root / "mlflow" / "mlflow.db").exists()
    waiting = {path.name for path in (line.workspace.root / "mlflow" / "outbox").iterdir()}
    assert "b1.unlearned_checkpoint.jsonl" in waiting
