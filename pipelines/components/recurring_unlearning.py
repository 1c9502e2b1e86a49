"""One model's recurring unlearning, from one defs.yaml: assets, gates, promotion, jobs, schedule and sensors.

Dagster resolves the annotations of a component's fields, so nothing here postpones their evaluation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from pydantic import Field, field_validator

from pipelines import graph
from pipelines.automation import sensors
from pipelines.line import DEFAULT, Line
from unlearning.params import Params
from unlearning.settings import Settings

NAME = r"^[a-z][a-z0-9_]{0,31}$"


class RecurringUnlearning(dg.Component, dg.Model, dg.Resolvable):
    """One model, forgotten from again and again: what was asked is sealed, unlearned, judged, served."""

    name: Annotated[str, Field(pattern=NAME)] = Field(
        default=DEFAULT,
        description="name of the line: a to z, digits, underscore. It stands before every asset, job and sensor, and "
        "in batch keys. One line of a code location may be `default`, whose names are bare",
    )
    model_name: str | None = Field(
        default=None,
        description="model.name, as in the parameter file or set by overrides; a run about another is refused. "
        "Absent: whatever the parameter file says",
    )
    dataset: str | None = Field(
        default=None,
        description="data.name of the ingested data set, as in the parameter file or set by overrides; two lines may "
        "share one: a request about it is then forgotten by both models",
    )
    params: str | None = Field(
        default=None,
        description="parameter file, absolute or from the project's folder; read when the line is loaded, so that "
        "a mistake in it is told then. Absent: the one a batch is launched with, UNLEARNING_PARAMS, or params.yaml",
    )
    overrides: Mapping[str, Any] = Field(
        default={}, description="put over the parameter file, by dotted name: {unlearn.budget.steps: 400}"
    )
    cron: str = Field(default="0 2 * * 1", description="when a batch is sealed and made; default: Mondays at two")
    timezone: str = Field(default="UTC", description="of the cron, as in Europe/Zurich")
    active: bool = Field(
        default=False,
        description="whether its schedule and sensors start switched on; UNLEARNING_AUTOMATION=true does it for all. "
        "What somebody switches in the pages stays as they left it",
    )
    sla_days: int = Field(
        default=21, ge=1, le=365, description="days from receipt within which the forgotten model shall be served"
    )
    seal_early_at: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the time (the shorter of sla_days and the law's) that the oldest pending request may "
        "have used before a batch is sealed without waiting for the cron",
    )
    seal_early_days_left: int | None = Field(
        default=None, ge=0, description="the same in days that are left of that time; whichever comes first"
    )
    max_batch: int | None = Field(
        default=None,
        ge=1,
        description="most requests of one batch; what is over makes more batches, and controllers take turns. "
        "Absent: no limit",
    )
    promote: bool = Field(
        default=True,
        description="whether a run goes on to model_promotion; false: a person materialises it, having read the report",
    )
    on_refusal: Literal["requeue", "wait"] = Field(
        default="wait",
        description="requeue: after a refusal its requests join the next batch, up to max_attempts; wait: for somebody",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=20, description="batches that one request may be tried in before a person is asked"
    )
    freshness_days: int | None = Field(
        default=None,
        ge=1,
        description="days without a certificate and a promotion after which both are shown as stale. Weeks without "
        "requests are stale too. Absent: never",
    )
    pool: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(
        default="gpu", description="Dagster pool that its training holds; lines with accelerators of their own differ"
    )
    gpus: int | None = Field(
        default=None, ge=1, description="processes of a torchrun launch, one a GPU; absent: UNLEARNING_PROCESSES"
    )
    crash_retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="times a step that crashed (a signal, say) goes on; refusals: none",
    )
    crash_delay_s: float = Field(default=15, ge=0, description="seconds before it does")

    @field_validator("cron")
    @classmethod
    def _readable(cls, cron: str) -> str:
        from dagster._utils.schedules import is_valid_cron_schedule  # what @dg.schedule asks, but without the line

        if not is_valid_cron_schedule(cron):
            raise ValueError(f"{cron!r} is not a cron schedule; '0 2 * * 1', Mondays at two, say, is right")
        return cron

    @field_validator("timezone")
    @classmethod
    def _somewhere(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{timezone!r} is not a time zone; 'UTC' or 'Europe/Zurich', say, is right") from None
        return timezone

    def line(self, home: Path) -> Line:
        """The line these attributes describe; `home` is the project's folder. Raises ParamsError."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "model_name"}
        given["active"] = self.active or Settings().automation
        given["params"] = home / self.params if self.params is not None else None
        line = Line(**given, model=self.model_name)
        if line.params is not None:
            line.check(Params.read(line.params, line.overrides))
        return line

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The whole graph of the line."""
        line = self.line(context.project_root)
        return dg.Definitions(
            assets=graph.assets(line),
            asset_checks=graph.checks(line),
            jobs=graph.jobs(line),
            schedules=[sensors.weekly(line)],
            sensors=sensors.of_line(line),
        )
