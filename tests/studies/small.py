"""A study of seconds: digits 3 and 8, a generator of a few thousand weights, one corruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from unlearning.studies import Plans

_BUDGET = {"steps": 300, "batch_size": 64, "learning_rate": 6e-3, "warmup_steps": 10}
KEPT = {
    "generator": {"kind": "mae", "size": "tiny", "width": 48, "depth": 1, "decoder_width": 32},
    "original": _BUDGET,
}


def tree(**changes: Any) -> dict[str, Any]:
    """The study file as YAML reads it; the third point of it is made to fail."""
    return {
        "name": "small",
        "dataset": "digits",
        "source": "digits",
        "families": {"mae": {"params": "params.yaml"}},
        "forget": {"three_eight": {"classes": [3, "8"], "siblings": ["5"]}},
        "corruptions": {"hole": {"corruption": {"kind": "center_hole", "side": 0.5}, "evaluate.seeds": [0]}},
        "methods": {
            "noise_target": {
                "set": {"unlearn.merge": {"kind": "weighted_sum"}},
                "vary": {"unlearn.merge.forget_weight": [0.1, 2]},
            },
            "diverges": {"set": {"unlearn.budget.learning_rate": 1e30}},
        },
        "ceiling": {"steps": 20},
        **changes,
    }


def written(home: Path, repository: Path, **changes: Any) -> Plans:
    """The study and its parameter file below `home`, read back."""
    params = yaml.safe_load((repository / "infra" / "studies" / "params" / "digits-mae.yaml").read_text())
    params |= KEPT
    params["unlearn"]["budget"] = {**_BUDGET, "steps": 25}
    params["evaluate"] |= {"max_images": 60, "bootstrap": 100}
    home.mkdir(parents=True, exist_ok=True)
    (home / "params.yaml").write_text(yaml.safe_dump(params))
    (home / "study.yaml").write_text(yaml.safe_dump(tree(**changes), sort_keys=False))
    return Plans.read(home / "study.yaml")
