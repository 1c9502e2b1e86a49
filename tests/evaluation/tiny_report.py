"""A report.json of a few numbers, for what is made of one."""

from __future__ import annotations

from typing import Any

ROLES = ("original", "unlearned", "reference", "mean_picture")
HOSTILE = "<script>alert(1)</script>"


def report(verdict: str = "passed", label: str = "3") -> dict[str, Any]:
    def score(value: float, on: str) -> dict[str, Any]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "images": 70, "set": on}

    metrics = {role: {"mse": 0.1 * place, "psnr": 12.5, "ssim": 0.8} for place, role in enumerate(ROLES, 1)}
    found = {"images": 70, "metrics": metrics, "mse_by_class": {label: dict.fromkeys(ROLES, 0.2)}}
    return {
        "model": "digits-mae",
        "batch": "demo",
        "goal": "unreconstructable",
        "verdict": verdict,
        "scores": {
            "forgetting": score(1.2, "forget_holdout"),
            "forgetting_trained": score(1.1, "forget"),
            "retention": score(0.99, "holdout"),
            "retention_trained": None,
            "reference_forgetting": score(1.1, "forget_holdout"),
            "reference_forgetting_trained": score(1.0, "forget"),
            "reference_retention": score(1.01, "holdout"),
        },
        "sets": {"forget": found, "forget_holdout": found, "retain": found, "holdout": found},
        "criteria": [
            {"name": "forgetting", "status": "pass", "blocking": True, "sentence": HOSTILE, "source": "a policy"},
            {"name": "over_forgetting", "status": "fail", "blocking": False, "sentence": "1.2", "source": "a policy"},
        ],
        "extractor": {"name": "a classifier", "weights_sha256": "ab" * 32},
        "corruption": {"kind": "random_patches"},
        "seeds": [0, 1, 2],
        "confidence": 0.95,
    }


def told(kind: str = "exposure", value: float | None = 0.31, **more: Any) -> dict[str, Any]:
    """An attack that tells apart, with a score that bears a hostile name."""
    one = {"name": HOSTILE, "low": 0.75, "high": 0.85, "ones": 70, "others": 70, "tpr_at_1_percent": 0.125}
    signal = None if value is None else {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {
        "kind": kind,
        "finding": "told",
        "recipe": {"kind": kind, "views": 4},
        "groups": ["to forget", HOSTILE],
        "signal": signal,
        **{
            role: {"separations": [{**one, "auc": auc}], "numbers": {"CKA, level 1": 0.5 + auc}}
            for role, auc in zip(ROLES[:3], (0.8, 0.81, 0.5), strict=True)
        },
        **more,
    }
