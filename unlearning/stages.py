"""The stages of a batch: names, arrows, commands and parameters.

dvc.yaml and the Dagster graph are held equal to this table by a test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One artefact of a batch and the verb that makes it."""

    name: str  # of the asset, the dvc stage, and the folder below the batch
    verb: tuple[str, ...]  # `python -m unlearning <verb> --batch KEY`
    inputs: tuple[str, ...]  # stages this one reads; `image_dataset` is the ingested data set
    params: tuple[str, ...]  # sections of params.yaml this one reads
    trains: bool = False  # runs in the compute process, on the accelerator
    together: bool = False  # every process of a torchrun launch takes part; others run in one


_STAGES = (
    Stage("deletion_requests", ("seal",), (), ()),
    Stage("forget_manifest", ("resolve",), ("image_dataset", "deletion_requests"), ("model", "data", "resolve")),
    Stage(
        "deletion_plan",
        ("plan",),
        ("image_dataset", "deletion_requests", "forget_manifest"),
        ("model", "data", "generator", "corruption", "original", "unlearn", "policy"),
    ),
    Stage("retain_proxy_set", ("retain",), ("image_dataset", "forget_manifest"), ("data", "retain")),
    Stage(
        "original_checkpoint",
        ("train", "original"),
        ("image_dataset",),
        ("model", "data", "generator", "corruption", "original"),
        trains=True,
        together=True,
    ),
    Stage(
        "reference_checkpoint",
        ("train", "reference"),
        ("image_dataset", "forget_manifest"),
        ("model", "data", "generator", "corruption", "original"),
        trains=True,
        together=True,
    ),
    Stage(
        "unlearned_checkpoint",
        ("unlearn",),
        ("image_dataset", "forget_manifest", "deletion_plan", "retain_proxy_set", "original_checkpoint"),
        ("data", "generator", "corruption"),  # `unlearn` comes from the plan
        trains=True,
        together=True,
    ),
    Stage(
        "evaluation_report",
        ("evaluate",),
        (
            "image_dataset",
            "deletion_requests",
            "forget_manifest",
            "deletion_plan",
            "retain_proxy_set",
            "original_checkpoint",
            "reference_checkpoint",
            "unlearned_checkpoint",
        ),
        ("data", "generator", "corruption", "evaluate", "gates", "report"),
        trains=True,
    ),
    Stage(
        "certificate",
        ("certify",),
        (
            "deletion_requests",
            "forget_manifest",
            "deletion_plan",
            "retain_proxy_set",
            "original_checkpoint",
            "reference_checkpoint",
            "unlearned_checkpoint",
            "evaluation_report",
        ),
        ("gates",),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _STAGES}

# Beside a batch's line: made when somebody asks, read by no stage, tracked by no dvc.yaml.
_BESIDE = (
    Stage(
        "interim_filter",
        ("suppress",),
        ("image_dataset", "forget_manifest", "retain_proxy_set"),
        ("data", "corruption", "evaluate", "suppress"),
        trains=True,
    ),
)

BESIDE: dict[str, Stage] = {stage.name: stage for stage in _BESIDE}


def named(name: str) -> Stage:
    """The stage of that name, of the line or beside it."""
    return STAGES[name] if name in STAGES else BESIDE[name]
