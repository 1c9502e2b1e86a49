"""What was measured before, kept by everything it depends on: run the same command again to resume.

A file a set and metric, a file a set for what is shown of it, and a file a set, draw and extractor for the features of
its true images. A file that is not there or not whole is measured again; one that is, is bit for bit what measuring it
again would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unlearning import digests, files
from unlearning.contracts import Metric
from unlearning.errors import StorageError
from unlearning.metrics.extractors.extractor import Extractor

if TYPE_CHECKING:
    from unlearning.verbs._measure import Measured

Arrays = dict[str, np.ndarray]
_SHOWN, _LOOK = "shown/", "look/"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one set. `pictures` are all that its true pictures, framed, depend on; `models` the rest."""

    measured: Path  # folder
    features: Path  # folder
    pictures: Mapping[str, Any]
    models: Mapping[str, Any]

    def recall(self, metric: Metric, extractor: Extractor | None, into: Measured) -> bool:
        """Whether `metric` was measured before; then it stands in `into`."""
        found = _read(self._of(metric, extractor))
        if found is None:
            return False
        for role, values in found.items():
            if metric.per_image:
                into.per_image[role][metric.name] = values
            elif len(values):
                into.per_set[role][metric.name] = values.tolist()
        return True

    def keep(self, metric: Metric, extractor: Extractor | None, measured: Measured) -> None:
        """Keep what stands in `measured` of one metric."""
        kept: Arrays = {}
        for role in measured.per_image:
            if metric.per_image:
                kept[role] = measured.per_image[role][metric.name]
            else:
                kept[role] = np.array(measured.per_set[role].get(metric.name, []), dtype=np.float64)
        _write(self._of(metric, extractor), kept)

    def recall_shown(self, into: Measured, pictures: int, observed: int) -> bool:
        """Whether pictures and looks were made before; then they stand in `into`."""
        found = _read(self._shown(pictures, observed))
        if found is None:
            return False
        into.finite = bool(found.pop("finite")[0])
        into.pictures |= {name.removeprefix(_SHOWN): row for name, row in found.items() if name.startswith(_SHOWN)}
        into.looks |= {name.removeprefix(_LOOK): row for name, row in found.items() if name.startswith(_LOOK)}
        return True

    def keep_shown(self, measured: Measured, pictures: int, observed: int) -> None:
        """Keep pictures, looks, and whether everything was finite."""
        kept = {"finite": np.array([measured.finite])}
        kept |= {_SHOWN + name: row for name, row in measured.pictures.items()}
        _write(self._shown(pictures, observed), kept | {_LOOK + name: row for name, row in measured.looks.items()})

    def truth(self, extractor: Extractor, name: str, seed: int) -> np.ndarray | None:
        """[N, F] float64: features of the true pictures under one draw, as `name` frames them."""
        found = _read(self._truth(extractor, name, seed))
        return None if found is None else found["features"].astype(np.float64)

    def keep_truth(self, extractor: Extractor, name: str, seed: int, features: np.ndarray) -> None:
        """Keep them, in float32 if that loses nothing."""
        small = features.astype(np.float32)
        kept = small if np.array_equal(small.astype(np.float64), features) else features
        _write(self._truth(extractor, name, seed), {"features": kept})

    def _of(self, metric: Metric, extractor: Extractor | None) -> Path:
        seen = None if extractor is None else [extractor.name, extractor.weights_sha256]
        recipe = metric.model_dump(mode="json")
        return self._place(self.measured, {**self.pictures, **self.models, "metric": recipe, "extractor": seen})

    def _shown(self, pictures: int, observed: int) -> Path:
        asked = {"shown": pictures, "observed": observed}
        return self._place(self.measured, {**self.pictures, **self.models, **asked})

    def _truth(self, extractor: Extractor, name: str, seed: int) -> Path:
        seen = [extractor.name, extractor.weights_sha256, name == "copies"]
        made_of = {key: value for key, value in self.pictures.items() if key != "seeds"}
        return self._place(self.features, {**made_of, "seed": seed, "extractor": seen})

    def _place(self, folder: Path, made_of: Mapping[str, Any]) -> Path:
        return folder / f"{digests.of_value(made_of)}.safetensors"


def _write(path: Path, arrays: Arrays) -> None:
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    # The file sorts its names; rows of pictures have an order of their own.
    order = files.canonical(list(whole)).decode()
    files.write_bytes(path, save(whole, metadata={"sha256": _digest(whole), "order": order}))


def _read(path: Path) -> Arrays | None:
    """None where there is no such file, or a damaged one."""
    try:
        with safe_open(path, framework="numpy") as file:
            written = file.metadata() or {}
            found: Arrays = {name: file.get_tensor(name) for name in files.parse_json(written["order"], str(path))}
    except (OSError, SafetensorError, KeyError, StorageError):
        return None
    return found if written.get("sha256") == _digest(found) else None


def _digest(arrays: Arrays) -> str:
    return digests.of_value([[name, digests.of_bytes(arrays[name].tobytes())] for name in sorted(arrays)])
