"""What attacks found, where a platform team looks: MLflow's numbers, Dagster's checks, the demo's last lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines import gating, recording, summary
from tests.evaluation.tiny_report import report, told
from unlearning import gates
from unlearning.params import Params

SOURCE = "a threshold of this test"


def curve(signal: float, *forgetting: float) -> dict[str, Any]:
    line = {"effort": list(range(len(forgetting))), "forgetting": list(forgetting)}
    reference = {**line, "forgetting": [1.0] * len(forgetting)}
    roles = {"original": reference, "unlearned": line, "reference": reference}
    found = {"value": signal, "low": signal - 0.125, "high": None}
    return {"kind": "relearn", "finding": "curve", "recipe": {"kind": "relearn"}, "signal": found, **roles}


ATTACKS = [curve(0.125, 0.75, 0.625), curve(0.5, 0.875, 0.375), told("exposure", 0.25), told("probe", None)]


def test_mlflow_has_the_worst_of_each_kind_and_nothing_that_was_not_measured() -> None:
    numbers = recording._attacks({"attacks": [*ATTACKS, {"kind": "membership", "not_made": "none is there"}]})
    assert numbers == {
        "attack.relearn.signal": 0.5,
        "attack.relearn.signal.low": 0.375,
        "attack.relearn.forgetting_before": 0.875,
        "attack.relearn.forgetting_least": 0.375,
        "attack.relearn.forgetting_reference": 1.0,
        "attack.exposure.signal": 0.25,
        "attack.exposure.signal.low": 0.15,
        "attack.exposure.signal.high": 0.35,
        **{
            f"attack.{kind}.auc_{role}": value
            for kind in ("exposure", "probe")
            for role, value in (("original", 0.8), ("unlearned", 0.81), ("reference", 0.5))
        },
    }
    assert recording._attacks({}) == {}


def judged(repository: Path, blocking: bool) -> gates.Verdict:
    bounds = {kind: {"value": 0.1, "source": SOURCE, "blocking": blocking} for kind in ("relearn", "exposure")}
    metric = {"metric": "mse", "value": 9.0, "side": "at_most", "source": SOURCE}
    changes = {"gates.attacks": bounds, "gates.metrics": [metric]}
    params = Params.read(repository / "params.yaml", changes)
    return gates.evaluate({**report(), "attacks": ATTACKS}, params.gates, {})


def test_every_criterion_shows_in_one_check(repository: Path) -> None:
    for criterion in judged(repository, blocking=True).criteria:
        shown = [
            criterion.name in gating.ALONE,
            gating.is_an_attack(criterion.name),
            gating.is_a_metric(criterion.name),
        ]
        assert shown.count(True) == 1, criterion.name


@pytest.mark.parametrize(
    ("blocking", "severity"), [(True, dg.AssetCheckSeverity.ERROR), (False, dg.AssetCheckSeverity.WARN)]
)
def test_an_attack_that_gets_through_blocks_where_its_bound_does(
    repository: Path, blocking: bool, severity: dg.AssetCheckSeverity
) -> None:
    criteria = judged(repository, blocking).criteria
    found = gating.gathered([one for one in criteria if gating.is_an_attack(one.name)])
    assert not found.passed
    assert found.severity == severity
    assert "attack_relearn: 0.500 (<= 0.1)" in str(found.description)
    assert found.metadata["attack_relearn.value"].value == 0.5
    held = gating.gathered([one for one in criteria if gating.is_a_metric(one.name)])
    assert held.passed
    assert gating.gathered([]).description == "no threshold is set"


def test_the_last_lines_of_the_demo_have_a_row_a_kind(repository: Path) -> None:
    told_of = {**report(), "attacks": ATTACKS}
    text = summary.text(told_of, judged(repository, blocking=False))
    [line] = [line for line in text.splitlines() if line.startswith("relearn")]
    assert line.split()[1:5] == ["1.000", "0.875", "→", "0.375"]
    assert "what it tries" not in summary.text(report(), judged(repository, blocking=False))
