"""The files of an evaluation_report: report.json, report.html, per_image.parquet, likelihood.parquet, figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unlearning import files
from unlearning.evidence import claims, lineage
from unlearning.gates import Criterion, Verdict
from unlearning.metrics._likelihood import Bits
from unlearning.params import Params
from unlearning.report import attack_figures, figures, page
from unlearning.report.charts import Points
from unlearning.report.figures import Rows
from unlearning.report.page import Aside
from unlearning.stages import STAGES
from unlearning.verbs import _earlier, _timed
from unlearning.verbs._earlier import Earlier
from unlearning.verbs._measure import Measured
from unlearning.verbs._timed import Clock
from unlearning.verbs._whole_pictures import Whole
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Beside:
    """What an evaluation made that is not in report.json."""

    looked: Whole
    points: Points  # of the embedding map; empty where none was asked for
    clock: Clock
    attacks: Mapping[str, float]  # kind -> seconds
    earlier: Earlier


def write(
    params: Params,
    batch: BatchFolder,
    folder: Path,
    report: dict[str, Any],
    measured: Mapping[str, Measured],
    beside: Beside,
) -> None:
    """Every file of the asset, into `folder`. Pictures of forget images only where the parameters allow it."""
    looked = beside.looked
    files.write_json(folder / "report.json", report)
    pq.write_table(_per_image(measured), folder / "per_image.parquet", compression="zstd")
    if looked.bits:
        pq.write_table(_per_image_bits(measured, looked.bits), folder / "likelihood.parquet", compression="zstd")
    if beside.earlier.found:
        pq.write_table(_earlier.per_image(beside.earlier), folder / "earlier.parquet", compression="zstd")
    shown = {
        name: found.pictures
        for name, found in measured.items()
        if params.report.show_forget_images or not name.startswith("forget")
    }
    (folder / "figures").mkdir()
    made = {
        "pictures.png": figures.drawn(looked.shown) if looked.shown else figures.pictures(shown),
        "scores.png": figures.scores(report),
        "classes.png": figures.classes(report),
        "attacks.png": attack_figures.attacks(report),
        "map.png": attack_figures.embedding_map(beside.points),
    }
    for name, content in made.items():
        if content is not None:
            files.write_bytes(folder / "figures" / name, content)
    html = page.render(report, _aside(params, batch, report, shown, beside))
    files.write_bytes(folder / "report.html", html.encode())


def _aside(
    params: Params, batch: BatchFolder, report: Mapping[str, Any], shown: Mapping[str, Rows], beside: Beside
) -> Aside:
    rows = [Criterion(**row) for row in report["criteria"]]
    verdict = Verdict(report["goal"], report["verdict"] == "passed", tuple(rows))
    return Aside(
        shown=shown,
        drawn=beside.looked.shown,
        history={name: _training_log(batch.asset(name)) for name in ("original_checkpoint", "unlearned_checkpoint")},
        inputs=lineage.inputs(STAGES["evaluation_report"], params, batch),
        code=lineage.code_identity(),
        points=beside.points,
        timings=[
            *_timed.stages(batch),
            *((what, seconds, 0.0) for what, seconds in sorted(beside.clock.seconds.items())),
            *((f"attack {kind}", seconds, 0.0) for kind, seconds in beside.attacks.items()),
        ],
        machine=dict(sorted(beside.clock.machine.items())),
        not_shown=claims.not_claimed("", report, verdict),
    )


def _per_image(measured: Mapping[str, Measured]) -> pa.Table:
    """One row an image, seed and model: nothing in the report is only a mean."""
    parts = []
    for found in measured.values():
        for role, metrics in found.per_image.items():
            n, seeds = next(iter(metrics.values())).shape
            rows = found.table.select(["key", "class", "subject"]).take(np.repeat(np.arange(n), seeds))
            rows = rows.append_column("set", pa.array([found.name] * (n * seeds)))
            rows = rows.append_column("model", pa.array([role] * (n * seeds)))
            rows = rows.append_column("draw", pa.array(np.tile(np.arange(seeds), n)))
            for kind, values in metrics.items():
                rows = rows.append_column(kind, pa.array(values.reshape(-1)))
            parts.append(rows)
    return pa.concat_tables(parts)


def _per_image_bits(measured: Mapping[str, Measured], found: Mapping[tuple[str, str], Bits]) -> pa.Table:
    """One row an image and model."""
    parts = []
    for (name, role), bits in found.items():
        rows = measured[name].table.select(["key", "class", "subject"]).slice(0, len(bits.value))
        rows = rows.append_column("set", pa.array([name] * len(rows)))
        rows = rows.append_column("model", pa.array([role] * len(rows)))
        rows = rows.append_column("bits", pa.array(bits.value.numpy()))
        parts.append(rows.append_column("standard_error", pa.array(bits.standard_error.numpy())))
    return pa.concat_tables(parts)


def _training_log(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    if not path.is_file():
        return []
    return [files.parse_json(line, str(path)) for line in path.read_text().splitlines()]
