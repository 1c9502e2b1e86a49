"""A run that is cancelled in Dagster's page while it trains: nothing of it lives on, and the next run resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.partitions import open_batch
from pipelines.resources.compute import Job
from pipelines.resources.mlflow import MlflowTracking
from tests.faults.registry import Campaign, Fault
from tests.pipelines.line import Line, ToyCompute, failures
from tests.toy_batch import toy_workspace
from tests.ui.webserver import serving
from unlearning import digests
from unlearning.evidence import lineage
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

CANCELLED = Fault(
    "cancelled",
    "a run is cancelled in Dagster's page while it trains",
    "a webserver, its run launcher, a training child on digits; also two processes under torchrun",
    "CANCELED; the trainer and its children gone within 10 s, the state kept; the next run ends with the same bytes",
    "the child is a process group that ends as one, and no retry policy hears of it; resumable state",
)
GONE_S = 10.0
ASSET = "original_checkpoint"
BUDGET = {"steps": 300, "batch_size": 32, "learning_rate": 0.002, "warmup_steps": 2, "save_every": 20}
_INSTANCE = {
    "telemetry": {"enabled": False},
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}
_LAUNCH = """mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } }
}"""
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_CANCEL = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"


@dataclass(frozen=True)
class Pages:
    """Dagster behind its own address, as the page in a browser speaks to it."""

    address: str

    def launch(self) -> str:
        """The run's id."""
        selector = {
            "repositoryLocationName": "pipelines.definitions",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [ASSET]}],
            "assetCheckSelection": [],
        }
        tags = [{"key": "dagster/partition", "value": "b1"}]
        told = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
        answer = self._ask(_LAUNCH, params=told)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def status(self, run: str) -> str:
        """STARTED, CANCELED, SUCCESS …"""
        return str(self._ask(_STATUS, id=run)["runOrError"]["status"])

    def cancel(self, run: str) -> None:
        """What the button does."""
        assert self._ask(_CANCEL, id=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def _ask(self, question: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": question, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return dict(said["data"])


def _until(holds: Callable[[], bool], limit_s: float, what: str) -> None:
    """Ask again, twenty times a second."""
    pause = threading.Event()
    for _ in range(int(20 * limit_s)):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError(f"{what}: not within {limit_s:g} s")


def _trainers(root: Path) -> list[int]:
    """Every living process that trains below a root: the child, torchrun, its ranks."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if b"pipelines.trainer" in words and str(root).encode() in words:
            found.append(int(place.parent.name))
    return found


def _params(repository: Path, path: Path) -> Path:
    tree = yaml.safe_load((repository / "params.yaml").read_text())
    tree["original"] = BUDGET
    path.write_text(yaml.safe_dump(tree))
    return path


def _env(repository: Path, root: Path, params: Path, processes: int) -> dict[str, str]:
    ours = {
        "PYTHONPATH": str(repository),
        "OMP_NUM_THREADS": "1",
        "DAGSTER_HOME": str(root / "dagster"),
        "UNLEARNING_ROOT": str(root),
        "UNLEARNING_PARAMS": str(params),
        "UNLEARNING_LAUNCHER": "torchrun" if processes > 1 else "local",
        "UNLEARNING_PROCESSES": str(processes),
    }
    return {**os.environ, **ours}


@contextmanager
def _pages(repository: Path, root: Path, params: Path, processes: int) -> Iterator[Pages]:
    """A webserver over a root in which the batch's partition is open."""
    home = root / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(_INSTANCE))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        open_batch(instance, "b1")
    env = _env(repository, root, params, processes)
    with serving("pipelines.definitions", root.parent, env) as address:
        yield Pages(address)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes below /proc")
@pytest.mark.parametrize("processes", [1, 2])
def test_cancelled_and_run_again(campaign: Campaign, repository: Path, tmp_path: Path, processes: int) -> None:
    params = _params(repository, tmp_path / "params.yaml")
    expected = _undisturbed(repository, tmp_path / "whole", params, processes)
    here = Workspace(tmp_path / "var")
    ingest.run("digits", "digits", here, silent)
    with campaign.trial(CANCELLED), _pages(repository, here.root, params, processes) as pages:
        run = pages.launch()
        _until(lambda: bool(list((here.root / "work").glob("*/state-*.json"))), 120, "a saved state")
        assert len(_trainers(here.root)) >= processes
        pages.cancel(run)
        _until(lambda: not _trainers(here.root), GONE_S, "the trainer and its children are gone")
        _until(lambda: pages.status(run) == "CANCELED", 60, "the run says that it was cancelled")
        assert list((here.root / "work").glob("*/state-*.json"))
        assert not here.batch("b1").original.exists()
        again = pages.launch()
        _until(lambda: pages.status(again) in ("SUCCESS", "FAILURE"), 240, "the next run ends")
        assert pages.status(again) == "SUCCESS"
    assert digests.of_folder(here.batch("b1").original) == expected
    assert lineage.read(here.batch("b1"), ASSET).facts["resumed_from"] > 0


class Cancelled(ToyCompute):
    """Somebody presses the button while it runs."""

    def launch(self, context: dg.AssetExecutionContext, job: Job) -> None:
        context.instance.report_run_canceling(context.run)
        raise KeyboardInterrupt


def test_a_cancelled_step_is_not_tried_again(repository: Path, tmp_path: Path) -> None:
    """Dagster's retry policy would: the run would train on, and end in SUCCESS."""
    toy_workspace(tmp_path)
    nobody = MlflowTracking(uri="http://127.0.0.1:9", timeout_s=0.1)
    with dg.DagsterInstance.ephemeral() as instance:
        line = Line(tmp_path, repository / "params.yaml", instance)
        result = line.run("b1", only=[ASSET], compute=Cancelled(), mlflow=nobody)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELED
        assert [one.event_type_value for one in result.all_events].count("STEP_UP_FOR_RETRY") == 0
        assert "the next run of this batch resumes" in failures(result)[ASSET]


def _undisturbed(repository: Path, root: Path, params: Path, processes: int) -> Any:
    """The files of a training that nobody cancelled."""
    whole = Workspace(root)
    ingest.run("digits", "digits", whole, silent)
    words = [ASSET, "--params", str(params), "--root", str(root), "--batch", "b1", "--processes", str(processes)]
    command = [sys.executable, "-m", "pipelines.trainer", *words]
    subprocess.run(command, env=_env(repository, root, params, processes), check=True, capture_output=True)
    return digests.of_folder(whole.batch("b1").original)
