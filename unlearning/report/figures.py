"""PNG figures of a report, for MLflow, Dagster and the README. Readable on white; report.html draws its own."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

Rows = Mapping[str, np.ndarray]  # row label -> [P, C, H, W] float32 in [-1, 1]

SET_NAMES = {
    "forget": "forget (trained on)",
    "forget_holdout": "forget (held out)",
    "retain": "retain (trained on)",
    "holdout": "retain (held out)",
    "siblings": "siblings (held out)",
    "earlier": "forgotten earlier",
}
ROLE_COLOURS = {
    "original": "#3b6ea5",
    "unlearned": "#c8553d",
    "reference": "#588157",
    "mean_picture": "#9a9a9a",
}
ERROR_NAMES = {"mse": "MSE on missing pixels", "surprise": "surprise at whole pictures"}
_ROW_NAMES = {"mean_picture": "mean picture"}
_FAINT = 70  # of 255, opaque: a picture that is not shown
_HIDDEN_ROWS = {"mean_picture"}
_CLASS_MARKS = {"forget": "*", "forget_holdout": "*", "siblings": "+"}


def pictures(shown: Mapping[str, Rows]) -> bytes:
    """What each model draws: one block a set (held-out images where there are some), one row a model."""
    blocks = [name for name in (_first(shown, "forget_holdout", "forget"), _first(shown, "holdout", "retain")) if name]
    if not blocks:
        return png(Figure(figsize=(4, 1)))
    labels = [label for label in shown[blocks[0]] if label not in _HIDDEN_ROWS]
    widest = max(len(next(iter(shown[name].values()))) for name in blocks)
    figure = Figure(figsize=(1.4 + 0.62 * widest * len(blocks), 0.5 + 0.62 * len(labels)), layout="constrained")
    axes = figure.subplots(1, len(blocks), squeeze=False)[0]
    for axis, name in zip(axes, blocks, strict=True):
        _draw_block(axis, name, shown[name], labels, first=name == blocks[0])
    return png(figure, dpi=130)


def drawn(shown: Rows) -> bytes:
    """What each model draws from nothing, one row a model, one column a start: the noise is the same for all."""
    labels = list(shown)
    figure = Figure(figsize=(1.4 + 0.62 * len(shown[labels[0]]), 0.5 + 0.62 * len(labels)), layout="constrained")
    _draw_block(figure.subplots(), "drawn from nothing", shown, labels, first=True)
    return png(figure, dpi=130)


def scores(report: Mapping[str, Any]) -> bytes:
    """Forgetting against retention, with intervals: unlearned and reference."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.axvspan(0.98, 1.02, color="#eeeeee")
    axis.axhline(1, color="#bbbbbb", linewidth=1, linestyle="--")
    for role, prefix in (("unlearned", ""), ("reference", "reference_")):
        forgetting = report["scores"].get(f"{prefix}forgetting")
        retention = report["scores"].get(f"{prefix}retention")
        if forgetting and retention:
            axis.errorbar(
                retention["value"],
                forgetting["value"],
                xerr=_arms(retention),
                yerr=_arms(forgetting),
                fmt="o",
                capsize=3,
                color=ROLE_COLOURS[role],
                label=role,
            )
    axis.plot([1], [0], "o", color=ROLE_COLOURS["original"], label="original")
    does = "draws" if error(report) == "mse" else "knows"
    axis.set_xlabel(f"retention (1 = {does} retain images like the original)")
    axis.set_ylabel("forgetting (1 = knows nothing)")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return png(figure)


def classes(report: Mapping[str, Any]) -> bytes:
    """The error of every class, each model beside the others: who paid for the forgetting?"""
    errors = class_errors(report)
    figure = Figure(figsize=(max(5.0, 0.55 * len(errors) + 1.5), 3.2), layout="constrained")
    axis = figure.subplots()
    roles = [role for role in ROLE_COLOURS if any(role in by_role for by_role in errors.values())]
    for place, role in enumerate(roles):
        heights = [by_role.get(role, np.nan) for by_role in errors.values()]
        positions = np.arange(len(errors)) + (place - (len(roles) - 1) / 2) * 0.8 / max(len(roles), 1)
        axis.bar(positions, heights, width=0.75 / max(len(roles), 1), color=ROLE_COLOURS[role], label=_name(role))
    axis.set_xticks(np.arange(len(errors)), list(errors), rotation=45 if len(errors) > 12 else 0)
    axis.set_ylabel(ERROR_NAMES[error(report)])
    axis.legend(frameon=False, ncols=2, fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)
    return png(figure)


def class_errors(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Per class, held out where there are such images: forget classes (*), siblings (+), then the other kept ones."""
    sets, by_class = report["sets"], f"{error(report)}_by_class"
    siblings = sets.get("siblings", {by_class: {}})[by_class]
    errors = {}
    for name in (_first(sets, "forget_holdout", "forget"), _first(sets, "siblings"), _first(sets, "holdout", "retain")):
        for label, by_role in sets[name][by_class].items() if name else ():
            if name == "siblings" or label not in siblings:
                errors[label + _CLASS_MARKS.get(str(name), "")] = by_role
    return errors


def error(report: Mapping[str, Any]) -> str:
    """What scores are made of: `mse` on missing pixels, or `surprise` at whole pictures. Older reports name none."""
    return str(report.get("measure", "mse"))


def strip(row: np.ndarray) -> bytes:
    """The pictures of one row side by side, at their own size, PNG; the gaps are transparent."""
    buffer = io.BytesIO()
    Image.fromarray(_side_by_side(row, gap=1)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _draw_block(axis: Axes, name: str, rows: Rows, labels: list[str], first: bool) -> None:
    lines = [_side_by_side(rows[label], gap=2, scale=max(1, 64 // rows[label].shape[-1])) for label in labels]
    height = lines[0].shape[0]
    axis.imshow(np.concatenate(lines), interpolation="nearest")
    axis.set_title(SET_NAMES.get(name, name), fontsize=11)
    centres = [height * (place + 0.5) for place in range(len(labels))]
    axis.set_yticks(centres, [_name(label) for label in labels] if first else [""] * len(labels), fontsize=10)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _side_by_side(row: np.ndarray, gap: int, scale: int = 1) -> np.ndarray:
    """[P, C, H, W] in [-1, 1] -> [H', W', 4] uint8, transparent between the pictures; NaN is a faint grey."""
    hidden = np.isnan(row).any(axis=(1, 2, 3))
    pixels = ((np.nan_to_num(row).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    pixels = np.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:])).transpose(0, 2, 3, 1)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    opaque = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)
    opaque[hidden, ..., 3] = _FAINT
    framed = np.pad(opaque, ((0, 0), (gap, gap), (gap, gap), (0, 0)))
    return np.concatenate(list(framed), axis=1)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG that names no software, so that the same numbers give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _arms(score: Mapping[str, float]) -> list[list[float]]:
    low, high = score.get("low"), score.get("high")
    value = score["value"]
    return [[value - low if low is not None else 0.0], [high - value if high is not None else 0.0]]


def _first(mapping: Mapping[str, Any], *names: str) -> str | None:
    return next((name for name in names if name in mapping), None)


def _name(label: str) -> str:
    return _ROW_NAMES.get(label, label)
