"""Every generator family through the whole graph: a deletion request at one end, a certificate at the other.

Real verbs, real weights, real gates. The verbs run in this process, one family in processes of its own: starting
Python and importing torch four times a family is what the demo's test does, and so is a promotion.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.resources.compute import Compute
from tests import toys
from tests.pipelines.line import Line, checks, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.evidence import promotion, verification
from unlearning.stages import STAGES
from unlearning.training import checkpoint

_PALETTE = {"kind": "palette", **toys.SMALLEST["palette"]}
FAMILIES: dict[str, dict[str, Any]] = {
    "ddpm": {"kind": "ddpm", **toys.SMALLEST["ddpm"]},
    "latent": {"kind": "latent", **toys.SMALLEST["latent"]},
    "mae": {"kind": "mae", **toys.SMALLEST["mae"]},
    "mage": {"kind": "mage", **toys.SMALLEST["mage"]},
    "palette": _PALETTE,
    "stable_diffusion": {"kind": "stable_diffusion", **toys.SMALLEST["stable_diffusion"]},
    "palette_guided": {**_PALETTE, "network": "guided", "head_width": 8},
    "vae": {"kind": "vae", **toys.SMALLEST["vae"]},
}
_BUDGET = {"steps": 3, "batch_size": 4, "warmup_steps": 0, "learning_rate": 1e-3}
_SMALL: dict[str, Any] = {
    "original": _BUDGET,
    "unlearn.budget": _BUDGET,
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}, {"kind": "psnr"}],
    "evaluate.siblings": [],
    "report.pictures": 2,
}


def _overrides(family: str) -> dict[str, Any]:
    return {**_SMALL, "generator": FAMILIES[family]}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_a_request_to_a_refused_certificate(family: str, line: Line) -> None:
    """Three steps of training make no model worth serving, and the gates say so: nothing is promoted."""
    done = line.run("b1", compute=SameProcess(), **_overrides(family))
    assert not done.success
    assert materialized(done).keys() == set(STAGES), errors(done)
    assert not checks(done)["retention"].passed
    assert checks(done)["integrity"].passed  # weights moved, every number is finite, the report is about these

    batch = line.batch("b1")
    assert files.read_json(batch.report)["scores"].keys() >= {"forgetting", "retention", "reference_forgetting"}
    found = verification.verify(batch.path)
    assert (found.status, found.mismatches) == ("refused", ())
    assert promotion.champion(line.workspace, line.read_params().model.name) is None

    original, reference, unlearned = (
        checkpoint.load(folder).state_dict() for folder in (batch.original, batch.reference, batch.unlearned)
    )
    moved = {name for name in original if not torch.equal(original[name], unlearned[name])}
    assert moved
    assert moved <= checkpoint.load(batch.original).encoder_parameters().keys()
    assert any(not torch.equal(original[name], reference[name]) for name in moved)


def test_a_vae_that_is_shown_nothing_forgets_and_is_judged_by_how_well_it_knows(line: Line) -> None:
    """The way of SISS on latents, scored by the surprise of whole pictures."""
    chosen = {
        "corruption": {"kind": "everything"},
        "generator": {"kind": "vae", "widths": [16, 32]},
        "original": {**_BUDGET, "steps": 120, "batch_size": 16, "learning_rate": 1e-2},
        "unlearn.method": {"kind": "siss_vae"},
        "unlearn.merge": {"kind": "clipped_forget"},
        "unlearn.scope": {"kind": "all"},
    }
    done = line.run("b1", compute=SameProcess(), **{**_overrides("vae"), **chosen})
    assert materialized(done).keys() == set(STAGES), errors(done)
    batch = line.batch("b1")
    assert verification.verify(batch.path).mismatches == ()
    report = files.read_json(batch.report)
    surprise = {role: found["surprise"] for role, found in report["sets"]["forget"]["metrics"].items()}
    assert report["measure"] == "surprise"
    assert report["finite"]
    assert surprise["unlearned"] != surprise["original"]
    moved = (surprise["unlearned"] - surprise["original"]) / (surprise["mean_picture"] - surprise["original"])
    assert report["scores"]["forgetting_trained"]["value"] == pytest.approx(moved)
    original, unlearned = (checkpoint.load(folder).state_dict() for folder in (batch.original, batch.unlearned))
    still = {name for name in original if torch.equal(original[name], unlearned[name])}
    assert not any(name.startswith(("encoder.", "decoder.")) for name in still)


@pytest.mark.slow
def test_a_tokenizer_is_trained_and_kept_across_processes(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes of their own: what the first trained, the third unlearns and the fourth evaluates."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = line.run("b1", compute=Compute(), **_overrides("mage"))
    assert materialized(done).keys() == set(STAGES), errors(done)
    facts = checkpoint.describe(line.batch("b1").original)["facts"]
    assert facts["first_stage"]["steps"] == FAMILIES["mage"]["tokenizer_steps"]
