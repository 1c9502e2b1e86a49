"""The epsilon score of the way a batch was unlearned: N small models unlearned, N retrained, and phi of each.

Triantafillou et al., "Are we making progress in unlearning? Findings from the first NeurIPS unlearning competition",
2024; formulas and corners: metrics/_epsilon.py. Model i of 1 to N is trained by the released verbs under seed i, then
unlearned under seed i; retrained model i has seed N + i. phi is a model's own loss of an image to forget under eight
fixed views (its surprise where it has one), in the stead of a classifier's confidence. And for the competition's ratio
of accuracies, on retain and on held-out images,

    score = F x kept(retain) x kept(holdout),    kept = (nothing - error of unlearned) / (nothing - error of retrained)

with errors on missing pixels, means over images and models; nothing = the error of who knows nothing, as in the report.

What it cannot see: all that metrics/_epsilon.py says; and these models are small trainings, at a share of the budget,
by the way the shipped one was unlearned: a finding is about that way, and the shipped model is not among them. It is
blind where the originals cannot be told from the retrained models either, or where the retrained ones know no more of
what is kept than the mean picture: then the share was too small to learn anything. Images are resampled for the
intervals, models are not: what the images of a model have in common is in the p-value alone.

Models that knew the images to forget are removed as soon as phi is known, and only numbers are kept: a run that was
stopped goes on after the last model.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unlearning import digests, files
from unlearning.attack import PerImageNumbers, Scene
from unlearning.attacks import _known_by
from unlearning.contracts import Generator, ImageSource
from unlearning.evidence import lineage
from unlearning.log import Log, Progress, silent
from unlearning.methods.retrain import Retrain
from unlearning.metrics import _epsilon
from unlearning.params import Budget, Evaluate, Params
from unlearning.rules import Policy
from unlearning.training import checkpoint
from unlearning.verbs import _study_base, stage
from unlearning.verbs._measure import Subjects
from unlearning.verbs._scorer import Scorer
from unlearning.verbs._whole import Nothing
from unlearning.workspace import BatchFolder, Workspace

KIND = "epsilon_score"
VIEWS = 8  # of phi's; the same of every model and image
_AUDIT = 8  # models of each kind where the profile asks for them
_DEALS = 199  # of the models into groups anew, for the p-value
_LEAST = 0.01  # of epsilon, by which the originals must lie beyond chance, or the score is blind
_LINKED = ("deletion_requests", "forget_manifest", "retain_proxy_set")
_MADE = {
    "unlearned": ("deletion_plan", "original_checkpoint", "unlearned_checkpoint"),
    "reference": ("reference_checkpoint",),
}
_KEPT_ON = ("retain", "holdout")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sight:
    """What the small models are asked about, and all of it that a number depends on."""

    scene: Scene
    sets: Mapping[str, Scorer]  # what must be kept, by set
    content: Mapping[str, Any]


def models(plan: Evaluate) -> int:
    """N, 0 = no score is made."""
    if plan.epsilon.models is not None:
        return plan.epsilon.models
    return _AUDIT if plan.profile == "audit" else 0


def made(
    params: Params,
    batch: BatchFolder,
    parts: Mapping[str, tuple[pa.Table, ImageSource]],
    scene: Scene,
    subjects: Subjects,
    known: Nothing | None,
    content: Mapping[str, Any],
    log: Log,
) -> tuple[Json, float]:
    """The entry of report.json, and the seconds that its models took when they were made. Raises what the verbs raise.

    Where no small models can be made the way this batch was, the entry is `not_made`, with the reason.
    """
    plan, many = params.evaluate, models(params.evaluate)
    recipe = {"kind": KIND, "models": many, "share": plan.epsilon.share}
    entry: Json = {"kind": KIND, "tries": "tell unlearned models from retrained", "recipe": recipe}
    refusal = _why_not(params, batch, scene, known)
    if refusal is not None:
        return {**entry, "not_made": refusal}, 0.0
    scorers = {name: Scorer(name, *parts[name], subjects, plan, known) for name in _KEPT_ON if len(parts[name][0])}
    sight = Sight(replace(scene, draws=scene.draws.at("attack", KIND)), scorers, content)
    rows: dict[str, list[Json]] = {role: [] for role in _MADE}
    for number in range(many):
        for place, role in enumerate(_MADE):
            done, seed = 2 * number + place, place * many + number + 1
            log(Progress("evaluate epsilon", done, 2 * many, note=f"epsilon score: {role} model {number + 1}"))
            rows[role].append(_row(role, seed, params, batch, sight))
    log(Progress("evaluate epsilon", 2 * many, 2 * many))
    seconds = sum(row["seconds"] for found in rows.values() for row in found)
    return {**entry, **_found(rows, plan)}, seconds


def _why_not(params: Params, batch: BatchFolder, scene: Scene, known: Nothing | None) -> str | None:
    """Why small models would not be made as this batch's were, or nothing could be read off them, as a clause."""
    source = lineage.read(batch, "original_checkpoint").facts.get("source")
    if params.generator.kind == "sharded":
        return "a sharded generator forgets by training touched members anew, which is exact and shown by a replay"
    if params.unlearn.method.kind == Retrain.kind:
        return "the model was retrained, so that it is one of those it would be told from"
    if batch.earlier.is_file() or source == "champion":
        return "the original is what earlier batches made, and others of its kind would learn what those forgot"
    if source == "published":
        return "the original was published, and no others of its kind can be trained"
    if not len(scene.forget):
        return "the forget set is empty"
    if scene.corruption.leaves_nothing and known is None:
        return "this generator does not say how well it knows a whole picture"
    return None


def _row(role: str, seed: int, params: Params, batch: BatchFolder, sight: Sight) -> Json:
    """What one small model makes of the images, read back where it was kept; {"unlearned": ..., "seconds": s}.

    Of an unlearned one its original's, too. One process at a time trains it.
    """
    small = _small(params, seed)
    sections = ("data", "generator", "corruption", "original", *(("unlearn",) if role == "unlearned" else ()))
    about = {
        **{name: value for name, value in sight.content.items() if name not in ("weights", "headline")},
        **{name: lineage.read(batch, name).sha256 for name in _LINKED[1:]},
        "params": small.section_digest(*sections),
        "role": role,
        "views": VIEWS,
    }
    key = digests.of_value(about)
    home = batch.workspace.work("epsilon")
    path = home / f"{key}.json"
    with files.locked(home / ".locks" / key, f"epsilon score: {role} model of seed {seed}", wait=True):
        if not path.is_file():
            files.write_json(path, _trained(role, small, batch, _workspace(home / key, batch), sight))
            shutil.rmtree(home / key)
        found: Json = files.read_json(path)
    return found


def _workspace(root: Path, batch: BatchFolder) -> Workspace:
    """One that a model has to itself, with the batch's data sets in it: no ledger, no champion, no other model."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "data").is_symlink():
        data = os.path.relpath(batch.workspace.root.resolve() / "data", root.resolve())
        (root / "data").symlink_to(data, target_is_directory=True)
    return Workspace(root)


def _trained(role: str, small: Params, batch: BatchFolder, workspace: Workspace, sight: Sight) -> Json:
    start, own = time.perf_counter(), workspace.batch(batch.key)
    for name in _LINKED:
        if not own.lineage(name).is_file():
            _study_base.link(name, batch, own)
    for name in _MADE[role]:
        stage.run(name, small, own, silent)
    roles = ("original", "unlearned") if role == "unlearned" else (role,)
    looked = {each: _look(checkpoint.load(own.asset(f"{each}_checkpoint")), sight) for each in roles}
    return {**looked, "seconds": time.perf_counter() - start}


def _look(model: Generator, sight: Sight) -> Json:
    """phi [n], and error of the model and of who knows nothing on what is kept; null where a number is not finite."""
    model.eval().to(sight.scene.device).requires_grad_(False)
    phi = _known_by.own_loss(model, sight.scene.forget, sight.scene, VIEWS)
    errors = {name: score(model) for name, score in sight.sets.items()}
    kept = {name: [_finite(found.errors.mean()), _finite(found.nothing.mean())] for name, found in errors.items()}
    return {"phi": [_finite(value) for value in phi], "kept": kept}


def _small(params: Params, seed: int) -> Params:
    """The batch's own parameters with a share of both budgets, under a seed; its plan's `unlearn`, whatever rule."""
    share = params.evaluate.epsilon.share
    unlearn = params.unlearn.model_copy(update={"budget": _shorter(params.unlearn.budget, share, seed)})
    original = _shorter(params.original, share, seed)
    return params.model_copy(update={"original": original, "unlearn": unlearn, "policy": Policy()})


def _shorter(budget: Budget, share: float, seed: int) -> Budget:
    steps = max(4 if budget.snapshots else 1, round(budget.steps * share))
    snapshots = min(budget.snapshots, steps - steps // 2)
    changed = {"steps": steps, "warmup_steps": round(budget.warmup_steps * share), "snapshots": snapshots}
    return Budget.model_validate({**budget.model_dump(), **changed, "seed": seed})


def _found(rows: Mapping[str, Sequence[Json]], plan: Evaluate) -> Json:
    """The entry of these models, as a JSON value."""
    phi = {
        role: np.array([row[role]["phi"] for row in rows[kind]], dtype=np.float64)  # [N, n]
        for role, kind in (("original", "unlearned"), ("unlearned", "unlearned"), ("reference", "reference"))
    }
    many, retrained = len(phi["reference"]), phi["reference"]
    half = many // 2
    before, after = (_epsilon.epsilons(phi[role], retrained) for role in ("original", "unlearned"))
    floor = _epsilon.epsilons(retrained[:half], retrained[half : 2 * half])
    chance = _epsilon.chance(many)
    control = {
        **_summary(before, many, plan),
        "p_value": _finite(_epsilon.by_chance(phi["original"], retrained, _DEALS)),
    }
    forgetting = _finite(_epsilon.points(after).mean())
    kept = {name: _kept(rows, name) for name in rows["unlearned"][0]["unlearned"]["kept"]}
    known = [value for value in kept.values() if value is not None]
    ratio = math.prod(known) if len(known) == len(kept) else None
    final = None if forgetting is None or ratio is None else forgetting * ratio
    level = max(chance, float(np.median(floor)))
    return {
        "finding": "epsilon",
        "images": len(after),
        "models": many,
        "share": plan.epsilon.share,
        "delta": _epsilon.DELTA,
        "limit": _epsilon.limit(many),
        "epsilon": _summary(after, many, plan),
        "original": control,
        "floor": {**_summary(floor, half, plan), "models": half, "limit": _epsilon.limit(half)},
        "chance": chance,
        "p_value": _finite(_epsilon.by_chance(phi["unlearned"], retrained, _DEALS)),
        "blind": ratio is None or not _tells(control, level, plan),
        "learnt": {name: _learnt(rows["reference"], name) for name in kept},
        "score": {"forgetting": forgetting, "kept": kept, "retention_ratio": ratio, "final": final},
        "signal": _signal(after, floor, chance, plan),
    }


def _tells(control: Json, level: float, plan: Evaluate) -> bool:
    """Whether the originals, which knew the images, are told from retrained models: if not, nothing else can be."""
    if control["low"] is None or control["p_value"] is None:
        return False
    return bool(control["low"] > level + _LEAST and control["p_value"] <= 1 - plan.confidence)


def _learnt(references: Sequence[Json], name: str) -> float | None:
    """How far the retrained models came on one set: 0 = to the mean picture, 1 = no error. Little = a small share."""
    error, nothing = np.array([row["reference"]["kept"][name] for row in references], dtype=np.float64).mean(axis=0)
    return _finite(1 - error / nothing) if nothing > 0 else None


def _kept(rows: Mapping[str, Sequence[Json]], name: str) -> float | None:
    """Retention of the unlearned over that of the retrained on one set, 0 at least; None where there is no scale."""
    table = np.array([[row[role]["kept"][name] for row in rows[role]] for role in _MADE], dtype=np.float64)  # [2, N, 2]
    unlearned, retrained = (float((found[:, 1] - found[:, 0]).mean()) for found in table)
    return _finite(max(unlearned / retrained, 0.0)) if retrained > 0 else None


def _signal(after: PerImageNumbers, floor: PerImageNumbers, chance: float, plan: Evaluate) -> Json | None:
    """How far the median lies above the halves' and above chance, whichever is more; the same images of both."""
    if not (np.isfinite(after).all() and np.isfinite(floor).all()):
        return None
    one, other = (np.median(values[_picks(len(values), plan)], axis=1) for values in (after, floor))
    low, high = _interval(one - np.maximum(other, chance), plan)
    value = float(np.median(after)) - max(float(np.median(floor)), chance)
    return {"value": value, "low": low, "high": high, "meaning": "epsilon beyond groups of equal models"}


def _summary(epsilon: PerImageNumbers, many: int, plan: Evaluate) -> Json:
    """Median with its interval, mean, and the share of images whose groups lie wholly apart."""
    if not np.isfinite(epsilon).all():
        return dict.fromkeys(("median", "mean", "low", "high", "at_limit"))
    low, high = _interval(np.median(epsilon[_picks(len(epsilon), plan)], axis=1), plan)
    at_limit = float((epsilon >= _epsilon.limit(many)).mean())
    found = {"median": float(np.median(epsilon)), "mean": float(epsilon.mean())}
    return {**found, "low": low, "high": high, "at_limit": at_limit}


def _picks(images: int, plan: Evaluate) -> np.ndarray:
    return np.random.default_rng(0).integers(images, size=(plan.bootstrap, images))


def _interval(values: np.ndarray, plan: Evaluate) -> tuple[float, float]:
    tail = (1 - plan.confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
