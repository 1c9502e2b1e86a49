"""The small models behind the epsilon score: made once, by the released verbs, apart from everything that is real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation import small_run
from tests.evaluation.small_run import Trained
from tests.toy_batch import snapshot
from unlearning import files, gates
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.log import silent
from unlearning.metrics import _epsilon as score
from unlearning.params import Evaluate, Params
from unlearning.rules import Advice
from unlearning.verbs import _epsilon, evaluate, stage

CHANGES = {
    "evaluate.epsilon": {"models": 2, "share": 0.02},
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "evaluate.max_images": 40,
}
ADVICE = Advice(value=0.1, source="a threshold of this test", blocking=True)


class Crash(Exception):
    """Stands for a machine that goes away."""


def real(root: Path) -> dict[str, bytes]:
    """What must stay as it is: everything but the report and working state."""
    kept = snapshot(root).items()
    return {name: one for name, one in kept if "evaluation_report" not in name and not name.startswith("work/")}


def counting(made: list[str], fails_at: int | None = None) -> Callable[..., Record]:
    """The released verbs; the one numbered `fails_at` does not come back."""

    def run(name: str, *rest: Any) -> Record:
        if len(made) == fails_at:
            raise Crash
        made.append(name)
        return stage.run(name, *rest)

    return run


def test_a_score_that_was_stopped_goes_on_after_the_last_model(
    short_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = short_run.copied(tmp_path / "root")
    root, params = trained.batch.workspace.root, trained.params_with(**CHANGES)
    before = real(root)
    first: list[str] = []
    monkeypatch.setattr(_epsilon, "stage", type("S", (), {"run": staticmethod(counting(first, fails_at=6))}))
    with pytest.raises(Crash):
        evaluate.run(params, trained.batch, silent)  # in the middle of the second unlearned model
    pair = ["deletion_plan", "original_checkpoint", "unlearned_checkpoint"]
    assert first == [*pair, "reference_checkpoint", *pair[:2]]
    second: list[str] = []
    monkeypatch.setattr(_epsilon, "stage", type("S", (), {"run": staticmethod(counting(second))}))
    evaluate.run(params, trained.batch, silent)
    assert second == [*pair, "reference_checkpoint"]  # what had a record is found whole by the verbs

    entry = trained.report()["attacks"][-1]
    assert (entry["finding"], entry["models"], entry["images"], entry["limit"]) == ("epsilon", 2, 40, 0.0)
    assert entry["blind"] is True
    judged = gates._attacked(trained.report(), "epsilon_score", ADVICE)
    assert judged.status == "not_measured"

    assert real(root) == before
    assert not list((root / "work" / "epsilon").rglob("*.safetensors"))
    rows = [files.read_json(path) for path in sorted((root / "work" / "epsilon").glob("*.json"))]
    phi = [row[role]["phi"] for row in rows for role in row if role != "seconds"]
    assert len(phi) == 6
    assert len({tuple(one) for one in phi}) == 6  # every model is another

    third: list[str] = []
    monkeypatch.setattr(_epsilon, "stage", type("S", (), {"run": staticmethod(counting(third))}))
    (kept := next((root / "work" / "epsilon").glob("*.json"))).rename(tmp_path / "aside.json")
    trained.batch.lineage("evaluation_report").unlink()
    evaluate.run(params, trained.batch, silent)
    assert third in (pair, ["reference_checkpoint"])
    again, aside = files.read_json(kept), files.read_json(tmp_path / "aside.json")
    assert {**again, "seconds": 0} == {**aside, "seconds": 0}  # made again, to the bit


def looked(phi: np.ndarray, error: float) -> list[dict[str, Any]]:
    """What N models made of the images."""
    kept = {"retain": [error, 1.0], "holdout": [error, 1.0]}
    return [{"phi": row.tolist(), "kept": kept} for row in phi]


def entry_of(plan: Evaluate, unlearned: np.ndarray, error: float = 0.1, apart: float = 50.0) -> dict[str, Any]:
    """The entry where originals lie so far apart from retrained models, and unlearned ones are `unlearned` [8, n]."""
    rng = np.random.default_rng(0)
    retrained, originals = rng.normal(size=(2, 8, 30))
    pairs = [
        {"original": one, "unlearned": other, "seconds": 1.0}
        for one, other in zip(looked(originals - apart, 0.1), looked(unlearned, 0.2), strict=True)
    ]
    references = [{"reference": one, "seconds": 1.0} for one in looked(retrained, error)]
    return _epsilon._found({"unlearned": pairs, "reference": references}, plan)


def sentence(entry: dict[str, Any]) -> tuple[str, str]:
    found = gates._attacked({"attacks": [{"kind": "epsilon_score", **entry}]}, "epsilon_score", ADVICE)
    return found.status, found.sentence


def test_models_like_retrained_ones_pass_and_others_are_refused(short_run: Trained) -> None:
    plan = short_run.params.evaluate
    alike = entry_of(plan, np.random.default_rng(1).normal(size=(8, 30)))
    assert (alike["blind"], sentence(alike)[0]) == (False, "pass")
    assert alike["learnt"] == {"retain": pytest.approx(0.9), "holdout": pytest.approx(0.9)}
    assert alike["p_value"] > 0.05
    other = entry_of(plan, np.random.default_rng(1).normal(size=(8, 30)) + 50)
    assert other["epsilon"]["at_limit"] == 1.0
    assert other["epsilon"]["low"] == other["epsilon"]["median"] == other["limit"]
    assert other["signal"]["value"] == other["limit"] - other["chance"]
    assert other["floor"]["limit"] == score.limit(4)
    assert sentence(other) == ("fail", "0.336 (<= 0.1) epsilon beyond groups of equal models")
    # 3 halvings below log 7 = 1.95, and eight ninths of what is known on either set that must be kept
    assert other["score"]["forgetting"] == 0.125
    assert other["score"]["final"] == pytest.approx(0.125 * (0.8 / 0.9) ** 2)


def test_small_models_that_learnt_nothing_see_nothing(short_run: Trained) -> None:
    """The retrained ones know no more than the mean picture, or the originals are like them: no silence counts."""
    plan, phi = short_run.params.evaluate, np.random.default_rng(1).normal(size=(8, 30))
    assert entry_of(plan, phi)["blind"] is False
    ignorant = entry_of(plan, phi, error=1.1)
    assert ignorant["score"] == {
        "forgetting": ignorant["score"]["forgetting"],
        "kept": {"retain": None, "holdout": None},
        "retention_ratio": None,
        "final": None,
    }
    alike = entry_of(plan, phi, apart=0.0)
    assert [sentence(one)[0] for one in (ignorant, alike)] == ["not_measured", "not_measured"]


def test_a_model_whose_loss_is_no_number_is_not_measured(short_run: Trained) -> None:
    spoilt = np.zeros((8, 30))
    spoilt[2, 2] = np.nan
    entry = entry_of(short_run.params.evaluate, spoilt)
    assert entry["signal"] is None
    assert sentence(entry)[0] == "not_measured"
    files.canonical(entry)  # a report can hold it


def test_it_says_why_no_small_models_can_be_made(short_run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    params, batch = short_run.params, short_run.batch
    record = lineage.read(batch, "original_checkpoint")

    def why(params: Params, forget: int = 1, **facts: str) -> str | None:
        monkeypatch.setattr(lineage, "read", lambda *_: replace(record, facts={**record.facts, **facts}))
        corruption = type("Hole", (), {"leaves_nothing": False})
        scene: Any = type("Seen", (), {"forget": range(forget), "corruption": corruption})
        return _epsilon._why_not(params, batch, scene, None)

    assert why(params) is None
    assert "was retrained" in str(why(short_run.params_with(**{"unlearn.method": {"kind": "retrain"}})))
    sharded = {"kind": "sharded", "shards": 2, "member": params.generator.model_dump()}
    assert "sharded" in str(why(params.model_copy(update={"generator": params.generator.model_validate(sharded)})))
    assert "earlier batches" in str(why(params, source="champion"))
    assert "published" in str(why(params, source="published"))
    assert "empty" in str(why(params, forget=0))


def test_it_is_asked_for_by_number_or_by_an_audit(short_run: Trained) -> None:
    def asked(**changes: Any) -> int:
        return _epsilon.models(short_run.params_with(**changes).evaluate)

    assert asked() == 0
    assert asked(**{"evaluate.profile": "audit"}) == 8
    assert asked(**{"evaluate.profile": "audit", "evaluate.epsilon.models": 0}) == 0
    assert asked(**{"evaluate.epsilon.models": 16}) == 16


def test_small_models_have_a_share_of_both_budgets(short_run: Trained) -> None:
    original = {**small_run.BUDGET, "snapshots": 8}
    params = short_run.params_with(**{"evaluate.epsilon.share": 0.1, "original": original})
    small = _epsilon._small(params, 3)
    assert (small.original.steps, small.unlearn.budget.steps) == (40, 8)
    assert (small.original.warmup_steps, small.original.seed, small.unlearn.budget.seed) == (2, 3, 3)
    assert small.original.snapshots == 8
    assert _epsilon._small(short_run.params_with(**{"evaluate.epsilon.share": 1e-4}), 1).original.steps == 1
