"""The compute process: its sentence arrives, its death is seen, and it never outlives who started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import trainer
from pipelines.resources.compute import Compute, Job, LocalProcesses
from pipelines.tracking import Place, Tracking
from pipelines.trainer import Reporter
from tests.pipelines.line import OVERRIDES, Line, errors, failures, materialized
from tests.pipelines.stand_in import asked as asked
from unlearning import files
from unlearning.log import Progress, silent


def _prepared(line: Line) -> None:
    assert line.run("b1", only=["deletion_requests", "forget_manifest"]).success


def test_the_child_makes_the_asset_and_its_numbers_reach_mlflow_and_dagster(line: Line, wish: Any) -> None:
    wish("make")
    result = line.run("b1", only=["original_checkpoint"], compute=Compute())
    assert result.success, errors(result)
    assert materialized(result)["original_checkpoint"].metadata["steps"].value == 2
    said = [event.message for event in line.instance.all_logs(result.run_id)]
    assert any("original_checkpoint 2/2 loss=0.25" in message for message in said)
    door = Tracking(Place.under(line.workspace.root, None, 3.0), pytest.fail)

    def look(client: Any) -> list[tuple[int, float]]:
        [run] = client.search_runs([client.get_experiment_by_name("digits-mae").experiment_id])
        return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]

    assert door.ask("x", "look", {}, look) == [(1, 0.5), (2, 0.25)]
    [progress] = (line.workspace.root / "work").rglob("progress.json")
    assert files.read_json(progress)["step"] == 2


def test_the_childs_own_sentence_is_the_failure(line: Line, wish: Any) -> None:
    wish("refuse")
    result = line.run("b1", only=["original_checkpoint"], compute=Compute())
    assert failures(result) == {"original_checkpoint": "shard a.tar is truncated at byte 512; fetch it again"}
    assert not line.batch("b1").original.exists()


def test_a_child_that_dies_without_a_word_is_told_as_such(line: Line, wish: Any) -> None:
    wish("die")
    result = line.run("b1", only=["original_checkpoint"], compute=Compute())
    assert "ended with signal SIGKILL" in failures(result)["original_checkpoint"]
    wish("make")  # its lock died with it
    assert line.run("b1", only=["original_checkpoint"], compute=Compute()).success


def test_the_child_dies_with_its_parent_and_leaves_no_second_writer(line: Line, wish: Any, tmp_path: Path) -> None:
    wish("wait")
    os.mkfifo(tmp_path / "told")
    job = Job("original_checkpoint", "b1", line.workspace.root, line.params, OVERRIDES)
    launch = (
        f"from pipelines.resources.compute import LocalProcesses as L; L()._run({_command(job)!r}, {{}}, lambda: None)"
    )
    paths = os.pathsep.join([str(Path(trainer.__file__).parents[1]), os.environ["PYTHONPATH"]])
    parent = subprocess.Popen([sys.executable, "-c", launch], env={**os.environ, "PYTHONPATH": paths})
    with (tmp_path / "told").open() as told:
        assert told.readline() == "started\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert told.readline() == "left\n"
        assert told.read() == ""  # the kernel closed the last writer's end
    wish("make")
    assert line.run("b1", only=["original_checkpoint"], compute=Compute()).success
    assert list((line.batch("b1").path / ".partial").iterdir()) == []


def test_a_second_trainer_of_the_same_asset_is_refused(line: Line, wish: Any) -> None:
    wish("make")
    batch = line.batch("b1")
    with files.locked(batch.path / ".locks" / "original_checkpoint", "a test"):
        result = line.run("b1", only=["original_checkpoint"], compute=Compute())
    assert "is being made by another process now" in failures(result)["original_checkpoint"]


def test_torchrun_makes_one_asset_with_two_ranks(line: Line, wish: Any) -> None:
    wish("make")
    compute = Compute(launcher="torchrun", processes=2)
    result = line.run("b1", only=["original_checkpoint"], compute=compute)
    assert result.success, errors(result)
    assert materialized(result)["original_checkpoint"].metadata["ranks"].value == "2"


@pytest.mark.parametrize(
    ("stage", "processes"),
    [
        ("original_checkpoint", 2),
        ("reference_checkpoint", 2),
        ("unlearned_checkpoint", 2),
        ("evaluation_report", 1),
        ("interim_filter", 1),
    ],
)
def test_only_what_trains_together_is_made_by_several(stage: str, processes: int, tmp_path: Path) -> None:
    """A second process that evaluates would meet the lock that the first one holds."""
    command = LocalProcesses(processes=2)._command(Job(stage, "b1", tmp_path, tmp_path / "params.yaml"))
    assert (command[-2:] == ["--processes", "2"]) == (processes == 2)
    assert command.count("--processes") == processes - 1


def test_the_trainer_alone_needs_no_dagster_and_no_mlflow(line: Line, wish: Any, repository: Path) -> None:
    wish("make")
    blocked = "import sys; sys.modules['mlflow'] = sys.modules['dagster'] = sys.modules['dagster_pipes'] = None; "
    job = Job("original_checkpoint", "b1", line.workspace.root, line.params, OVERRIDES)
    run = f"from pipelines import trainer; sys.exit(trainer.main({job.words!r}))"
    paths = os.pathsep.join([str(repository), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", blocked + run], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert line.batch("b1").original.is_dir()
    [outbox] = (line.workspace.root / "mlflow" / "outbox").iterdir()
    assert [json.loads(text)["call"] for text in outbox.read_text().splitlines()] == ["metrics", "metrics"]


def test_a_refusal_on_the_command_line_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "die_with_parent", lambda: None)
    monkeypatch.setattr(trainer, "stop_politely", lambda: None)
    words = ["original_checkpoint", "--params", "none.yaml", "--root", str(tmp_path / "var"), "--batch", "b1"]
    assert trainer.main(words) == 2
    said = capsys.readouterr().err
    assert said == "unlearning: none.yaml: there is no such file; name one with --params\n"
    assert not (tmp_path / "var").exists()


def test_lines_are_throttled_but_the_last_one_and_notes_are_not(tmp_path: Path) -> None:
    said: list[str] = []
    now = iter(range(1000))
    door = Tracking(Place.under(tmp_path, "sqlite:///none", 1.0), [].append)
    report = Reporter(
        door.resume("", "b1.x"), said.append, tmp_path / "progress.json", bars=silent, clock=lambda: next(now) / 10
    )
    for step in range(1, 101):
        report(Progress("train", step, 100, {"loss": 1.0}, note="warm" if step == 50 else ""))
    assert said[0] == "train 1/100 loss=1"
    assert "train 50/100 loss=1 warm" in said
    assert said[-1] == "train 100/100 loss=1"
    assert len(said) < 10
    assert files.read_json(tmp_path / "progress.json")["step"] == 100


def _command(job: Job) -> list[str]:
    return [sys.executable, "-m", "pipelines.trainer", *job.words]
