"""A platform team's defs.yaml: what it makes, and how a mistake in it is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox
from pydantic import ValidationError

from pipelines.components import RecurringUnlearning
from pipelines.line import LINE_TAG, MODEL_TAG
from unlearning.errors import ParamsError
from unlearning.stages import BESIDE, STAGES

pytestmark = [  # what Dagster's own loader says of Dagster
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

EXAMPLE = Path("infra/lines/second-model.defs.yaml")
PARAMS = Path("infra/params/cifar10.yaml")


@contextmanager
def _loaded(repository: Path, **changes: Any) -> Iterator[dg.Definitions]:
    """The example beside the default line, copied into a defs folder as its first lines say."""
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "cifar10"
        folder.mkdir(parents=True)
        tree = yaml.safe_load((repository / EXAMPLE).read_text())
        tree["attributes"].update(changes)
        (folder / "defs.yaml").write_text(yaml.safe_dump(tree))
        shutil.copytree(repository / "pipelines" / "defs" / "unlearning", sandbox.defs_folder_path / "unlearning")
        shutil.copy(repository / "pipelines" / "defs" / "resources.py", sandbox.defs_folder_path)
        (sandbox.project_root / PARAMS).parent.mkdir(parents=True)
        shutil.copy(repository / PARAMS, sandbox.project_root / PARAMS)
        with sandbox.build_all_defs() as found:
            yield found


def test_the_example_of_a_second_model_gives_the_whole_graph_under_its_own_name(repository: Path) -> None:
    with _loaded(repository) as found:
        graph = found.resolve_asset_graph()
        mine = {key for key in graph.get_all_asset_keys() if key.path[0] == "cifar10"}
        assert {key.path[1] for key in mine} == {*STAGES, *BESIDE, "image_dataset", "model_promotion"}
        assert dg.AssetKey("certificate") in graph.get_all_asset_keys()
        for name in STAGES:
            node = graph.get(dg.AssetKey(["cifar10", name]))
            assert {key.path[-1] for key in node.parent_keys} == set(STAGES[name].inputs)
            assert {key.path[0] for key in node.parent_keys} <= {"cifar10"}
            assert node.partitions_def == dg.DynamicPartitionsDefinition(name="cifar10_batch")
        for name, fresh in (("certificate", True), ("model_promotion", True), ("forget_manifest", False)):
            assert (graph.get(dg.AssetKey(["cifar10", name])).freshness_policy is not None) == fresh
        blocking = {key.name for key in graph.asset_check_keys if key.asset_key.path[0] == "cifar10"}
        assert {"integrity", "forgetting", "retention", "earlier"} <= blocking
        schedule = found.get_repository_def().get_schedule_def("cifar10_weekly")
        assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * 1", "Europe/Zurich")
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
        job = found.resolve_job_def("cifar10_unlearn_batch")
        assert (job.run_tags[MODEL_TAG], job.run_tags[LINE_TAG]) == ("cifar10-mae", "cifar10")


def test_a_line_that_does_not_promote_leaves_the_promotion_to_a_person(repository: Path) -> None:
    for promote in (True, False):
        with _loaded(repository, promote=promote, active=True) as found:
            job = found.resolve_job_def("cifar10_unlearn_batch")
            made = {key.path[-1] for key in job.asset_layer.executable_asset_keys}
            assert ("model_promotion" in made) == promote
            assert (
                found.get_repository_def().get_sensor_def("cifar10_seal_early").default_status
                == dg.DefaultSensorStatus.RUNNING
            )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"model_name": "cifar-mae"}, "line cifar10 is about model.name 'cifar-mae', and its parameters say"),
        ({"dataset": "cifar100"}, "set overrides: {data.name: cifar100} in its defs.yaml"),
        ({"params": "infra/params/cifar11.yaml"}, "cifar11.yaml"),
        ({"overrides": {"unlearn.budget.stepz": 8}}, "there is no key 'unlearn.budget.stepz'"),
    ],
)
def test_what_does_not_fit_its_parameters_is_told_when_it_is_loaded(
    repository: Path, wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ComponentTreeException, match="cifar10") as told, _loaded(repository, **wrong):
        pass
    cause = told.value.__cause__
    while cause is not None and not isinstance(cause, ParamsError):
        cause = cause.__cause__
    assert sentence in str(cause)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crom", "0 2 * * 1"),
        ("cron", "every monday"),
        ("timezone", "Middle/Earth"),
        ("name", "Cifar 10"),
        ("sla_days", 0),
        ("seal_early_at", 1.5),
        ("max_batch", 0),
        ("on_refusal", "forget it"),
        ("max_attempts", 0),
        ("gpus", 0),
    ],
)
def test_a_typo_and_a_number_out_of_bounds_are_refused_by_name(field: str, value: Any) -> None:
    RecurringUnlearning()
    with pytest.raises(ValidationError, match=field):
        RecurringUnlearning(**{field: value})


def test_every_attribute_says_what_it_is() -> None:
    assert [name for name, one in RecurringUnlearning.model_fields.items() if not one.description] == []
