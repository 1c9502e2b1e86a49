"""A study in Dagster: a partition a point, made in the compute process, and one front over all that are finished.

Dagster reads the annotations of its functions as types, so no file that holds one postpones their evaluation.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import metadata
from pipelines.making import OWNERS, refusals
from pipelines.partitions import open_points, study_points
from pipelines.resources.compute import Compute, StudyJob
from pipelines.resources.workbench import Workbench
from unlearning import files
from unlearning.errors import ParamsError, StorageError
from unlearning.studies import Plans
from unlearning.workspace import Workspace

GROUP = "study"
_MADE_BY = "Dagster: partitions of study_points, asset sweep_front"
_WORTH_SHOWING = ("forgetting", "forgetting_trained", "retention", "sibling_retention", "reference_forgetting")


def launch(instance: dg.DagsterInstance, plans: Plans, workspace: Workspace) -> list[str]:
    """Remember where the study's file lies and make its partitions; the keys that are new."""
    files.write_json(_launched(workspace, plans.study.name), {"file": str(plans.file.resolve())})
    return open_points(instance, plans)


def point_asset() -> dg.AssetsDefinition:
    """One unlearning run of a study: its base first, where that is not there yet, then the point."""

    @dg.asset(
        name="sweep_point",
        deps=["image_dataset"],
        partitions_def=study_points,
        group_name=GROUP,
        kinds={"pytorch", "json"},
        owners=OWNERS,
        pool="gpu",
        description="One point of a study: method, value and seed on a shared original. Open a study's points with "
        "`python -m pipelines.study FILE`.",
    )
    def make(context: dg.AssetExecutionContext, workbench: Workbench, compute: Compute) -> dg.MaterializeResult[Any]:
        with refusals():
            from unlearning.verbs import study  # brings matplotlib: not at definition load

            workspace = workbench.workspace
            name, _, identity = context.partition_key.partition(":")
            plans = read(workspace, name)
            point = plans.point(identity)
            for stage, what in (("base", point.base.id), ("point", point.id)):
                compute.launch(context, StudyJob(stage, what, plans.file, workspace.root))
            return _shown(study.point_folder(plans, identity, workspace))

    return make


def front_asset() -> dg.AssetsDefinition:
    """The table and the picture of every study, from whatever is finished."""

    @dg.asset(
        name="sweep_front",
        deps=["sweep_point"],
        group_name=GROUP,
        kinds={"markdown", "png"},
        owners=OWNERS,
        description="What the finished points of each study come to: means over seeds, hypervolume, Pareto picture.",
    )
    def make(context: dg.AssetExecutionContext, workbench: Workbench) -> dg.MaterializeResult[Any]:
        with refusals():
            workspace = workbench.workspace
            names = sorted(path.parent.name for path in (workspace.root / "studies").glob("*/launch.json"))
            if not names:
                raise ParamsError("no study was opened here; `python -m pipelines.study FILE` opens one")
            shown: dict[str, Any] = {}
            for name in names:
                shown |= _front(read(workspace, name), workspace)
            return dg.MaterializeResult(metadata=shown)

    return make


def read(workspace: Workspace, name: str) -> Plans:
    """The study that was opened under `name`. Raises ParamsError."""
    try:
        return Plans.read(Path(files.read_json(_launched(workspace, name))["file"]))
    except (StorageError, KeyError, TypeError):
        raise ParamsError(
            f"no study {name[:64]!r} was opened here; `python -m pipelines.study FILE` opens one"
        ) from None


def _front(plans: Plans, workspace: Workspace) -> dict[str, Any]:
    from unlearning.verbs import study  # brings matplotlib: not at definition load

    found = study.write(plans, workspace, _MADE_BY)
    folder, name = study.folder(plans, workspace), plans.study.name
    volumes = {
        f"hypervolume_{name}_{panel['forget']}_{panel['corruption']}_{line['method']}": line["hypervolume"]
        for panel in found["panels"]
        for line in panel["methods"]
    }
    return {
        f"table_{name}": dg.MetadataValue.md((folder / "table.md").read_text(encoding="utf-8")),
        f"pareto_{name}": metadata.picture(folder / "pareto.png"),
        f"finished_{name}": dg.MetadataValue.int(found["counts"]["finished"]),
        f"path_{name}": dg.MetadataValue.path(str(folder)),
        **{key: dg.MetadataValue.float(value) for key, value in volumes.items()},
    }


def _shown(folder: Path) -> dg.MaterializeResult[Any]:
    """What point.json says, as numbers that Dagster plots over the partitions."""
    record = files.read_json(folder / "point.json")
    scores = {name: record["scores"].get(name) for name in _WORTH_SHOWING}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"sha256:{record['lineage']['evaluation_report']}"),
        metadata={
            **{name: dg.MetadataValue.float(score["value"]) for name, score in scores.items() if score is not None},
            "steps": dg.MetadataValue.int(record["steps"]),
            "seconds": dg.MetadataValue.float(record["seconds"]),
            "path": dg.MetadataValue.path(str(folder)),
            "lineage": dg.MetadataValue.json(record["lineage"]),
        },
    )


def _launched(workspace: Workspace, name: str) -> Path:
    return workspace.root / "studies" / name / "launch.json"
