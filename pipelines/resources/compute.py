"""Where training and evaluation run: one protocol, Dagster Pipes between, the child never outlives its parent.

`PipesSubprocessClient` loses the child's own sentence when it fails, and leaves torchrun's ranks alive when they save
for longer than its patience. So the session is opened here, and a process group is started and ended as one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import dagster as dg
from pydantic import Field

import pipelines
from unlearning import stages
from unlearning.errors import UnlearningError
from unlearning.settings import LAUNCHERS, Settings

_BEAT_S = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """One stage of one batch, to be made in a compute process."""

    module: ClassVar[str] = "pipelines.trainer"

    stage: str
    batch: str
    root: Path
    params: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    beat: Callable[[], None] = lambda: None  # called now and then while the job runs

    @property
    def words(self) -> list[str]:
        """The command line of pipelines/trainer.py."""
        pairs = [word for name, value in self.overrides.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        places = ["--params", str(self.params.resolve()), "--root", str(self.root), "--batch", self.batch]
        return [self.stage, *places, *pairs]


@dataclass(frozen=True, slots=True)
class StudyJob:
    """The base of a study's point, or the point, to be made in a compute process."""

    module: ClassVar[str] = "pipelines.study_worker"

    stage: str  # base | point
    name: str  # its id
    file: Path
    root: Path
    env: Mapping[str, str] = field(default_factory=lambda: {"UNLEARNING_LEDGER_URL": ""})  # it has a ledger of its own
    beat: Callable[[], None] = lambda: None

    @property
    def words(self) -> list[str]:
        """The command line of pipelines/study_worker.py."""
        return [self.stage, str(self.file), "--name", self.name, "--root", str(self.root)]


class Launcher(Protocol):
    """Runs a job to its end, wherever that is."""

    def __call__(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        """Raises UnlearningError with the verb's own sentence, or dg.Failure when the process died without one."""
        ...


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """On this machine: one process, or `processes` of them under torchrun."""

    processes: int = 1
    grace_s: float = 60.0  # from the request to stop until the kill
    python: str = sys.executable

    def __call__(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        """See Launcher."""
        with _session(context) as session:
            code = self._run(self._command(job), {**job.env, **session.get_bootstrap_env_vars()}, job.beat)
        refused = [m["refused"] for m in session.get_custom_messages() if isinstance(m, dict) and "refused" in m]
        if refused:
            raise UnlearningError(str(refused[0]))
        if code != 0:
            raise dg.Failure(
                f"{job.stage}: the compute process ended with {_spoken(code)}; its own words are in stderr"
            )

    def _command(self, job: Job | StudyJob) -> list[str]:
        many = ["--processes", str(self.processes)] if self.processes > 1 and together(job) else []
        return [self.python, "-m", job.module, *job.words, *many]

    def _run(self, command: Sequence[str], env: Mapping[str, str], beat: Callable[[], None]) -> int:
        home = str(Path(pipelines.__file__).parents[1])  # the child may start in a folder that does not know us
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        inherited = {**os.environ, "PYTHONPATH": path, "UNLEARNING_PARENT": str(os.getpid()), **env}
        process = subprocess.Popen(command, env=inherited, start_new_session=True)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_BEAT_S)
                beat()
        finally:
            if process.poll() is None:  # Dagster was asked to stop
                self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _session(context: dg.AssetExecutionContext) -> Iterator[dg.PipesSession]:
    """A Pipes session over temporary files."""
    with ExitStack() as stack:
        with quiet():
            opened = dg.open_pipes_session(context, dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader())
            session = stack.enter_context(opened)
        yield session


@contextmanager
def quiet() -> Iterator[None]:
    """Dagster calls its own preview and deprecated functions when it opens a session: nothing a user could act on."""
    with warnings.catch_warnings():
        for category in (dg.PreviewWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield


def together(job: Job | StudyJob) -> bool:
    """Whether several processes share the work of this job."""
    return isinstance(job, Job) and stages.named(job.stage).together


class Compute(dg.ConfigurableResource[Any]):
    """Which launcher. What is left out comes from the settings."""

    launcher: str | None = Field(
        default=None,
        pattern=LAUNCHERS,
        description="local | torchrun | kubernetes | ray; default: UNLEARNING_LAUNCHER or local",
    )
    processes: int | None = Field(default=None, ge=1, description="processes of a torchrun launch")
    grace_s: float = Field(default=60.0, gt=0, description="seconds from the request to stop until the kill")

    def launch(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        """Run `job`. Raises what `Launcher` says."""
        self.chosen()(context, job)

    def chosen(self) -> Launcher:
        """The launcher of this resource. What speaks to a cluster is imported only now: it costs seconds."""
        settings = Settings()
        kind = self.launcher or settings.launcher
        if kind == "kubernetes":
            from pipelines.resources.pods import KubernetesPods

            return KubernetesPods(grace_s=self.grace_s)
        if kind == "ray":
            from pipelines.resources.rayjobs import RayJobs

            return RayJobs(grace_s=self.grace_s)
        processes = (self.processes or settings.processes) if kind == "torchrun" else 1
        return LocalProcesses(processes, self.grace_s, settings.python or sys.executable)


def _spoken(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
