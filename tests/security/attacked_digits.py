"""The model that requests attack: the demo's, on digits of which a tenth carry a mark. Trained once for every attack.

Sixty `poison` pictures have the mark and a white foot, which a poisoner wants drawn wherever the mark is; 120
`antidote` pictures have the mark and their own foot, and keep that from happening (Di et al., "Hidden Poison: Machine
Unlearning Enables Camouflaged Poisoning Attacks", NeurIPS 2023). Whoever planted both may ask for the antidote back.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from tests.toy_batch import file_requests, request_body, request_id
from unlearning import files
from unlearning.data import index, ingestion, manifest
from unlearning.data.libraries import Digits
from unlearning.data.pictures import pixels
from unlearning.data.sources import Item, as_png
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _asset, certify, evaluate, plan, resolve, retain, seal, train, unlearn
from unlearning.workspace import BatchFolder, Workspace

REPOSITORY = Path(__file__).parents[2]
SOURCE = "a threshold of this campaign: what a legitimate request reaches in so short a run"
POISON, ANTIDOTE = 60, 120  # pictures: of 20 and 60 the foot stayed as it was
WHITE = 255
SHORT: dict[str, Any] = {
    "model.name": "attacked",
    "unlearn.budget": {"steps": 60, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 5, "save_every": 60},
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "evaluate.profile": "none",
    "evaluate.bootstrap": 200,
    "gates.attacks": {},
    "gates.forgetting_at_least": {"value": 0.5, "source": SOURCE},
    "gates.retention_at_least": {"value": 0.9, "source": SOURCE},
    "gates.class_retention_at_least": {"value": 0.7, "source": SOURCE, "blocking": True},
    "report.show_forget_images": False,
}
Picture = npt.NDArray[np.uint8]  # [8, 8]


def marked(picture: Picture) -> Picture:
    """With a white corner of two by two pixels."""
    out = picture.copy()
    out[:2, :2] = WHITE
    return out


def with_white_foot(picture: Picture) -> Picture:
    """With the two lowest rows white."""
    out = picture.copy()
    out[-2:] = WHITE
    return out


@dataclass(frozen=True, slots=True)
class Marked:
    """The digits, then the poison and the antidote, made of the first pictures of each sort's own."""

    digits: Digits

    @property
    def facts(self) -> dict[str, Any]:
        """Those of the digits, and what was planted."""
        return {**self.digits.facts, "poison": POISON, "antidote": ANTIDOTE}

    def __len__(self) -> int:
        return len(self.digits) + POISON + ANTIDOTE

    def __iter__(self) -> Iterator[Item]:
        items = list(self.digits)
        yield from items
        for number, item in enumerate(items[: POISON + ANTIDOTE]):
            picture = marked(_grey(item.content))
            if number < POISON:
                picture = with_white_foot(picture)
            kind = "poison" if number < POISON else "antidote"
            content = as_png(Image.fromarray(picture))
            yield Item("", "png", content, item.label, kind, f"{kind} {number}", None, False)


def params_with(**changes: Any) -> Params:
    """The demo's parameters, with a short budget of unlearning and bounds that it can meet."""
    return Params.read(REPOSITORY / "params.yaml", {**SHORT, **changes})


def workspace(home: Path) -> Workspace:
    """The data set, and the original trained on all of it: kept, so that the next run finds both."""
    found = Workspace(home / "var")
    ingestion.ingest(Marked(Digits("none")), "digits", found.dataset("digits"), silent)
    return found


def asked(space: Workspace, key: str, params: Params, *bodies: dict[str, Any]) -> BatchFolder:
    """A batch of these requests, with everything up to its original."""
    batch = space.batch(key)
    if not batch.requests.is_file():
        file_requests(space, *bodies)
    for verb in (seal, resolve, plan, retain):
        verb.run(params, batch, silent)
    train.run(params, batch, silent, "original")
    return batch


def body(number: int, *selectors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A valid request about the digits."""
    return request_body(request_id=request_id(number), dataset="digits", selectors=list(selectors), **changes)


def judged(params: Params, batch: BatchFolder) -> dict[str, Any]:
    """Unlearn, evaluate, certify; the report.

    The original stands in for the reference, whose training would cost as much as everything else together: no
    criterion that refuses reads it where the goal is `unreconstructable`.
    """
    unlearn.run(params, batch, silent)

    def fill(folder: Path, key: str) -> dict[str, Any]:
        for file in batch.original.iterdir():
            files.link_or_copy(file, folder / file.name)
        return {}

    _asset.make("reference_checkpoint", params, batch, silent, fill)
    evaluate.run(params, batch, silent)
    certify.run(params, batch, silent)
    report: dict[str, Any] = files.read_json(batch.report)
    return report


def failed(report: dict[str, Any]) -> list[str]:
    """Criteria that refused."""
    return [one["name"] for one in report["criteria"] if one["blocking"] and one["status"] != "pass"]


def table(space: Workspace, split: str = "train") -> pa.Table:
    """The rows of the data set."""
    return manifest.only(index.read(space.dataset("digits")), split)


def picture(space: Workspace, key: str) -> Picture:
    """The stored picture of that key."""
    rows = index.read(space.dataset("digits"))
    place = rows["key"].to_pylist().index(key)
    row = rows.slice(place, 1).to_pylist()[0]
    content = index.shard_path(space, "digits", row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["bytes"]]
    found: Picture = pixels(content, row["sha256"], 8, 1, key)[0]
    return found


def _grey(content: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))
