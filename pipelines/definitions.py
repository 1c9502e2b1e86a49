"""The code location: everything below defs/, one executor. Needs no environment variable, and imports no torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs and resources. One process a run: the compute is in a process of its own anyway."""
    found = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions(
        assets=found.assets,
        asset_checks=[_as_check(one) for one in found.asset_checks or ()],
        jobs=found.jobs,
        schedules=found.schedules,
        sensors=found.sensors,
        resources=found.resources,
        metadata=found.metadata,
        component_tree=found.component_tree,
        executor=dg.in_process_executor,
    )


def _as_check(found: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """A component's checks come back as assets, and Dagster warns of its own beta parameter whenever it turns them."""
    if isinstance(found, dg.AssetChecksDefinition):
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AssetChecksDefinition(**found.get_attributes_dict())
