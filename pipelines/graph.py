"""The graph of one line: the stages as assets, the gates as checks, the promotion, and the jobs over them."""

from __future__ import annotations

import warnings

import dagster as dg

from pipelines.gating import gate_check, gathered_check, is_a_metric, is_an_attack
from pipelines.line import Line
from pipelines.making import OWNERS, stage_asset
from pipelines.purging import purge_job
from pipelines.releasing import promotion_asset
from unlearning.evidence import suppression
from unlearning.stages import STAGES

PROMOTION = "model_promotion"
BATCH_JOB = "unlearn_batch"

# name, group, kinds, description
_ASSETS: tuple[tuple[str, str, set[str], str], ...] = (
    (
        "deletion_requests",
        "intake",
        {"sqlite", "json"},
        "The pending requests of one goal, sealed into a batch that never changes again.",
    ),
    (
        "forget_manifest",
        "intake",
        {"parquet"},
        "Every stored image that the requests cover, equal pixels included.",
    ),
    (
        "deletion_plan",
        "intake",
        {"json"},
        "Which way of forgetting the policy has this batch take: exact, approximate, retrain or suppress; why.",
    ),
    (
        "retain_proxy_set",
        "training",
        {"parquet"},
        "Images the model must keep, or that stand for them, and a held-out set in neither.",
    ),
    (
        "original_checkpoint",
        "training",
        {"pytorch", "safetensors"},
        "The model before forgetting: the champion, pinned by version and sha256, or a base trained here.",
    ),
    (
        "reference_checkpoint",
        "training",
        {"pytorch", "safetensors"},
        "The same training without any image of the forget manifest: what knowing nothing of it looks like.",
    ),
    (
        "unlearned_checkpoint",
        "training",
        {"pytorch", "safetensors"},
        "The original after forgetting: method x merge x scope of params.yaml.",
    ),
    (
        "evaluation_report",
        "evaluation",
        {"pytorch", "html"},
        "Scores with intervals, per-image values, and report.html for people.",
    ),
    (
        "certificate",
        "release",
        {"json"},
        "What was run, on which bytes, with which result; claim level C1 or C2, or `refused`. Check it offline "
        "with `unlearning verify`.",
    ),
    # What is withheld while a batch is on its way. Beside the line: nothing of it waits for a filter.
    (
        "interim_filter",
        "suppression",
        {"safetensors"},
        "A filter before the served model that withholds what looks like the images to forget. Suppression, claim "
        "level C0, never deletion; promotion takes it away.",
    ),
)


def assets(line: Line) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The data set, the stages in their order, the filter beside them, and the promotion."""
    image_dataset = dg.AssetSpec(
        line.key("image_dataset"),
        group_name=line.called("intake"),
        kinds={"webdataset", "parquet"},
        owners=OWNERS,
        description="The ingested images: shards and index.parquet below <root>/data. Made by `unlearning ingest`.",
    )
    return [image_dataset, *(stage_asset(line, *one) for one in _ASSETS), promotion_asset(line)]


def checks(line: Line) -> list[dg.AssetChecksDefinition]:
    """One check a criterion, for each batch. What blocks, blocks model_promotion and nothing else.

    Bounds on attacks and on metrics are named by the parameters alone, so all of a sort share one check.
    """
    with warnings.catch_warnings():
        # Checks with partitions are a preview of Dagster's: tests/pipelines hold what we need of it.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return _checks(line)


def _checks(line: Line) -> list[dg.AssetChecksDefinition]:
    return [
        gate_check(line, "integrity", "The report is about the checkpoints that lie here, and the weights moved."),
        gate_check(line, "retention", "What must be kept is still drawn as before, on held-out images."),
        gate_check(line, "forgetting", "What must go is drawn as badly as by a model that knows nothing."),
        gate_check(line, "forgetting_trained", "The same, on the images that training saw."),
        gate_check(line, "reference_distance", "The model behaves like one that never saw the forget set."),
        gate_check(line, "over_forgetting", "Not so wrong that the picture betrays what was forgotten.", False),
        gate_check(line, "sibling_retention", "Kept classes that look like the forgotten ones are too.", False),
        gate_check(line, "earlier", "What earlier batches forgot is still forgotten."),
        gathered_check(line, "attacks", "What attackers bring back or tell stays within gates.attacks.", is_an_attack),
        gathered_check(
            line, "metrics", "What metrics say of the unlearned model stays within gates.metrics.", is_a_metric
        ),
    ]


def jobs(line: Line) -> list[dg.UnresolvedAssetJobDefinition | dg.JobDefinition]:
    """The batch from its requests to its promotion; meanwhile, its filter; and, when it is served, its purge."""
    return [batch_job(line), suppress_job(line), purge_job(line)]


def batch_job(line: Line) -> dg.UnresolvedAssetJobDefinition:
    """Everything a batch needs. A line that does not promote by itself leaves model_promotion to a person."""
    made = [*STAGES, *([PROMOTION] if line.promote else [])]
    return dg.define_asset_job(
        line.called(BATCH_JOB),
        selection=dg.AssetSelection.assets(*(line.key(name) for name in made)),
        # A retried run asks every stage again: what is made is found by its files, not by Dagster's memory.
        run_tags={**line.tags, "dagster/retry_strategy": "ALL_STEPS"},
        description="From the sealed requests of one batch to its certificate and, if every gate holds, its promotion.",
    )


def suppress_job(line: Line) -> dg.UnresolvedAssetJobDefinition:
    """Seconds, where the batch itself takes hours."""
    made = ("deletion_requests", "forget_manifest", "retain_proxy_set", suppression.ASSET)
    return dg.define_asset_job(
        line.called("suppress"),
        selection=dg.AssetSelection.assets(*(line.key(name) for name in made)),
        run_tags=line.tags,
        description="Seconds: withhold what one batch asks to forget, beside the model that still knows it (C0).",
    )
