"""The verb `evaluate` on a batch that was really trained, briefly: digits, a tiny generator, a few seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.evaluation.small_run import OVERRIDES, Trained
from unlearning import files, gates
from unlearning.errors import ParamsError
from unlearning.evidence import lineage
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import evaluate
from unlearning.workspace import BatchFolder


@pytest.fixture(scope="module")
def trained(short_run: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Evaluated once."""
    mine = short_run.copied(tmp_path_factory.mktemp("evaluated") / "root")
    evaluate.run(mine.params, mine.batch, silent)
    return mine


def test_every_score_has_a_value_an_interval_and_its_set(trained: Trained) -> None:
    scores = files.read_json(trained.batch.report)["scores"]
    assert scores["forgetting"]["set"] == "forget_holdout"
    assert scores["retention"]["set"] == "holdout"
    for name, score in scores.items():
        assert score["low"] <= score["value"] <= score["high"], name
        assert score["images"] > 20, name
    assert scores["forgetting_trained"]["value"] > 0.05  # it moved; how far a long run goes is the demo's business


def test_the_report_is_the_mean_of_what_is_kept_per_image(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    rows = pq.read_table(trained.batch.report.with_name("per_image.parquet"))
    for name, found in report["sets"].items():
        for role, metrics in found["metrics"].items():
            mine = rows.filter((pc.field("set") == name) & (pc.field("model") == role))
            assert mine.num_rows == found["images"] * len(report["seeds"])
            assert mine["mse"].to_numpy().mean() == pytest.approx(metrics["mse"])


def test_scores_are_the_published_ratio_of_the_sets_means(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    mse = {role: metrics["mse"] for role, metrics in report["sets"]["forget"]["metrics"].items()}
    ratio = (mse["unlearned"] - mse["original"]) / (mse["mean_picture"] - mse["original"])
    assert report["scores"]["forgetting_trained"]["value"] == pytest.approx(ratio)


def test_bounded_forgetting_is_made_of_each_picture_and_draw(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    rows = pq.read_table(trained.batch.report.with_name("per_image.parquet")).filter(pc.field("set") == "forget")
    unlearned, original, mean = (
        rows.filter(pc.field("model") == role)["mse"].to_numpy() for role in ("unlearned", "original", "mean_picture")
    )
    ceiling = np.maximum(original, mean)
    bounded = (np.minimum(unlearned, ceiling) - original).sum() / (ceiling - original).sum()
    assert report["scores"]["forgetting_trained_bounded"]["value"] == pytest.approx(bounded)
    assert report["scores"]["forgetting_bounded"]["set"] == "forget_holdout"
    assert "Forgetting, bounded" in trained.batch.report.with_name("report.html").read_text()


def test_an_observer_tells_the_original_from_the_reference_and_that_is_no_gate(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    for name in ("observer_auc", "observer_auc_original"):
        assert report["scores"][name]["set"] == "forget_holdout"
        assert report["scores"][name]["images"] == report["sets"]["forget_holdout"]["images"]
    assert report["scores"]["observer_auc_original"]["high"] > 0.5
    assert not any("observer" in criterion["name"] for criterion in report["criteria"])
    assert "An observer tells it from the reference" in trained.batch.report.with_name("report.html").read_text()


def test_the_verdict_is_what_the_gates_say_of_the_files(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    checkpoints = {role: lineage.read(trained.batch, f"{role}_checkpoint").sha256 for role in evaluate.ROLES}
    verdict = gates.evaluate(report, trained.params.gates, checkpoints)
    assert report["verdict"] == verdict.word
    assert report["criteria"] == files.parse_json(files.canonical(verdict.as_rows()), "")


def test_a_model_that_was_not_unlearned_is_refused(trained: Trained) -> None:
    """The no-op: same weights, same pictures."""
    report = files.read_json(trained.batch.report)
    report["weights"]["unlearned"] = report["weights"]["original"]
    assert not gates.evaluate(report, trained.params.gates, report["checkpoints"]).passed


def test_the_extractor_is_named_with_its_weights(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    assert len(report["extractor"]["weights_sha256"]) == 64
    assert {"frechet", "kid"} <= report["sets"]["holdout"]["metrics"]["original"].keys()


def test_forget_pictures_stay_out_unless_allowed(trained: Trained) -> None:
    html = trained.batch.report.with_name("report.html").read_text()
    assert "Not shown: forget (trained on), forget (held out)" in html
    assert html.count("<img") == 3 * 5


def test_evaluating_again_reuses_and_evaluating_afresh_agrees(trained: Trained) -> None:
    before = lineage.read(trained.batch, "evaluation_report")
    notes: list[str] = []
    again = evaluate.run(trained.params, trained.batch, lambda line: notes.append(line.note))
    assert again == before
    assert any("reused" in note for note in notes)
    written = [path.read_bytes() for path in _files(trained.batch)]
    for memory in ("measured", "features"):  # from what is remembered, then from nothing
        trained.batch.lineage("evaluation_report").unlink()
        evaluate.run(trained.params, trained.batch, silent)
        assert [path.read_bytes() for path in _files(trained.batch)] == written
        shutil.rmtree(trained.batch.workspace.work(memory))


def _files(batch: BatchFolder) -> list[Path]:
    return [batch.report, batch.report.with_name("per_image.parquet"), batch.report.with_name("report.html")]


def test_the_nearest_siblings_are_a_set_of_their_own_and_named(trained: Trained) -> None:
    report = files.read_json(trained.batch.report)
    said = report["siblings"]
    assert said["of"] == "class"
    assert len(said["names"]) == 2
    assert not {"3", "8"} & set(said["names"])
    assert set(report["sets"]["siblings"]["mse_by_class"]) == set(said["names"])
    assert report["scores"]["sibling_retention"]["set"] == "siblings"
    assert f"Siblings: {', '.join(said['names'])} (nearest" in trained.batch.report.with_name("report.html").read_text()


def test_a_metric_whose_extractor_is_not_here_is_not_measured_and_the_report_says_so(
    trained: Trained, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    metrics = [{"kind": "mse"}, {"kind": "similarity", "extractor": "clip"}, {"kind": "kid", "extractor": "in_domain"}]
    evaluate.run(_watching(repository, "5", **{"evaluate.metrics": metrics}), trained.batch, silent)
    report = files.read_json(trained.batch.report)
    assert report["not_measured"].keys() == {"similarity_clip"}
    assert "no weights on this machine" in report["not_measured"]["similarity_clip"]
    assert "similarity_clip" not in report["sets"]["forget"]["metrics"]["unlearned"]
    assert "kid_in_domain" in report["sets"]["forget"]["metrics"]["unlearned"]
    assert "not an FID" in report["extractors"]["in_domain"]["name"]
    html = trained.batch.report.with_name("report.html").read_text()
    assert "Not measured: feature similarity, clip: no weights on this machine" in html
    assert "KID, in domain" in html


def _watching(repository: Path, *classes: str, **more: object) -> Params:
    """Sevens look like nothing here; what counts is that they are a set of their own. No metric reads features."""
    light = {"evaluate.metrics": [{"kind": "mse"}], "evaluate.siblings": list(classes), **more}
    return Params.read(repository / "params.yaml", {**OVERRIDES, **light})


def test_siblings_are_a_set_of_their_own_with_a_score(trained: Trained, repository: Path) -> None:
    bound = {"value": 2.0, "source": "no model can keep so much: the advice must fail"}
    params = _watching(repository, "5", "9", **{"gates.sibling_retention_at_least": bound})
    notes: list[str] = []
    evaluate.run(params, trained.batch, lambda line: notes.append(line.note))
    report = files.read_json(trained.batch.report)
    assert report["extractor"] is None
    assert not any("extractor" in note for note in notes)

    found = report["sets"]["siblings"]
    mse = {role: metrics["mse"] for role, metrics in found["metrics"].items()}
    moved = (mse["unlearned"] - mse["original"]) / (mse["mean_picture"] - mse["original"])
    assert set(found["mse_by_class"]) == {"5", "9"}
    assert report["scores"]["sibling_retention"]["set"] == "siblings"
    assert report["scores"]["sibling_retention"]["value"] == pytest.approx(1 - moved)
    assert "reference_sibling_retention" in report["scores"]

    said = {criterion["name"]: criterion for criterion in report["criteria"]}
    assert (said["sibling_retention"]["status"], said["sibling_retention"]["blocking"]) == ("fail", False)
    html = trained.batch.report.with_name("report.html").read_text()
    assert "Retention of siblings" in html
    assert "5+" in html


def test_a_sibling_that_blocks_refuses(trained: Trained, repository: Path) -> None:
    bound = {"value": 2.0, "source": "no model can keep so much", "blocking": True}
    params = _watching(repository, "5", **{"gates.sibling_retention_at_least": bound})
    report = {**files.read_json(trained.batch.report), "scores": {"sibling_retention": {"value": 0.99}}}
    verdict = gates.evaluate(report, params.gates, report["checkpoints"])
    assert [one.status for one in verdict.criteria if one.name == "sibling_retention"] == ["fail"]
    assert not verdict.passed


@pytest.mark.parametrize(
    ("name", "sentence"), [("3", "class '3' is one to forget"), ("three", "no held-out image is of class 'three'")]
)
def test_a_sibling_that_cannot_be_is_named(trained: Trained, repository: Path, name: str, sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        evaluate.run(_watching(repository, name), trained.batch, silent)


def test_attacks_are_scored_as_the_report_is_on_the_unlearned_model_and_on_the_reference(
    trained: Trained, repository: Path
) -> None:
    """Their first point is what the report says of the first draw of the corruption, and so is nothing new."""
    walk, learn = {"kind": "interpolate", "steps": 2}, {"kind": "relearn", "source": "forget", "steps": [0, 2]}
    params = _watching(repository, "5", **{"evaluate.attacks": [walk, learn], "evaluate.seeds": [0, 1]})
    plain = evaluate.run(_watching(repository, "5", **{"evaluate.seeds": [0, 1]}), trained.batch, silent)
    before = files.read_json(trained.batch.report)
    evaluate.run(params, trained.batch, silent)
    report = files.read_json(trained.batch.report)
    attacks = report.pop("attacks")
    assert report == before
    assert plain.facts["verdict"] == report["verdict"]

    assert [attack["kind"] for attack in attacks] == ["interpolate", "relearn"]
    assert [attack["effort_unit"] for attack in attacks] == ["share of the way", "steps"]
    rows = pq.read_table(trained.batch.report.with_name("per_image.parquet"))
    first = rows.filter((pc.field("set") == "forget_holdout") & (pc.field("draw") == 0))
    mse = {
        role: first.filter(pc.field("model") == role)["mse"].to_numpy().mean()
        for role in (*evaluate.ROLES, "mean_picture")
    }
    for attack in attacks:
        assert (attack["set"], attack["images"]) == ("forget_holdout", before["scores"]["forgetting"]["images"])
        for role in ("unlearned", "reference"):
            moved = (mse[role] - mse["original"]) / (mse["mean_picture"] - mse["original"])
            assert attack[role]["forgetting"][0] == pytest.approx(moved)
    assert attacks[0]["unlearned"]["effort"] == [0, 0.5, 1]
    assert attacks[0]["unlearned"]["forgetting"][2] == 0
    assert attacks[1]["unlearned"]["forgetting"][1] != attacks[1]["unlearned"]["forgetting"][0]
    assert "<h2>Attacks</h2>" in trained.batch.report.with_name("report.html").read_text()
