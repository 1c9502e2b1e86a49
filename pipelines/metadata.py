"""A lineage record as what Dagster shows: data version, inputs with their hashes, counts, links and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.evidence import Materialized
from unlearning.evidence.lineage import Record
from unlearning.workspace import BatchFolder

PICTURE_BYTES = 60_000  # the event log is SQL: a picture there is a thumbnail, the file is linked

Metadata = dict[str, dg.MetadataValue[Any]]


def materialized(
    record: Record, batch: BatchFolder, upstream: Mapping[str, Materialized], extra: Mapping[str, dg.MetadataValue[Any]]
) -> dg.MaterializeResult[Any]:
    """What an asset returns. `extra` is what MLflow, DVC and the pictures add."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"sha256:{record.sha256}"),
        metadata={**_identity(record, batch), "inputs": _inputs(record, upstream), **_counts(record), **extra},
    )


def picture(path: Path, most: int = PICTURE_BYTES) -> dg.MarkdownMetadataValue:
    """One PNG as markdown, made smaller until it has at most `most` bytes."""
    content = path.read_bytes()
    if len(content) > most:
        content = _smaller(content, most)
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{base64.b64encode(content).decode()})")


def _smaller(content: bytes, most: int) -> bytes:
    from PIL import Image  # not at definition load

    image = Image.open(io.BytesIO(content)).convert("RGB")
    while len(content) > most and min(image.size) > 16:
        image = image.resize((max(1, image.width * 2 // 3), max(1, image.height * 2 // 3)))
        buffer = io.BytesIO()
        image.quantize(64).save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
    return content


def _identity(record: Record, batch: BatchFolder) -> Metadata:
    return {
        "path": dg.MetadataValue.path(str(batch.asset(record.asset))),
        "sha256": dg.MetadataValue.text(record.sha256),
        "bytes": dg.MetadataValue.int(sum(file.bytes for file in record.outputs)),
        "params_sha256": dg.MetadataValue.text(record.params_sha256),
        "code": dg.MetadataValue.text(_code(record)),
        "made_at": dg.MetadataValue.text(record.made_at),
    }


def _code(record: Record) -> str:
    dirty = ", with uncommitted changes" if record.code.get("dirty") else ""
    return f"{record.code.get('revision')}{dirty} (sources {str(record.code.get('source_sha256'))[:12]})"


def _inputs(record: Record, upstream: Mapping[str, Materialized]) -> dg.TableMetadataValue:
    """One row an input: the hash that was read, and the event of the same batch that made these bytes."""
    rows = [
        dg.TableRecord({"input": name, "made_by": _made_by(upstream.get(name), sha256), "sha256": sha256})
        for name, sha256 in sorted(record.inputs.items())
    ]
    columns = [dg.TableColumn(name, "string") for name in ("input", "made_by", "sha256")]
    return dg.MetadataValue.table(rows, dg.TableSchema(columns))


def _made_by(event: Materialized | None, sha256: str) -> str:
    if event is None or event.data_version != f"sha256:{sha256}":
        return "outside Dagster"
    return f"run {event.run_id[:8]}, event {event.storage_id}"


def _counts(record: Record) -> Metadata:
    """Numbers become plots over the partitions; short words stay words."""
    shown: Metadata = {}
    for name, value in flat(record.facts):
        if isinstance(value, bool | str):
            shown[name] = dg.MetadataValue.text(str(value)[:200])
        elif isinstance(value, int):
            shown[name] = dg.MetadataValue.int(value)
        elif isinstance(value, float):
            shown[name] = dg.MetadataValue.float(value)
    return shown


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `("a.b", 1)`."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
