"""One truth, three readers: unlearning/stages.py, dvc.yaml, and the asset graph."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.definitions import defs
from pipelines.gating import GATED
from pipelines.line import LINE_TAG, MODEL_TAG
from pipelines.partitions import deletion_batch, study_points
from unlearning.stages import BESIDE, STAGES, named

BATCH = "${root}/batches/${item.batch}"
DATASET = "${root}/data/${data.name}/dataset.json"


@pytest.fixture(scope="module")
def stages(repository: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    return tree


@pytest.fixture(scope="module")
def graph() -> Any:
    return defs().resolve_asset_graph()


def test_dvc_has_exactly_the_stages(stages: dict[str, Any]) -> None:
    assert list(stages) == list(STAGES)
    assert all(stage["matrix"] == {"batch": "${batches}"} for stage in stages.values())


@pytest.mark.parametrize("name", list(STAGES))
def test_a_dvc_stage_has_the_arrows_command_parameters_and_output_of_the_table(
    stages: dict[str, Any], repository: Path, name: str
) -> None:
    stage, told = STAGES[name], stages[name]
    read = [path for path in told["deps"] if not path.startswith("unlearning/")]
    assert read == [DATASET if source == "image_dataset" else f"{BATCH}/{source}" for source in stage.inputs]
    words = " ".join(stage.verb)
    where = "--batch ${item.batch} --params params.yaml --root ${root}"
    assert told["cmd"] == f"${{python}} -m unlearning {words} {where}"
    assert tuple(told.get("params", ())) == stage.params
    outs = [path for out in told["outs"] for path in out]
    assert outs == [f"{BATCH}/{name}", f"{BATCH}/lineage/{name}.json"]
    code = [path for path in told["deps"] if path.startswith("unlearning/")]
    assert f"unlearning/verbs/{stage.verb[0]}.py" in code
    assert [path for path in code if not (repository / path).exists()] == []


def test_the_asset_graph_has_exactly_the_stages_the_data_set_the_promotion_and_the_studies(graph: Any) -> None:
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names == {*STAGES, *BESIDE, "image_dataset", "model_promotion", "sweep_point", "sweep_front"}
    assert graph.get(dg.AssetKey("sweep_point")).partitions_def == study_points
    assert graph.get(dg.AssetKey("sweep_point")).pools == {"gpu"}


def test_a_batch_is_made_without_the_studies_and_its_filter_without_any_training() -> None:
    job = defs().resolve_job_def("unlearn_batch")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == {*STAGES, "model_promotion"}
    job = defs().resolve_job_def("suppress")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == {"deletion_requests", "forget_manifest", "retain_proxy_set", "interim_filter"}


@pytest.mark.parametrize("name", [*STAGES, *BESIDE])
def test_an_asset_has_the_arrows_of_the_table(graph: Any, name: str) -> None:
    node = graph.get(dg.AssetKey(name))
    assert {key.to_user_string() for key in node.parent_keys} == set(named(name).inputs)
    assert node.partitions_def == deletion_batch
    assert node.owners
    assert node.kinds
    assert node.description
    assert node.pools == ({"gpu"} if named(name).trains else node.pools)


def test_every_criterion_has_a_check_and_only_the_advice_does_not_block(graph: Any) -> None:
    blocking = {
        key.name: graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
        if key.asset_key == dg.AssetKey(GATED)
    }
    assert blocking == {
        "integrity": True,
        "retention": True,
        "forgetting": True,
        "forgetting_trained": True,
        "reference_distance": True,
        "over_forgetting": False,
        "sibling_retention": False,
        "earlier": True,
        "attacks": True,  # where a bound of them blocks; else it warns
        "metrics": True,
    }


def test_only_promotion_stands_below_the_gates(graph: Any) -> None:
    below = {key.to_user_string() for key in graph.get(dg.AssetKey(GATED)).child_keys}
    assert below == {"model_promotion"}


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`:dagster.BetaWarning")
def test_dagsters_selection_parser_works(graph: Any) -> None:
    """DVC's ANTLR runtime in this environment would break every selection by name."""
    chosen = dg.AssetSelection.from_string('group:"release"').resolve(graph)
    assert {key.to_user_string() for key in chosen} == {"certificate", "model_promotion"}


def test_the_code_location_loads_without_torch_mlflow_or_a_single_environment_variable(repository: Path) -> None:
    said = "import sys; from pipelines.definitions import defs; defs(); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(repository)!r}); {said}"],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"torch", "torchvision", "timm", "diffusers", "mlflow", "dvc", "pandas", "sklearn"}
    assert heavy & set(eval(done.stdout)) == set()


def test_the_tracked_instance_settings_are_ones_that_dagster_accepts(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((repository / "infra" / "dagster" / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_retries_enabled
        assert not instance.get_settings("run_retries")["retry_on_asset_or_op_failure"]
        limited = {one["key"] for one in instance.get_concurrency_config().run_queue_config.tag_concurrency_limits}
        assert limited == {MODEL_TAG, LINE_TAG}
    assert "DAGSTER_HOME" not in os.environ
