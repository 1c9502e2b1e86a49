"""What an attack found of one model, kept by content: an evaluation that was stopped goes on after the last attack."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import files
from unlearning.attack import Curve, Finding, Forgotten, Separation, Told
from unlearning.errors import StorageError

Arrays = dict[str, np.ndarray]
_ABOUT = "about"
_ERRORS = ("errors", "original", "nothing")
_SIDES = ("one", "other")


def write(path: Path, finding: Finding, seconds: float) -> None:
    """Keep it, raw: every number of every image, in one file that appears whole."""
    arrays: Arrays = {"numbers": np.array(list(finding.numbers.values()), dtype=np.float64)}
    about: dict[str, Any] = {"seconds": seconds, "numbers": list(finding.numbers)}
    if isinstance(finding, Curve):
        about |= {"effort": list(finding.effort), "unit": finding.effort_unit, "places": list(finding.places)}
        about["teaches"] = finding.teaches
        for place, point in enumerate(finding.forgetting):
            arrays |= {f"{place}.{part}": getattr(point, part) for part in _ERRORS}
    else:
        about |= {"groups": list(finding.groups), "two_sided": finding.two_sided, "beside": finding.beside}
        about["names"] = [one.name for one in finding.separations]
        for place, one in enumerate(finding.separations):
            arrays |= {f"{place}.{part}": getattr(one, part) for part in _SIDES}
    _write(path, about, arrays)


def read(path: Path) -> tuple[Finding, float] | None:
    """What was kept and the seconds it took; None where nothing was."""
    kept = _read(path)
    if kept is None:
        return None
    about, arrays = kept
    numbers = dict(zip(about["numbers"], arrays["numbers"].tolist(), strict=True))
    finding: Finding
    if "unit" in about:
        points = [Forgotten(*(arrays[f"{place}.{part}"] for part in _ERRORS)) for place in range(len(about["effort"]))]
        finding = Curve(about["effort"], points, about["unit"], tuple(about["places"]), numbers, about["teaches"])
    else:
        told = [
            Separation(name, *(arrays[f"{place}.{part}"] for part in _SIDES))
            for place, name in enumerate(about["names"])
        ]
        groups = about["groups"]
        finding = Told(told, (groups[0], groups[1]), about["two_sided"], about["beside"], numbers)
    return finding, float(about["seconds"])


def write_control(path: Path, control: Separation | None) -> None:
    """Keep a positive control, or that there is none."""
    arrays = {} if control is None else {part: getattr(control, part) for part in _SIDES}
    _write(path, {"name": None if control is None else control.name}, arrays)


def read_control(path: Path) -> tuple[Separation | None] | None:
    """(control,) as it was kept; None where nothing was."""
    kept = _read(path)
    if kept is None:
        return None
    about, arrays = kept
    return (None if about["name"] is None else Separation(about["name"], *(arrays[part] for part in _SIDES)),)


def _write(path: Path, about: Mapping[str, Any], arrays: Arrays) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = {_ABOUT: np.frombuffer(files.canonical(dict(about)), dtype=np.uint8), **arrays}
    np.savez(buffer, **named)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, buffer.getvalue())


def _read(path: Path) -> tuple[dict[str, Any], Arrays] | None:
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return files.parse_json(arrays.pop(_ABOUT).tobytes(), str(path)), arrays
    except (ValueError, KeyError, zipfile.BadZipFile, StorageError):
        return None  # damaged: made again
