"""The signed bundle of a batch as Dagster and MLflow show it: which one, of what level, by whose keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from unlearning.errors import UnlearningError
from unlearning.evidence import bundle, bundle_page
from unlearning.workspace import BatchFolder


def facts(batch: BatchFolder) -> dict[str, str]:
    """Of the bundle in its place; {} where none lies there, as while the privacy officer has not signed."""
    try:
        made = bundle.of_batch(batch)
    except UnlearningError:
        return {}
    last = made.lines[-1]
    return {
        "bundle.index_sha256": last.sha256,
        "bundle.sequence": str(made.index.sequence),
        "bundle.status": made.index.status,
        "bundle.claim_level": made.index.claim_level,
        "bundle.key_ids": " ".join(one.keyid for one in last.envelope.signatures),
    }


def files(batch: BatchFolder) -> list[Path]:
    """The bundle and its page, as far as they lie there. Neither names an image or a person."""
    try:
        path = bundle.file(batch)
    except UnlearningError:
        return []
    return [one for one in (path, bundle_page.beside(path)) if one.is_file()]


def metadata(batch: BatchFolder) -> dict[str, dg.MetadataValue[Any]]:
    """What the certificate and the promotion show in Dagster."""
    told: dict[str, dg.MetadataValue[Any]] = {
        name: dg.MetadataValue.text(value) for name, value in facts(batch).items()
    }
    for one in files(batch):
        told["bundle_page" if one.suffix == ".html" else "bundle"] = dg.MetadataValue.path(str(one))
    return told or {"bundle": dg.MetadataValue.text("not signed yet: it waits for the privacy officer")}
