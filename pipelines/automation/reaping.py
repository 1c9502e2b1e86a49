"""Runs that say they work while nobody works on them are reported failed, so that Dagster's retry resumes them."""

from __future__ import annotations

import time

import dagster as dg

from pipelines.automation import alive
from pipelines.line import LINE_TAG
from unlearning.workspace import Workspace

_WORKING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING)
_SPEAKS_WITHIN_S = 900.0  # from the start of a line's run until its first step has said where it works


def reap(workspace: Workspace, instance: dg.DagsterInstance, now: float | None = None) -> list[str]:
    """Report every such run; their ids. Runs that ended are forgotten here.

    now  seconds since 1970; default: the clock's
    """
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
    return reaped + [run.run_id for run in _silent(workspace, instance, time.time() if now is None else now)]


def _silent(workspace: Workspace, instance: dg.DagsterInstance, now: float) -> list[dg.DagsterRun]:
    """A line's runs that died before their first step could say where they work, reported failed."""
    spoken, found = set(alive.known(workspace)), []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        run, began = record.dagster_run, record.start_time
        if LINE_TAG not in run.tags or run.run_id in spoken or began is None or now - began < _SPEAKS_WITHIN_S:
            continue
        instance.report_run_failed(run, "The process of this run was never heard of. A retry resumes what there is.")
        found.append(run)
    return found
