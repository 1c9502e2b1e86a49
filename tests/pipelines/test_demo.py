"""`make demo`, in small and for real: every verb, every process, what is printed and what it exits with."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from pipelines import summary
from tests.pipelines.tiny import COMMAND, demo, env, tiny_params
from unlearning import files, gates
from unlearning.evidence import verification
from unlearning.params import Params
from unlearning.stages import STAGES

_LENIENT = {"forgetting_at_least": -10.0, "retention_at_least": -10.0}


@dataclass(frozen=True)
class Demo:
    """A demo that ran once, in its own folder."""

    home: Path
    params: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def ran_demo(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo")
    params = tiny_params(repository, home / "params.yaml", **_LENIENT)
    return Demo(home, params, demo(repository, home))


def test_it_ends_well_with_the_table_and_the_path_of_the_report(ran_demo: Demo) -> None:
    done = ran_demo.done
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "report: var/batches/demo/evaluation_report/report.json"
    for word in ("forget, held out", "retain", "holdout", "original", "unlearned", "reference", "verdict: passed"):
        assert word in done.stdout
    assert "served now:           digits-mae version 1" in done.stdout
    assert "http://127.0.0.1:5000/#/experiments/" in done.stdout
    assert "original_checkpoint: 100%" in done.stderr  # the child's bars are seen
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_what_it_made_verifies_offline(ran_demo: Demo) -> None:
    found = verification.verify(ran_demo.home / "var" / "batches" / "demo")
    assert found.mismatches == ()
    assert found.status == "issued"


def test_dagster_shows_the_run_afterwards(ran_demo: Demo) -> None:
    with dg.DagsterInstance.from_config(str(ran_demo.home / "var" / "dagster")) as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_dynamic_partitions("deletion_batch") == ["demo"]
        for name in [*STAGES, "model_promotion"]:
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {"demo"}
        event = instance.get_latest_materialization_event(dg.AssetKey("evaluation_report"))
        assert event is not None
        assert event.asset_materialization is not None
        assert "figure_pictures" in event.asset_materialization.metadata


def test_again_it_reuses_everything_and_says_so(ran_demo: Demo, repository: Path) -> None:
    again = demo(repository, ran_demo.home)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "9 of 9 assets were made before and are reused" in again.stdout
    assert again.stdout.split("Mean squared")[1] == ran_demo.done.stdout.split("Mean squared")[1]


@pytest.mark.slow
def test_a_stricter_gate_refuses_with_3(ran_demo: Demo, repository: Path) -> None:
    strict = tiny_params(repository, ran_demo.home / "strict.yaml", **{**_LENIENT, "retention_at_least": 5.0})
    done = demo(repository, ran_demo.home, "--params", str(strict))
    assert done.returncode == 3, done.stderr[-3000:]
    assert "verdict: refused" in done.stdout
    assert "retention           fail" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("report: ")
    certificate = files.read_json(ran_demo.home / "var" / "batches" / "demo" / "certificate" / "certificate.json")
    assert certificate["status"] == "refused"


@pytest.mark.slow
def test_stopped_it_says_how_to_go_on_and_leaves_nobody_behind(repository: Path, tmp_path: Path) -> None:
    tiny_params(repository, tmp_path / "params.yaml")
    with subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=env(repository, tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stderr is not None
        seen = ""
        while "original_checkpoint:" not in seen:
            seen += running.stderr.read(1)
            assert running.poll() is None, seen
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130, seen + rest
    assert rest.endswith("unlearning: stopped; the same command again resumes\n")
    assert "Traceback" not in rest
    batch = tmp_path / "var" / "batches" / "demo"
    with files.locked(batch / ".locks" / "original_checkpoint", "original_checkpoint"):
        assert not (batch / "original_checkpoint").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--params", "none.yaml"], "none.yaml: there is no such file"),
        (["--batch", "No Name"], "batch key 'No Name' is not a plain name"),
        (["--requests", "none.jsonl"], "none.jsonl"),
        (["--source", "no-such-folder"], "no-such-folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    repository: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    tiny_params(repository, tmp_path / "params.yaml")
    done = demo(repository, tmp_path, *words)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("unlearning: ")]
    assert sentence in line
    assert "Traceback" not in done.stderr


def test_another_data_set_without_a_source_is_told_what_to_name(repository: Path, tmp_path: Path) -> None:
    params = tiny_params(repository, tmp_path / "faces.yaml")
    params.write_text(params.read_text().replace("name: digits\n", "name: faces\n"))
    done = demo(repository, tmp_path, "--params", str(params))
    assert done.returncode == 2
    assert "there is no data set 'faces'" in done.stderr
    assert "--source" in done.stderr


def test_the_table_lines_up_and_says_what_was_not_measured(repository: Path) -> None:
    params = Params.read(repository / "params.yaml")
    report = {
        "goal": "unreconstructable",
        "confidence": 0.95,
        "sets": {"forget": {"images": 3, "metrics": {"original": {"mse": 0.5}, "unlearned": {"mse": 0.25}}}},
        "scores": {"forgetting": {"value": 0.91, "low": None, "high": 1.0, "set": "forget"}, "retention": None},
    }
    text = summary.text(report, gates.evaluate(report, params.gates, {}))
    assert "forget       3    0.5000     0.2500  not measured" in text
    assert "forgetting  0.910  not measured … 1.000  forget" in text
    assert text.endswith("verdict: refused")
