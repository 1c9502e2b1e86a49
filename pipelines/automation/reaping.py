"""Runs that say they work while nobody works on them are reported failed, so that Dagster's retry resumes them."""

from __future__ import annotations

import dagster as dg

from pipelines.automation import alive
from unlearning.workspace import Workspace

_WORKING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING)


def reap(workspace: Workspace, instance: dg.DagsterInstance) -> list[str]:
    """Report every such run; their ids. Runs that ended are forgotten here."""
    reaped = []
    for run_id in alive.known(workspace):
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            alive.ended(workspace, run_id)
        elif alive.state(workspace, run_id) != "gone":
            continue
        elif run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of this run is gone; it was being stopped.")
        elif run.status in _WORKING:
            instance.report_run_failed(run, "The process of this run is gone. What it saved stays: a retry resumes.")
            reaped.append(run_id)
    return reaped
