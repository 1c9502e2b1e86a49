"""A line: one model's recurring operation, and what its assets, partitions, jobs and sensors are called.

Several lines live in one root, one ledger and one code location. The default line has the bare names (`certificate`,
partitions `deletion_batch`, job `unlearn_batch`); every other line puts its own name before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from pipelines.resources.workbench import Launch, Workbench
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.workspace import BatchFolder

DEFAULT = "default"
MODEL_TAG = "unlearning/model"  # of a run; infra/dagster/dagster.yaml lets one run a value work at a time
LINE_TAG = "unlearning/line"  # the same, where a run is started by hand and no parameter file is read


@dataclass(frozen=True, slots=True)
class Line:
    """What pipelines/components/recurring_unlearning.py reads from a defs.yaml; its fields are explained there."""

    name: str = DEFAULT
    model: str | None = None  # None: whatever the parameter file says
    dataset: str | None = None
    params: Path | None = None  # None: the one the batch was launched with, else the settings'
    overrides: Mapping[str, Any] = field(default_factory=dict)
    cron: str = "0 2 * * 1"
    timezone: str = "UTC"
    active: bool = False
    sla_days: int = 21
    seal_early_at: float = 0.5
    seal_early_days_left: int | None = None
    max_batch: int | None = None
    promote: bool = True
    on_refusal: Literal["requeue", "wait"] = "wait"
    max_attempts: int = 3
    freshness_days: int | None = None
    pool: str = "gpu"
    gpus: int | None = None
    crash_retries: int = 2
    crash_delay_s: float = 15.0

    @property
    def prefix(self) -> list[str]:
        """What stands before the names of its assets."""
        return [] if self.name == DEFAULT else [self.name]

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """One partition a batch, never one a request or a person: keys stay in the event log for ever."""
        return dg.DynamicPartitionsDefinition(name=self.partition_set)

    @property
    def partition_set(self) -> str:
        """The name of its partitions."""
        return "deletion_batch" if self.name == DEFAULT else f"{self.name}_batch"

    @property
    def freshness(self) -> dg.FreshnessPolicy | None:
        """When its certificate and its promotion count as stale; None: never."""
        if self.freshness_days is None:
            return None
        return dg.FreshnessPolicy.time_window(timedelta(days=self.freshness_days))

    @property
    def tags(self) -> dict[str, str]:
        """Of every run of its jobs."""
        return {LINE_TAG: self.name, **({MODEL_TAG: self.model} if self.model is not None else {})}

    def key(self, asset: str) -> dg.AssetKey:
        """The asset of that name."""
        return dg.AssetKey([*self.prefix, asset])

    def called(self, what: str) -> str:
        """A group, job, schedule or sensor of that name."""
        return "_".join([*self.prefix, what])

    def open_batch(self, instance: dg.DagsterInstance, key: str) -> bool:
        """Make the partition `key`; False if it is there already. What a key may be, `Workspace.batch` says."""
        if instance.has_dynamic_partition(self.partition_set, key):
            return False
        instance.add_dynamic_partitions(self.partition_set, [key])
        return True

    def has(self, instance: dg.DagsterInstance, key: str | None) -> bool:
        """Whether `key` is one of its partitions."""
        return key is not None and instance.has_dynamic_partition(self.partition_set, key)

    def launch(self, workbench: Workbench, batch: str | None = None) -> Launch:
        """With which parameters `batch` is made: those it was launched with; None: a batch that is sealed now."""
        if workbench.params is not None:
            return Launch(Path(workbench.params), {**self.overrides, **workbench.overrides})
        pinned = workbench.pinned(batch) if batch is not None else None
        return pinned or Launch((self.params or Settings().params).resolve(), {**self.overrides, **workbench.overrides})

    def read(self, workbench: Workbench, batch: str | None = None) -> Params:
        """Those parameters. Raises ParamsError, also where they are about another model or data set."""
        launch = self.launch(workbench, batch)
        params = Params.read(launch.params, launch.overrides)
        self.check(params)
        return params

    def check(self, params: Params) -> None:
        """Raise ParamsError where they are about another model or data set than the line."""
        for what, wanted, found in (
            ("model.name", self.model, params.model.name),
            ("data.name", self.dataset, params.data.name),
        ):
            if wanted is not None and wanted != found:
                raise ParamsError(
                    f"line {self.name} is about {what} {wanted!r}, and its parameters say {found!r}; "
                    f"set overrides: {{{what}: {wanted}}} in its defs.yaml, or name the file that is about it"
                )

    def open(self, workbench: Workbench, batch: str) -> tuple[Params, BatchFolder]:
        """Parameters and folder of `batch`. Raises ParamsError, and UnlearningError for a key that is no plain name."""
        folder = workbench.workspace.batch(batch)
        return self.read(workbench, batch), folder
