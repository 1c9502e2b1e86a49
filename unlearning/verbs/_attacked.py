"""Attacks on original, unlearned model and reference: which are made, resumed one by one, and their entries.

`evaluate.attacks` names some with their fields, `evaluate.profile` adds how every other kind is made under it. Each
finding is kept by content (models, images, recipe, code), so that an evaluation that was stopped goes on after the last
one, and another attack in the list costs that one alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unlearning import digests, files
from unlearning.attack import Attack, Finding, Group, Ready, Scene, Separation
from unlearning.contracts import ImageSource
from unlearning.data.images import ImageSet
from unlearning.errors import ParamsError
from unlearning.evidence import lineage
from unlearning.log import Log, Progress
from unlearning.params import Evaluate, Goal, Params
from unlearning.randomness import Draws
from unlearning.training import checkpoint
from unlearning.verbs import _epsilon, _findings, _kept_findings
from unlearning.verbs._measure import Subjects
from unlearning.verbs._scorer import Scorer
from unlearning.verbs._whole import Nothing
from unlearning.workspace import BatchFolder

ROLES = ("original", "unlearned", "reference")
GROUPS = ("forget", "forget_holdout", "retain", "holdout")


@dataclass(frozen=True, slots=True)
class Attacked:
    """The entries of report.json, and the seconds that each attack took when it was made."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def made(
    params: Params,
    batch: BatchFolder,
    headline: str,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    subjects: Subjects,
    known: Nothing | None,
    log: Log,
) -> Attacked:
    """One entry an attack; `headline` is the set whose forgetting curves are about.

    Raises ParamsError if an attack that `evaluate.attacks` names cannot be made; one that only the profile asks for is
    entered as not made, with the reason.
    """
    asked, goal = list(_asked(params)), files.read_json(batch.requests.with_name("batch.json"))["goal"]
    if not asked and not _epsilon.models(params.evaluate):
        return Attacked()
    most = params.evaluate.attacked_images or (1_000 if params.evaluate.profile == "audit" else 256)
    parts = {name: _some(tables[name], images[name], most, params, batch) for name in {headline, *GROUPS}}
    weights = {role: checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in ROLES}
    scene = _scene(parts, subjects, Scorer(headline, *parts[headline], subjects, params.evaluate, known), params)
    content = _content(params, headline, parts, subjects, weights)
    found = Attacked()
    for place, (attack, named) in enumerate(asked):
        log(Progress("evaluate attacks", place, len(asked), note=f"evaluate attack {attack.kind}"))
        entry: dict[str, Any] = {"kind": attack.kind, "tries": attack.tries, "recipe": attack.model_dump(mode="json")}
        refusal = _refusal(attack, scene, known)
        if refusal is not None:
            if named:
                raise ParamsError(f"evaluate.attacks: {attack.kind!r} cannot be made here: {refusal}")
            found.entries.append({**entry, "not_made": refusal})
            continue
        siege = _Siege(attack, replace(scene, draws=scene.draws.at("attack", attack.kind)), subjects, content, batch)
        said, took = siege.entry(params.evaluate, goal)
        of = {"set": headline, "images": len(parts[headline][0])}
        found.entries.append({**entry, **(of if said["finding"] == "curve" else {}), **said})
        found.seconds[attack.kind] = found.seconds.get(attack.kind, 0.0) + took
        log(Progress("evaluate attacks", place + 1, len(asked)))
    if _epsilon.models(params.evaluate):
        score, found.seconds[_epsilon.KIND] = _epsilon.made(params, batch, parts, scene, subjects, known, content, log)
        found.entries.append(score)
    return found


class _Siege:
    """One attack on every model, each finding read back where it was kept."""

    def __init__(
        self, attack: Attack, scene: Scene, subjects: Subjects, content: Mapping[str, Any], batch: BatchFolder
    ) -> None:
        self._attack, self._scene, self._subjects, self._content = attack, scene, subjects, content
        self._kept: Path = batch.workspace.work("attacks")

    def entry(self, plan: Evaluate, goal: Goal) -> tuple[dict[str, Any], float]:
        """What it finds of all models, as a JSON value, and the seconds that took."""
        by_role = {role: self.of(role) for role in ROLES}
        raw = {role: one for role, (one, _) in by_role.items()}
        return _findings.entry(raw, self.control, plan, goal), sum(seconds for _, seconds in by_role.values())

    def of(self, role: str) -> tuple[Finding, float]:
        """What it finds of one model, and the seconds that took."""
        path = self._path(role)
        found = _kept_findings.read(path)
        if found is None:
            ready, start = self._ready, time.perf_counter()
            finding = self._attack.run(self._subjects.models[role], self._scene, ready)
            _kept_findings.write(path, finding, time.perf_counter() - start)
            found = _kept_findings.read(path)
            assert found is not None
        return found

    @property
    def control(self) -> Separation | None:
        """The positive control."""
        path = self._path("control")
        kept = _kept_findings.read_control(path)
        if kept is None:
            _kept_findings.write_control(path, self._ready.control)
            return self._ready.control
        return kept[0]

    @cached_property
    def _ready(self) -> Ready:
        return self._attack.prepare(self._scene)

    def _path(self, role: str) -> Path:
        about = {**self._content, "attack": self._attack.model_dump(mode="json"), "role": role}
        return self._kept / f"{digests.of_value(about)}.npz"


def _asked(params: Params) -> Iterator[tuple[Attack, bool]]:
    """Every attack, and whether `evaluate.attacks` names it; the profile adds the kinds that are not named there."""
    plan = params.evaluate
    named = [Attack.chosen(choice, "evaluate.attacks") for choice in plan.attacks]
    yield from ((attack, True) for attack in named)
    if plan.profile != "none":
        kinds = {attack.kind for attack in named}
        for kind in sorted(set(Attack.kinds) - kinds):
            yield from ((attack, False) for attack in Attack.kinds[kind].of_profile(plan.profile))


def _refusal(attack: Attack, scene: Scene, known: Nothing | None) -> str | None:
    needed = attack.needs()
    if not isinstance(scene.original, needed):
        return f"the generator is not {needed.__name__}"
    if scene.corruption.leaves_nothing and attack.needs_hole:
        return f"under corruption {scene.corruption.kind!r} nothing is drawn into a hole"
    if scene.corruption.leaves_nothing and known is None:
        return "this generator does not say how well it knows a whole picture"
    return attack.why_not(scene)


def _scene(
    parts: Mapping[str, tuple[pa.Table, ImageSource]], subjects: Subjects, forgetting: Scorer, params: Params
) -> Scene:
    forget, forget_holdout, retain, holdout = (
        Group(name, parts[name][1], parts[name][0]["class"].to_pylist()) for name in GROUPS
    )
    return Scene(
        subjects.models["original"],
        subjects.models["reference"],
        forget,
        forget_holdout,
        retain,
        holdout,
        subjects.corruption,
        forgetting,
        Draws(params.evaluate.seeds[0], 1, device=subjects.device),
        subjects.device,
        params.evaluate.batch_size,
    )


def _content(
    params: Params,
    headline: str,
    parts: Mapping[str, tuple[pa.Table, ImageSource]],
    subjects: Subjects,
    weights: Mapping[str, str],
) -> dict[str, Any]:
    """All that a finding is a function of, but the attack and the model it is made on."""
    return {
        "images": {name: digests.of_value(table["sha256"].to_pylist()) for name, (table, _) in parts.items()},
        "classes": {name: digests.of_value(table["class"].to_pylist()) for name, (table, _) in parts.items()},
        "headline": headline,
        "weights": dict(weights),
        "corruption": subjects.corruption.model_dump(mode="json"),
        "data": params.section_digest("data"),
        "seed": params.evaluate.seeds[0],
        "batch_size": params.evaluate.batch_size,
        "device": subjects.device.type,
        "code": lineage.code_identity()["source_sha256"],
    }


def _some(
    table: pa.Table, images: ImageSource, most: int, params: Params, batch: BatchFolder
) -> tuple[pa.Table, ImageSource]:
    """At most `most`, evenly over the set: one sorted by class is no bias."""
    if len(table) <= most:
        return table, images
    part = table.take(np.arange(most) * len(table) // most)
    return part, ImageSet(part, batch.workspace, params.data)
