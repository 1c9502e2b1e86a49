"""Unconditional diffusion through the whole graph: what cannot be judged is refused, what can be judged is measured."""

from __future__ import annotations

from typing import Any

import pytest

from tests import toys
from tests.pipelines.line import Line, checks, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.errors import ParamsError
from unlearning.evidence import promotion, verification
from unlearning.log import Log, silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.verbs import stage
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
    "report.pictures": 2,
}
HOLE = {"kind": "center_hole"}


def _verb(name: str, params: Params, workspace: Workspace, batch: str, log: Log = silent) -> None:
    stage.run(name, params, workspace.batch(batch), log)


def test_what_reconstructs_nothing_is_not_measured_and_so_refused(line: Line) -> None:
    """From a request to a certificate that says `refused`: no score is made up for pictures drawn from nothing."""
    done = line.run("b1", compute=SameProcess(), **DDPM)
    assert materialized(done).keys() == set(STAGES), errors(done)
    assert checks(done)["integrity"].passed
    batch = line.batch("b1")
    report = files.read_json(batch.report)
    assert set(report["scores"].values()) == {None}
    status = {row["name"]: row["status"] for row in report["criteria"]}
    assert status["retention"] == status["forgetting"] == "not_measured"
    assert (report["verdict"], report["finite"]) == ("refused", True)
    assert "set evaluate.corruption to a hole" in batch.report.with_name("report.html").read_text()
    found = verification.verify(batch.path)
    assert (found.status, found.mismatches) == ("refused", ())
    assert promotion.champion(line.workspace, line.read_params().model.name) is None


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
    params = Params.read(line.params, {"data.name": "toys", "data.channels": 3, **DDPM, **chosen})
    with pytest.raises(ParamsError, match=r"retrack leads to 1000 neighbours, and of [0-9]+ retain images"):
        _verb("unlearned_checkpoint", params, line.workspace, "b1")
    assert line.batch("b1").original.is_dir()
    assert not line.batch("b1").unlearned.exists()


def test_the_log_says_why_nothing_is_measured_and_what_would_be_right(line: Line) -> None:
    line.run("b1", compute=SameProcess(), **DDPM)
    batch, notes = line.batch("b1"), list[str]()
    batch.lineage("evaluation_report").unlink()
    params = Params.read(line.params, {"data.name": "toys", "data.channels": 3, **DDPM})
    _verb("evaluation_report", params, line.workspace, "b1", lambda progress: notes.append(progress.note))
    assert "no score is measured: under corruption 'everything' a picture reconstructs nothing; set evaluate.corru" in (
        " ".join(notes)
    )
