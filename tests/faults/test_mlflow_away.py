"""MLflow dead, mute, failing or dying in the middle of a run: the run ends with the bytes that it ends with anyway."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from pipelines import outbox
from pipelines.resources.compute import Job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Place, Tracking
from tests.faults.registry import Campaign, Fault
from tests.pipelines.line import OVERRIDES, Line, ToyCompute, errors
from tests.toy_batch import file_requests, request_body, toy_workspace
from unlearning import digests

AWAY = Fault(
    "mlflow",
    "MLflow is dead, mute, answers 500, or dies during the run",
    "a whole line in Dagster, ingest to promotion",
    "the run ends with the same bytes; what MLflow did not take waits, and says the same when it is delivered",
    "files are the truth and MLflow a picture of them; one bounded call, then it is not asked again",
)
SAME = ("forget_manifest", "retain_proxy_set", "original_checkpoint", "reference_checkpoint", "unlearned_checkpoint")


@contextmanager
def _server(kind: str) -> Iterator[str]:
    """Its address. `mute` accepts and says nothing; `failing` says 500; `dying` says 500 twice, then is gone."""
    heard, over = [0], threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard[0] += 1
            if kind == "mute":
                over.wait(30)
            self.send_error(500)
            if kind == "dying" and heard[0] == 2:
                threading.Thread(target=server.shutdown, daemon=True).start()

        do_POST = do_GET

        def log_message(self, format: str, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    if kind == "dead":
        server.shutdown()
        server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class ToldCompute(ToyCompute):
    """A training that measures something at every step, as pipelines/trainer.py tells it."""

    def launch(self, context: dg.AssetExecutionContext, job: Job) -> None:
        super().launch(context, job)
        uri = job.env.get("MLFLOW_TRACKING_URI")
        tracking = Tracking(Place.under(job.root, uri, 1.0), context.log.warning)
        run = tracking.resume(job.env.get("MLFLOW_RUN_ID", ""), f"{job.batch}.{job.stage}")
        for step in range(200):
            run.metric({"loss": 1.0 / (step + 1), "learning_rate": 0.001 * step}, step)
        run.flush()


@dataclass(frozen=True)
class Undisturbed:
    """The root after the batch was sealed, an empty store, and the line that ran from there with its own MLflow."""

    start: Path
    store: Path
    line: Line

    def copied(self, home: Path, store: bool) -> None:
        """The root once more; with the empty store where MLflow is to answer."""
        shutil.copytree(self.start, home / "var")
        if store:
            (home / "var" / "mlflow").mkdir()
            shutil.copy(self.store, home / "var" / "mlflow" / "mlflow.db")


@pytest.fixture(scope="module")
def undisturbed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    home = tmp_path_factory.mktemp("undisturbed")
    file_requests(toy_workspace(home), request_body())
    place = Place.under(home, None, 3.0)
    Tracking(place, pytest.fail).ask("tests", "look", {}, lambda client: client.search_experiments())
    store = shutil.copy(place.home / "mlflow.db", home / "empty.db")
    with dg.DagsterInstance.ephemeral() as instance:
        sealed = Line(home / "sealed", repository / "params.yaml", instance)
        shutil.copytree(home / "var", sealed.workspace.root)
        assert sealed.run("b1", only=["deletion_requests"]).success
        shutil.copytree(sealed.workspace.root, home / "start", ignore=shutil.ignore_patterns("mlflow"))
        line = Line(home / "ran", repository / "params.yaml", instance)
        found = Undisturbed(home / "start", Path(store), line)
        found.copied(line.home, store=True)
        result = line.run("b1", compute=ToldCompute())
        assert result.success, errors(result)
        yield found


def _told(root: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What MLflow was told of every asset: parameters, the whole history of each number, how it ended. No moment."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run in client.search_runs([one.experiment_id for one in client.search_experiments()]):
        name = (run.data.tags["unlearning.asset"], run.data.tags["unlearning.batch"])
        history = {
            metric: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
        }
        assert name not in found  # one asset, one run
        found[name] = {"params": run.data.params, "metrics": history, "status": run.info.status}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dead", "dying", "failing", "mute"])
def test_the_run_ends_as_ever_and_what_waited_is_told_later(
    campaign: Campaign, undisturbed: Undisturbed, repository: Path, tmp_path: Path, kind: str
) -> None:
    undisturbed.copied(tmp_path, store=False)
    batch = undisturbed.line.batch("b1")
    with campaign.trial(AWAY), dg.DagsterInstance.ephemeral() as instance:
        line = Line(tmp_path, repository / "params.yaml", instance)
        with _server(kind) as uri:
            result = line.run("b1", compute=ToldCompute(), mlflow=MlflowTracking(uri=uri, timeout_s=1.0))
        assert result.success, errors(result)
        for name in SAME:
            assert digests.of_folder(line.batch("b1").asset(name)) == digests.of_folder(batch.asset(name))
        waiting = {path.stem for path in (tmp_path / "var" / "mlflow" / "outbox").glob("*.jsonl")}
        assert {f"b1.{name}" for name in SAME} <= waiting
        shutil.copy(undisturbed.store, tmp_path / "var" / "mlflow" / "mlflow.db")  # MLflow is back
        assert _delivered(line).waiting == ()
        assert _told(line.workspace.root) == _told(undisturbed.line.workspace.root)


def _delivered(line: Line) -> outbox.Delivered:
    root = line.workspace.root
    workbench = Workbench(root=str(root), params=str(line.params), overrides=OVERRIDES)
    return outbox.deliver(workbench, MlflowTracking().connect(root, pytest.fail), Dvc(project=str(line.home)).open())


@pytest.mark.slow
def test_what_its_absence_costs(campaign: Campaign, undisturbed: Undisturbed, repository: Path, tmp_path: Path) -> None:
    """Seconds of the same line, for the table; MLflow's SQLite store answers in the first."""
    for number in range(campaign.times(1, 3 * max(1, campaign.share))):
        for kind in ("answers", "dead", "failing", "mute"):
            home = tmp_path / f"{kind}-{number}"
            home.mkdir()
            undisturbed.copied(home, store=kind == "answers")
            with dg.DagsterInstance.ephemeral() as instance, _server(kind) as uri:
                line = Line(home, repository / "params.yaml", instance)
                tracking = MlflowTracking() if kind == "answers" else MlflowTracking(uri=uri, timeout_s=1.0)
                began = time.perf_counter()
                assert line.run("b1", compute=ToldCompute(), mlflow=tracking).success
            campaign.took(AWAY, kind, time.perf_counter() - began)
