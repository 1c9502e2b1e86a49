"""A study that really runs, in this process and small: what is shared, made, recorded, resumed and summed up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from tests.studies.small import written
from unlearning import files
from unlearning.errors import CheckpointError, DataError, ManifestError, ParamsError
from unlearning.evidence import lineage
from unlearning.log import silent
from unlearning.metrics._hypervolume import hypervolume
from unlearning.studies import Plans
from unlearning.verbs import _study_base, _study_point, _study_summary, _study_whole, ingest, study, sweep
from unlearning.workspace import Workspace

COMMAND = "unlearning study study.yaml"


@dataclass(frozen=True)
class Made:
    plans: Plans
    workspace: Workspace
    records: dict[str, _study_point.Record]


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("study")
    plans, workspace = written(home, repository), Workspace(home / "var")
    ingest.run("digits", "digits", workspace, silent)
    study.base(plans, plans.bases[0].id, workspace, silent)
    records = {}
    for point in plans.points:
        if point.method == "diverges":
            with pytest.raises(CheckpointError, match="gradient norm is nan"):
                study.point(plans, point.id, workspace, silent)
        else:
            records[point.id] = study.point(plans, point.id, workspace, silent)
    return Made(plans, workspace, records)


def test_a_point_shares_the_bytes_of_its_base_and_makes_two_assets(made: Made) -> None:
    base = _study_base.folder(made.plans, made.plans.bases[0], made.workspace)
    for point in made.plans.points[:2]:
        batch = _study_point.folder(made.plans, point, made.workspace)
        for name in _study_base.SHARED:
            assert lineage.read(batch, name) == lineage.read(base, name)
            assert lineage.intact(lineage.read(batch, name), batch)
        assert (batch.original / "model.safetensors").samefile(base.original / "model.safetensors")
        assert (
            made.records[point.id]["lineage"]["unlearned_checkpoint"]
            == lineage.read(batch, "unlearned_checkpoint").sha256
        )
    assert not (base.path / "unlearned_checkpoint").exists()


def test_a_study_files_its_requests_in_a_ledger_of_its_own(made: Made) -> None:
    assert not made.workspace.ledger.exists()
    sealed = _study_base.folder(made.plans, made.plans.bases[0], made.workspace).requests.read_text()
    assert '"class":"3"' in sealed
    assert '"class":"8"' in sealed


def test_a_point_says_what_came_out_and_what_it_took(made: Made) -> None:
    quiet, loud = made.records.values()
    assert (quiet["value"], loud["value"]) == (0.1, 2)
    assert loud["scores"]["forgetting_trained"]["value"] > quiet["scores"]["forgetting_trained"]["value"]
    for record in (quiet, loud):
        assert record["steps"] == 25
        assert record["seconds"] > 0
        assert record["memory"]["peak"]["host_mib"] >= record["memory"]["before"]["host_mib"] > 50
        assert record["machine"]["cores"] >= 1
        assert record["scores"]["sibling_retention"]["set"] == "siblings"


def test_a_finished_point_is_not_made_again_and_a_failed_one_says_why(made: Made) -> None:
    point = made.plans.points[0]
    path = _study_point.file(made.plans, point, made.workspace)
    before = path.stat().st_ino, path.stat().st_mtime_ns
    assert study.point(made.plans, point.id, made.workspace, silent) == made.records[point.id]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    failed = _study_point.read(made.plans, made.plans.points[2], made.workspace)
    assert failed is not None
    assert (failed["status"], "gradient norm is nan" in failed["sentence"]) == ("failed", True)


def test_other_parameters_or_another_base_make_a_point_anew(made: Made, tmp_path: Path, repository: Path) -> None:
    other = written(tmp_path, repository, set={"evaluate.max_images": 59})
    assert _study_point.read(other, other.points[0], made.workspace) is None
    assert _study_point.read(made.plans, made.plans.points[0], made.workspace) is not None


def test_a_label_that_meant_something_else_is_refused(made: Made, tmp_path: Path, repository: Path) -> None:
    other = written(tmp_path, repository, forget={"three_eight": {"classes": ["4"]}})
    with pytest.raises(ManifestError, match="was made to forget something else"):
        study.base(other, other.bases[0].id, made.workspace, silent)


def test_the_summary_is_made_of_the_points(made: Made) -> None:
    outcome = study.run(made.plans, made.workspace, silent, COMMAND, only=["noise_target"])
    assert outcome.failed == ()
    found = outcome.summary
    assert found["counts"] == {"points": 3, "finished": 2, "failed": 1, "unfinished": 0}
    [panel] = found["panels"]
    [line] = panel["methods"]
    pairs = [(r["scores"]["forgetting"]["value"], r["scores"]["retention"]["value"]) for r in made.records.values()]
    means = [(point["forgetting"]["mean"], point["retention"]["mean"]) for point in line["points"]]
    np.testing.assert_allclose(means, pairs)
    assert line["hypervolume"] == pytest.approx(hypervolume(pairs, _study_summary.WORST, _study_summary.BEST))
    assert panel["reference"]["retention"] == next(iter(made.records.values()))["scores"]["reference_retention"]
    assert 0 <= panel["ceiling"]["recall"] <= 1

    assert "gradient norm is nan" in outcome.table
    assert COMMAND in outcome.table
    for name in ("study.json", "table.md"):
        assert str(made.workspace.root.resolve()) not in (outcome.folder / name).read_text()
    with Image.open(outcome.folder / "pareto.png") as picture:
        assert picture.size[0] > 400


def test_only_the_summary_is_published(made: Made, tmp_path: Path) -> None:
    outcome = study.run(made.plans, made.workspace, silent, COMMAND, only=["noise_target"])
    folder = study.publish(outcome, tmp_path / "results")
    assert sorted(path.name for path in folder.iterdir()) == ["pareto.png", "study.json", "table.md"]


def test_a_sweep_is_a_study_of_a_batch_that_is_there(made: Made) -> None:
    home = _study_base.home(made.plans, made.workspace)
    base = made.plans.bases[0]
    params, batch = made.plans.base_params(base), home.batch(base.id)
    plans = sweep.plan(params, batch, "unlearn.merge.forget_weight", [0.1], [0])
    assert sweep.plan(params, batch, "unlearn.merge.forget_weight", [0.1], [0]).study == plans.study
    [point] = plans.points
    record = study.point(plans, point.id, home, silent)
    twin = made.records[made.plans.points[0].id]
    assert record["scores"] == twin["scores"]  # the same parameters, data and seed, by another door
    assert study.run(plans, home, silent, "unlearning sweep").summary["counts"]["finished"] == 1


def test_a_sweep_of_a_batch_made_otherwise_is_refused(made: Made) -> None:
    home = _study_base.home(made.plans, made.workspace)
    params = made.plans.base_params(made.plans.bases[0])
    longer = params.model_copy(update={"original": params.original.model_copy(update={"steps": 121})})
    plans = sweep.plan(longer, home.batch(made.plans.bases[0].id), "unlearn.merge.forget_weight", [0.1], [])
    with pytest.raises(ManifestError, match="original_checkpoint is not there, not whole, or made with other"):
        study.point(plans, plans.points[0].id, home, silent)


def test_what_cannot_run_is_refused_before_anything_is_trained(made: Made, tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ParamsError, match="there is no method 'nothing'; methods that exist: noise_target, diverges"):
        study.run(made.plans, made.workspace, silent, COMMAND, only=["nothing"])
    with pytest.raises(DataError, match="'digits' is not ingested"):
        study.run(made.plans, Workspace(tmp_path / "empty"), silent, COMMAND)
    typo = written(tmp_path, repository, methods={"typo": {"set": {"unlearn.method": {"kind": "nois_target"}}}})
    with pytest.raises(ParamsError, match="no method of kind 'nois_target'"):
        study.run(typo, made.workspace, silent, COMMAND)


def test_a_real_ledger_is_never_used(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNLEARNING_LEDGER_URL", str(tmp_path / "real.sqlite"))
    with pytest.raises(ParamsError, match="unset UNLEARNING_LEDGER_URL"):
        study.base(made.plans, made.plans.bases[0].id, made.workspace, silent)
    assert not (tmp_path / "real.sqlite").exists()


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.2, 0.5, 0.6]
    found = _study_whole.over_seeds(values)
    arm = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert (found["low"], found["high"]) == pytest.approx((np.mean(values) - arm, np.mean(values) + arm))
    assert (found["least"], found["most"], found["seeds"]) == (0.2, 0.6, 3)
    assert _study_whole.over_seeds([0.3])["low"] is None


def test_the_record_of_a_point_is_canonical_json(made: Made) -> None:
    path = _study_point.file(made.plans, made.plans.points[0], made.workspace)
    assert path.read_bytes() == files.canonical(files.read_json(path)) + b"\n"
