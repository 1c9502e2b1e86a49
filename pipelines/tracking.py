"""MLflow without its waits: every call is bounded, and a server that does not answer is asked once a process.

What could not be said is counted and kept in an outbox (`<home>/outbox/<batch>.<asset>.jsonl`), so the run goes on.
No Dagster here, and no MLflow until a run is opened: the compute process imports this file and may have neither.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipelines.waiting import Outbox

Answer = TypeVar("Answer")
Say = Callable[[str], None]

_REJECTIONS = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}
_silenced: dict[str, str] = {}  # tracking URI -> why this process no longer asks it


@dataclass(frozen=True, slots=True)
class Place:
    """Which MLflow, and where its outbox lies."""

    uri: str
    home: Path
    timeout_s: float = 3.0

    @classmethod
    def under(cls, root: Path, uri: str | None, timeout_s: float) -> Place:
        """The server at `uri`; SQLite below `root` where there is none. SQLite needs an absolute path."""
        home = root.resolve() / "mlflow"
        return cls(uri or f"sqlite:///{home / 'mlflow.db'}", home, timeout_s)

    @property
    def local(self) -> bool:
        """Whether the tracking store is a file below the root."""
        return self.uri.startswith("sqlite:")


@dataclass(frozen=True, slots=True)
class Subject:
    """What one MLflow run is about. The same subject is the same run, however often it is tried."""

    experiment: str  # the model's name
    asset: str
    batch: str
    key: str  # sha256 of everything the asset is a function of

    @property
    def tags(self) -> dict[str, str]:
        """The tags that find the run again."""
        return {"unlearning.asset": self.asset, "unlearning.batch": self.batch, "unlearning.key": self.key}


@dataclass(slots=True)
class Tracking:
    """One process's door to MLflow."""

    place: Place
    say: Say
    skipped: int = 0
    _client: Any = field(default=None, repr=False)

    @property
    def answers(self) -> bool:
        """Whether this process still asks the server."""
        return self.place.uri not in _silenced

    def ask(
        self, outbox: str, what: str, arguments: Mapping[str, Any], action: Callable[[Any], Answer]
    ) -> Answer | None:
        """`action(client)`, or None where MLflow does not take it: then the call stands in the outbox."""
        if not self.answers:
            self.keep(outbox, what, arguments, _silenced[self.place.uri])
            return None
        try:
            with _bounded(self.place):
                return action(self._connected())
        except Exception as error:  # whatever a tracking server does, the run it watches goes on
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if not _answered(error):
                _silenced[self.place.uri] = reason
                self.say(f"MLflow does not answer and is not asked again by this process: {reason}")
            else:
                self.say(f"MLflow refused {what}: {reason}")
            self.keep(outbox, what, arguments, reason)
            return None

    def open(self, subject: Subject, tags: Mapping[str, str]) -> Run:
        """The run of `subject`: found by its tags and resumed, else created."""
        outbox = f"{subject.batch}.{subject.asset}"
        given = {**subject.tags, **tags}

        def find(client: Any) -> tuple[str, str, bool]:
            experiment = self._experiment(client, subject.experiment)
            where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in subject.tags.items())
            found = client.search_runs([experiment], where, max_results=1)
            if not found:
                name = f"{subject.asset} · {subject.batch}"
                return experiment, client.create_run(experiment, tags=given, run_name=name).info.run_id, False
            run = found[0].info
            if run.status != "FINISHED":
                client.update_run(run.run_id, status="RUNNING")
            for name, value in tags.items():
                client.set_tag(run.run_id, name, value)
            return experiment, run.run_id, run.status == "FINISHED"

        found = self.ask(outbox, "open", {"subject": given}, find)
        before = self.outbox(outbox).lines()
        run = Run(self, outbox) if found is None else Run(self, outbox, found[1], found[0], found[2], before)
        run.deliver()
        return run

    def resume(self, run_id: str, outbox: str) -> Run:
        """The run another process opened; without an id its numbers wait in the outbox, for that process to deliver."""
        return Run(self, outbox, run_id or None)

    def _experiment(self, client: Any, name: str) -> str:
        known = client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        folder = self.place.home / "artifacts" / name
        return str(client.create_experiment(name, folder.as_uri() if self.place.local else None))

    def _connected(self) -> Any:
        if self._client is None:
            import mlflow  # 2 s: only where a run is really tracked

            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it announces every table of a new database
            self.place.home.mkdir(parents=True, exist_ok=True)
            self._client = mlflow.MlflowClient(tracking_uri=self.place.uri, registry_uri=self.place.uri)
        return self._client

    def keep(self, outbox: str, what: str, arguments: Mapping[str, Any], reason: str) -> None:
        """Put one call into the outbox and count it."""
        self.skipped += 1
        self.outbox(outbox).keep(what, arguments, reason)

    def again(self) -> None:
        """Ask the server although it did not answer this process before: a process that lives on may outlive that."""
        _silenced.pop(self.place.uri, None)

    def outbox(self, name: str) -> Outbox:
        """Where the calls of one run wait that MLflow did not take."""
        return Outbox(self.place.home / "outbox" / f"{name}.jsonl")


@dataclass(slots=True)
class Run:
    """One MLflow run. `id` is None where MLflow did not answer: then everything goes to the outbox."""

    tracking: Tracking
    outbox: str
    id: str | None = None
    experiment: str = ""
    finished: bool = False  # it was complete before it was opened again
    _before: list[str] = field(default_factory=list, repr=False)  # what waited when it was opened
    _pending: list[tuple[str, float, int, int]] = field(default_factory=list, repr=False)

    @property
    def link(self) -> str | None:
        """The run's page; for the SQLite store, on the server that `make dev` starts."""
        if self.id is None:
            return None
        uri = "http://127.0.0.1:5000" if self.tracking.place.local else self.tracking.place.uri.rstrip("/")
        return f"{uri}/#/experiments/{self.experiment}/runs/{self.id}"

    def params(self, values: Mapping[str, str]) -> None:
        """Parameters, as flat names and text."""

        def log(client: Any, run_id: str) -> None:
            from mlflow.entities import Param

            client.log_batch(run_id, params=[Param(name, value[:6000]) for name, value in values.items()])

        self._ask("params", {"values": dict(values)}, log)

    def metric(self, values: Mapping[str, float], step: int, at: float | None = None) -> None:
        """Remember numbers of one step; `flush` sends them, many at a time.

        at  seconds since 1970; default: now. The same numbers of the same moment are one, however often they are said.
        """
        now = int(1000 * (time.time() if at is None else at))
        self._pending += [(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]

    def flush(self) -> None:
        """Send what `metric` remembers, at most 1,000 numbers a call."""
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), 1000):
            self._send(pending[start : start + 1000])

    def _send(self, numbers: list[tuple[str, float, int, int]]) -> None:
        def log(client: Any, run_id: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run_id, metrics=[Metric(*number) for number in numbers])

        self._ask("metrics", {"numbers": numbers}, log)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one file beside the run."""
        self._ask(
            "artifact", {"path": path, "folder": folder}, lambda client, run: client.log_artifact(run, path, folder)
        )

    def dataset(self, name: str, path: str, sha256: str, md5: str | None, context: str) -> None:
        """Say which data went in: a folder that DVC tracks, by content."""

        def log(client: Any, run_id: str) -> None:
            from mlflow.data.meta_dataset import MetaDataset
            from mlflow.entities import DatasetInput, InputTag

            from pipelines.dvc_dataset import DvcDatasetSource

            dataset = MetaDataset(DvcDatasetSource(path, sha256, md5), name=name, digest=sha256[:32])
            tags = [InputTag("mlflow.data.context", context), InputTag("sha256", sha256)]
            client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), tags)])

        self._ask("dataset", {"name": name, "path": path, "sha256": sha256, "md5": md5}, log)

    def close(self, status: str) -> None:
        """FINISHED, FAILED or KILLED. Once it is finished, what waited before it was opened has been said anew."""
        self.flush()
        self.deliver()
        self._ask("close", {"status": status}, lambda client, run: client.set_terminated(run, status))
        if status == "FINISHED" and self.tracking.answers:
            self.tracking.outbox(self.outbox).drop(self._before)

    def deliver(self) -> None:
        """Send the numbers that wait: the compute process's, or those of an attempt without MLflow.

        They leave the outbox after they were sent: killed between, they are sent again, which MLflow takes for the
        same. Everything else that waits is said anew, from the files.
        """
        if self.id is None or not self.tracking.answers:
            return
        box = self.tracking.outbox(self.outbox)
        lines = [line for line in box.lines() if json.loads(line)["call"] == "metrics"]
        for line in lines:
            numbers = json.loads(line)["arguments"]["numbers"]
            self._send([(name, value, at, step) for name, value, at, step in numbers])
        box.drop(lines)

    def _ask(self, what: str, arguments: Mapping[str, Any], action: Callable[[Any, str], None]) -> None:
        run_id = self.id
        if run_id is None:
            self.tracking.keep(self.outbox, what, arguments, "the run could not be opened")
        else:
            self.tracking.ask(self.outbox, what, arguments, lambda client: action(client, run_id))


def _answered(error: Exception) -> bool:
    """Whether it was this call that was wrong, rather than the server that said nothing."""
    try:
        import requests
        from mlflow.exceptions import MlflowException, RestException
    except ImportError:
        return False
    if isinstance(error, RestException):
        return int(error.get_http_status_code()) < 500
    if isinstance(error, MlflowException):
        return error.error_code in _REJECTIONS
    return not isinstance(error, requests.RequestException | ConnectionError | TimeoutError)


@contextmanager
def _bounded(place: Place) -> Iterator[None]:
    """MLflow's own settings for one call: by default it retries a dead server for 245 s, and asks a global address."""
    timeout_s = place.timeout_s
    limits = {
        "MLFLOW_TRACKING_URI": place.uri,
        "MLFLOW_REGISTRY_URI": place.uri,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, math.ceil(timeout_s))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(max(60, math.ceil(timeout_s))),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
