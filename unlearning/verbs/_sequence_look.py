"""What a generation of a sequence is like: every request under its weights, and the pictures that it draws.

A look is a batch that has the base's manifests, original and reference, and the generation's weights as what was
unlearned, so that `evaluate` says of it what it says of any model. It holds all that any request names: those that are
still to come show what forgetting others does to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from unlearning import files
from unlearning.contracts import Corruption
from unlearning.data import manifest
from unlearning.data.images import ImageSet
from unlearning.log import Log
from unlearning.metrics import _copies, _rate
from unlearning.metrics._beside_reference import side, way
from unlearning.params import Params
from unlearning.sequences import Deletions
from unlearning.training import checkpoint
from unlearning.types import Images
from unlearning.verbs import _sequence_chain, _study_base, _whole_drawn, stage
from unlearning.verbs._measure import MEAN_PICTURE
from unlearning.workspace import BatchFolder, Workspace

_MODELS = ("unlearned", "original", "reference")
_QUALITY = ("frechet", "kid", "inception_score", "precision", "recall", "judged")

Json = dict[str, Any]


def look(deletions: Deletions, method: str, number: int, workspace: Workspace, log: Log) -> Json:
    """Measure generation `number`, which must be there, or find it measured; a JSON value."""
    params, base = deletions.base_params(), _sequence_chain.batch(deletions, _sequence_chain.ALL, workspace)
    here = _sequence_chain.batch(deletions, f"{method}-after-{number:02d}", workspace)
    _study_base.share(params, base, here)
    _study_base.link("unlearned_checkpoint", _sequence_chain.generation(deletions, method, number, workspace), here)
    for name in ("deletion_plan", "evaluation_report"):
        stage.run(name, params, here, log)
    report = files.read_json(here.report)
    classes = deletions.sequence.classes
    known = report["sets"]["forget"][f"{report['measure']}_by_class"]
    copies = _copies_by_class(params, here, classes, number, log)
    return {
        "after": number,
        "measure": report["measure"],
        "requests": [
            {"class": name, "asked": place < number, **_moved(known[name], deletions.sequence.margin)}
            for place, name in enumerate(classes)
        ],
        "copies": copies,
        "scores": report["scores"],
        "drawn": {role: _quality(block) for role, block in _drawn(report).items()},
    }


def _moved(known: Mapping[str, float], margin: float) -> Json:
    """Forgetting of one request's images: 0 = as the original, 1 = as who knows nothing; None where that is no scale.

    (s - s_original) / (s_nothing - s_original), as `forgetting_trained` of report.json has it for all of them.
    """
    model, original, reference, nothing = (known.get(role) for role in (*_MODELS, MEAN_PICTURE))
    return {
        "forgetting": way(model, original, nothing),
        "reference": way(reference, original, nothing),
        "side": side(way(model, original, reference), margin),
    }


def _drawn(report: Json) -> Json:
    found: Json = report.get("whole_pictures", {}).get("drawn", {})
    return found


def _quality(block: Json) -> Json:
    return {name: block[name] for name in _QUALITY}


def _copies_by_class(params: Params, here: BatchFolder, classes: tuple[str, ...], asked: int, log: Log) -> Json:
    """How many of the pictures that `evaluate` had drawn are copies, by role; empty where none were drawn.

    Of each class, and of the first `asked` and of the others together. A picture near to two is one of the nearest.
    """
    plan = params.evaluate.drawn
    if not plan.images:
        return {}
    forget = manifest.only(manifest.read(here.forget), "train")
    images = [_images(params, here, forget.filter(pc.equal(forget["class"], name))) for name in classes]
    found: Json = {}
    for role in _MODELS:
        drawn = _pictures(params, here, role, log)
        distance = torch.stack([_copies.nearest(drawn, some) for some in images])  # [classes, N]
        copied = torch.where(distance.amin(0) < plan.copy_distance, distance.argmin(0), len(classes))
        counts = torch.bincount(copied, minlength=len(classes) + 1)[:-1].tolist()
        rates = [
            asdict(_rate.rate(sum(some), len(drawn), params.evaluate.confidence))
            for some in (counts[:asked], counts[asked:])
        ]
        by_class = dict(zip(classes, counts, strict=True))
        found[role] = {"asked": rates[0], "to_come": rates[1], "by_class": by_class}
    return found


def _pictures(params: Params, here: BatchFolder, role: str, log: Log) -> Images:
    """Those that `evaluate` had this model draw: they are kept, so this reads them."""
    folder, plan, data = here.asset(f"{role}_checkpoint"), params.evaluate, params.data
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    corruption = Corruption.chosen(params.corruption, "corruption")
    shape = (data.channels, data.image_size, data.image_size)
    order = _whole_drawn.Order(plan.drawn.images, plan.drawn.seed, shape, corruption, plan.batch_size, device)
    model = checkpoint.load(folder).eval().to(device)
    return _whole_drawn.pictures(order, folder, model, here.workspace, log).images


def _images(params: Params, here: BatchFolder, table: pa.Table) -> Images:
    found = ImageSet(table, here.workspace, params.data)
    images = found(torch.arange(len(found)))
    return torch.cat([images, images.flip(-1)]) if params.data.flip else images
