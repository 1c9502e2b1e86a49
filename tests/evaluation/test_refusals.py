"""Four models that must not ship, each of which something measured on it would let through. All are really measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.small_run import Trained
from unlearning import files
from unlearning.contracts import Generator
from unlearning.errors import CheckpointError
from unlearning.log import silent
from unlearning.verbs import certify, evaluate

SOURCE = "a threshold of this test"
# What a short run reaches, so that no bound but the one in question refuses.
REACHED = {
    "gates.forgetting_at_least": {"value": 0.3, "source": SOURCE},
    "gates.retention_at_least": {"value": 0.7, "source": SOURCE},
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
}
RELEARN = {"kind": "relearn", "part": "encoder", "steps": [0, 5, 20], "learning_rate": 3e-4}


@pytest.fixture
def trained(short_run: Trained, tmp_path: Path) -> Trained:
    return short_run.copied(tmp_path / "root")


def judged(trained: Trained, **changes: Any) -> dict[str, str]:
    """Evaluate and certify; the status of every criterion that may refuse. The certificate says as the report."""
    params = trained.params_with(**{**REACHED, **changes})
    evaluate.run(params, trained.batch, silent)
    certify.run(params, trained.batch, silent)
    report, said = trained.report(), files.read_json(trained.batch.certificate)
    assert said["status"] == {"passed": "issued", "refused": "refused"}[report["verdict"]]
    statuses = {row["name"]: row["status"] for row in report["criteria"] if row["blocking"]}
    assert (report["verdict"] == "passed") == (set(statuses.values()) == {"pass"})
    return statuses


def test_a_model_that_nothing_was_done_to_is_refused(trained: Trained) -> None:
    trained.replaced(lambda generator: None)
    assert judged(trained)["integrity"] == "fail"


def test_a_model_that_draws_what_is_no_number_is_refused(trained: Trained) -> None:
    """Its weights are finite, and overflow on the way: every attack must live through that."""

    def overflow(generator: Generator) -> None:
        for weight in generator.parameters():
            weight.fill_(3e38)

    trained.replaced(overflow)
    attack = {"gates.attacks": {"relearn": {"value": 0.1, "source": SOURCE, "blocking": True}}}
    found = judged(trained, **attack, **{"evaluate.profile": "quick"})
    assert found["integrity"] == "fail"
    assert found["attack_relearn"] == "not_measured"


def test_weights_that_are_no_numbers_are_never_read(trained: Trained) -> None:
    def spoil(generator: Generator) -> None:
        next(iter(generator.parameters())).view(-1)[0] = float("nan")

    with pytest.raises(CheckpointError, match="holds a number that is not finite"):
        trained.replaced(spoil)


def test_a_grey_box_forgets_everything_and_is_refused(trained: Trained) -> None:
    """It forgets better than any method: the bound on forgetting alone would ship it; nor do its pictures vary."""

    def grey(generator: Generator) -> None:
        for weight in generator.parameters():
            weight.zero_()

    trained.replaced(grey)
    found = judged(trained, **{"evaluate.metrics": [{"kind": "mse"}, {"kind": "frechet"}, {"kind": "kid"}]})
    assert (found["integrity"], found["forgetting"], found["forgetting_trained"]) == ("pass", "pass", "pass")
    assert found["retention"] == "fail"


def test_a_model_that_hides_passes_on_its_pictures_and_is_refused_by_relearning(trained: Trained) -> None:
    """The noise target moves what the encoder says; a few steps on images to keep bring the forgotten back."""
    bound = {"relearn": {"value": 0.1, "source": SOURCE, "blocking": True}}
    plain = judged(trained, **{"evaluate.attacks": [RELEARN]})
    assert set(plain.values()) == {"pass"}
    found = judged(trained, **{"evaluate.attacks": [RELEARN], "gates.attacks": bound})
    assert found.pop("attack_relearn") == "fail"
    assert set(found.values()) == {"pass"}


def test_a_gate_on_an_attack_that_was_not_made_refuses(trained: Trained) -> None:
    bound = {"relearn": {"value": 0.1, "source": SOURCE, "blocking": True}}
    assert judged(trained, **{"gates.attacks": bound})["attack_relearn"] == "not_measured"
