"""Unconditional diffusion through the whole graph: what cannot be judged is refused, what can be judged is measured."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import toys
from tests.pipelines.line import OVERRIDES, Line, checks, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.errors import ParamsError
from unlearning.evidence import promotion, verification
from unlearning.log import Log, silent
from unlearning.metrics.extractors import in_domain
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.verbs import _kinds, stage
from unlearning.workspace import Workspace

_BUDGET = {"steps": 3, "batch_size": 4, "warmup_steps": 0, "learning_rate": 1e-3}
DDPM: dict[str, Any] = {
    "generator": {"kind": "ddpm", **toys.SMALLEST["ddpm"]},
    "corruption": {"kind": "everything"},
    "original": _BUDGET,
    "unlearn.budget": {**_BUDGET, "weight_decay": 0.0},
    "unlearn.method": {"kind": "siss"},
    "unlearn.merge": {"kind": "clipped_forget"},
    "unlearn.scope": {"kind": "all"},
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "report.pictures": 2,
}
# Sixty steps suffice to know pictures of few pixels, enlarged, better than pixel by pixel.
LEARNT: dict[str, Any] = {
    "data.image_size": 16,
    "generator": {"kind": "ddpm", "widths": (8,), "train_steps": 20, "beta_end": 0.3, "sample_steps": 2},
    "original": {"steps": 60, "batch_size": 8, "warmup_steps": 5, "learning_rate": 2e-2},
}
HOLE = {"kind": "center_hole"}


def _verb(name: str, params: Params, workspace: Workspace, batch: str, log: Log = silent) -> None:
    stage.run(name, params, workspace.batch(batch), log)


def test_a_model_that_is_shown_nothing_is_judged_by_how_well_it_knows_whole_pictures(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a request to a certificate: every score is measured, and so are pictures of its own and their likelihood."""
    monkeypatch.setattr(in_domain, "_STEPS", 20)  # how well features tell classes apart is tested elsewhere
    whole = {"evaluate.drawn": {"images": 40}, "evaluate.likelihood": {"images": 3, "probes": 2, "steps": 4}, **LEARNT}
    relearn = {"kind": "relearn", "source": "forget", "steps": [0, 2]}
    done = line.run("b1", compute=SameProcess(), **{**DDPM, **whole, "evaluate.attacks": [relearn]})
    assert materialized(done).keys() == set(STAGES), errors(done)
    batch = line.batch("b1")
    report = files.read_json(batch.report)
    assert report["measure"] == "surprise"
    assert all(score is not None for name, score in report["scores"].items() if not name.startswith("observer"))
    surprise = {role: found["surprise"] for role, found in report["sets"]["forget"]["metrics"].items()}
    moved = (surprise["unlearned"] - surprise["original"]) / (surprise["mean_picture"] - surprise["original"])
    assert report["scores"]["forgetting_trained"]["value"] == pytest.approx(moved)
    assert report["scores"]["observer_auc"] is None  # it looks at reconstructions
    status = {row["name"]: row["status"] for row in report["criteria"]}
    assert "not_measured" not in status.values()
    assert report["attacks"][0]["unlearned"]["forgetting"][0] == pytest.approx(moved)

    drawn, likelihood = report["whole_pictures"]["drawn"], report["whole_pictures"]["likelihood"]
    assert set(drawn) == set(likelihood["forget"]) == {"original", "unlearned", "reference"}
    for found in drawn.values():
        assert found["images"] == found["copies"]["of"] == 40
        assert found["judged"] == 40 - found["copies"]["count"]
        assert 0 <= found["copies"]["low"] <= found["copies"]["rate"] <= found["copies"]["high"] <= 1
        assert found["inception_score"]["mean"] >= 1
    assert likelihood["forget"]["reference"]["beyond_reference"] == 0
    assert likelihood["forget"]["unlearned"]["bits"] != likelihood["forget"]["original"]["bits"]
    bits = pq.read_table(batch.report.with_name("likelihood.parquet"))
    assert bits.num_rows == sum(of_role["images"] for by_role in likelihood.values() for of_role in by_role.values())
    html = batch.report.with_name("report.html").read_text()
    assert "Surprise is a model's own loss" in html
    assert "Pictures drawn from nothing" in html
    assert verification.verify(batch.path).mismatches == ()


def test_what_reconstructs_nothing_and_does_not_say_what_it_knows_is_refused(line: Line) -> None:
    """From a request to a certificate that says `refused`: no score is made up for pictures drawn from nothing."""
    unable = {"generator": {"kind": "palette", **toys.SMALLEST["palette"]}, "unlearn.method": {"kind": "max_loss"}}
    done = line.run("b1", compute=SameProcess(), **{**DDPM, **unable})
    assert materialized(done).keys() == set(STAGES), errors(done)
    assert checks(done)["integrity"].passed
    batch = line.batch("b1")
    report = files.read_json(batch.report)
    assert set(report["scores"].values()) == {None}
    status = {row["name"]: row["status"] for row in report["criteria"]}
    assert status["retention"] == status["forgetting"] == "not_measured"
    assert (report["verdict"], report["finite"], report["measure"]) == ("refused", True, "mse")
    assert "set evaluate.corruption to a hole" in batch.report.with_name("report.html").read_text()
    found = verification.verify(batch.path)
    assert (found.status, found.mismatches) == ("refused", ())
    assert promotion.champion(line.workspace, line.read_params().model.name) is None

    batch.lineage("evaluation_report").unlink()
    notes = list[str]()
    params = Params.read(line.params, {**OVERRIDES, **DDPM, **unable})
    _verb("evaluation_report", params, line.workspace, "b1", lambda progress: notes.append(progress.note))
    assert "no score is measured: under corruption 'everything' a picture reconstructs nothing" in " ".join(notes)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"corruption": HOLE, "evaluate.drawn": {"images": 4}}, "under corruption 'center_hole' draws no picture"),
        ({"generator": {"kind": "palette"}, "evaluate.likelihood": {"images": 4}}, "'palette' has no probability-flow"),
        ({"generator": {"kind": "palette"}, "evaluate.attacks": [{"kind": "relearn"}]}, "does not say how well"),
    ],
)
def test_what_a_generator_cannot_be_asked_is_refused_at_once(chosen: dict[str, Any], sentence: str, line: Line) -> None:
    method = {"unlearn.method": {"kind": "max_loss"}}
    params = Params.read(line.params, {**OVERRIDES, **DDPM, **method, **chosen})
    with pytest.raises(ParamsError, match=sentence):
        _kinds.check(params)


@pytest.mark.parametrize(
    "chosen",
    [
        {"unlearn.method": {"kind": "siss", "passes": 2, "window": [0.25, 0.75]}},
        {"unlearn.method": {"kind": "erasediff"}, "unlearn.merge": {"kind": "erasediff"}},
        {"unlearn.method": {"kind": "retrack", "neighbours": 3}, "unlearn.merge": {"kind": "weighted_sum"}},
        {"unlearn.scope": {"kind": "salient", "share": 0.1}},
    ],
    ids=["siss_no_is", "erasediff", "retrack", "salient"],
)
def test_every_method_of_it_makes_a_certificate_and_a_hole_is_measured(chosen: dict[str, Any], line: Line) -> None:
    """The same model, judged by how it completes pictures: errors of every model stand in the report."""
    done = line.run("b1", compute=SameProcess(), **{**DDPM, **chosen, "evaluate.corruption": HOLE})
    assert materialized(done).keys() == set(STAGES), errors(done)
    batch = line.batch("b1")
    report = files.read_json(batch.report)
    assert report["corruption"] == HOLE
    errors_of = {role: found["mse"] for role, found in report["sets"]["forget"]["metrics"].items()}
    assert errors_of["unlearned"] != errors_of["original"]
    assert verification.verify(batch.path).mismatches == ()
    original, unlearned = (checkpoint.load(folder).state_dict() for folder in (batch.original, batch.unlearned))
    moved = {name: (original[name] != unlearned[name]).float().mean() for name in original}
    share = float(sum(moved[name] * original[name].numel() for name in moved)) / sum(
        weight.numel() for weight in original.values()
    )
    scope = chosen.get("unlearn.scope", {}).get("share", 1.0)
    assert 0.5 * scope < share <= scope + 1e-4


def test_more_neighbours_than_the_retain_set_has_are_refused_and_nothing_is_made(line: Line) -> None:
    chosen = {"unlearn.method": {"kind": "retrack", "neighbours": 1_000}}
    before = list(STAGES)[: list(STAGES).index("unlearned_checkpoint")]
    line.run("b1", compute=SameProcess(), only=before, **DDPM)
    params = Params.read(line.params, {**OVERRIDES, **DDPM, **chosen})
    _verb("deletion_plan", params, line.workspace, "b1")
    with pytest.raises(ParamsError, match=r"retrack leads to 1000 neighbours, and of [0-9]+ retain images"):
        _verb("unlearned_checkpoint", params, line.workspace, "b1")
    assert line.batch("b1").original.is_dir()
    assert not line.batch("b1").unlearned.exists()
