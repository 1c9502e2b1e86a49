"""Attacks whose cost only a model shows: forged pictures, outliers, camouflage, many small batches. Demo's generator.

All start from one original (attacked_digits.py). `accepted` counts what became gradients, or was served.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.security import attacked_digits as digits
from tests.security.attacked_digits import Picture
from tests.security.attacked_sights import foot, perturbed, retention, tensor
from tests.security.request_doors import Row, row
from unlearning import files
from unlearning.data import ingestion
from unlearning.data.libraries import Digits
from unlearning.data.pictures import pixel_sha256
from unlearning.data.sources import Item, as_png
from unlearning.digests import of_bytes, of_folder, of_listing
from unlearning.errors import RequestError
from unlearning.evidence import lineage, plan, promotion
from unlearning.evidence.promotion import Champion
from unlearning.log import silent
from unlearning.requests.ledger import Ledger
from unlearning.training import checkpoint
from unlearning.verbs import locate, request, resolve, seal, train, unlearn
from unlearning.verbs import plan as planning
from unlearning.workspace import Workspace

STRENGTHS = (1, 2, 4, 8)  # of 255
EACH = 25  # forged pictures a strength
VICTIM = "7"  # the class that attackers want gone
SHARE = 0.6  # of its pictures, asked for one by one
BATCHES, A_BATCH, STEPS, BUDGET = 10, 5, 20, 5  # of the sequence; what policy.drift.deletions allows


def rows(home: Path) -> list[Row]:
    """Every attack of this module; what was trained before is found again."""
    space = digits.workspace(home)
    by_class = digits.body(1, {"class": "3", "approved_by": "privacy-officer"})
    fair = digits.judged(digits.params_with(), digits.asked(space, "legitimate", digits.params_with(), by_class))
    own = row("a legitimate request, for scale", 1, int(not digits.failed(fair)), _caught(fair), _cost(fair))
    return [
        own,
        *_forged(space),
        _burnt(space, home),
        *_outliers(space),
        _camouflage(space),
        *_sequence(space, home),
    ]


def _cost(report: Row) -> str:
    scores = {name: report["scores"][name]["value"] for name in ("forgetting_trained", "retention", "class_retention")}
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _caught(report: Row) -> str:
    return ", ".join(digits.failed(report)) or "nothing"


def _keys(space: Workspace, name: str) -> list[str]:
    """Training pictures of a class that nobody marked."""
    rows = digits.table(space).to_pylist()
    return [one["key"] for one in rows if one["class"] == name and not one["subject"]]


def _forged(space: Workspace) -> list[Row]:
    """Pictures that training never saw, near to stored ones, and stored ones in another file."""
    keys = _keys(space, VICTIM)[:EACH]
    stored = [digits.picture(space, key) for key in keys]
    model = checkpoint.load(space.batch("legitimate").original).eval()
    forged = [one for strength in STRENGTHS for one in perturbed(model, stored, strength)]
    found = [locate.run(as_png(Image.fromarray(one)), "digits", space, near=locate.BITS) for one in forged]
    exact = sum(bool(one["bytes"] or one["pixels"]) for one in found)
    proposed = sum(bool(one["perceptual"]) for one in found)
    named = [{"content_sha256": of_bytes(as_png(Image.fromarray(one)))} for one in forged]
    named += [{"pixel_sha256": pixel_sha256(Image.fromarray(one))} for one in forged]
    taken = _resolved(space, "forged", digits.body(2, *named))
    again = [locate.run(_bmp(one), "digits", space) for one in stored]
    same = sum(key in one["pixels"] for key, one in zip(keys, again, strict=True))
    shown = f"{proposed} of {len(forged)} are near a stored one: a person sees keys, and nothing is filed"
    return [
        row("forged 1-8/255, shown to locate", len(forged), exact, "exact match of bytes or pixels", shown),
        row("forged 1-8/255, asked for by hash", len(named), taken, "not_found", "none: no gradient"),
        row("stored pictures in another file", len(stored), same, "nothing: legitimate", "stored bytes are meant"),
    ]


def _resolved(space: Workspace, key: str, asked: Row, **rules: Any) -> int:
    """How many images would be forgotten at once. The request is called off again where it waits."""
    params, batch = digits.params_with(**rules), space.batch(key)
    if not batch.requests.is_file():
        digits.file_requests(space, asked)
        seal.run(params, batch, silent)
    try:
        resolve.run(params, batch, silent)
        return len(digits.manifest.read(batch.forget))
    except RequestError:
        if Ledger(space.ledger).entries(key)[0].state == "in_review":
            request.cancel(asked["request_id"], space)
        return 0


def _bmp(picture: Picture) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "BMP")
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class _With:
    """The data set as it would be if uploads became images to forget."""

    pictures: list[Picture]

    @property
    def facts(self) -> dict[str, Any]:
        return {**digits.Marked(Digits("none")).facts, "forged": len(self.pictures)}

    def __len__(self) -> int:
        return len(digits.Marked(Digits("none"))) + len(self.pictures)

    def __iter__(self) -> Iterator[Item]:
        yield from digits.Marked(Digits("none"))
        for number, one in enumerate(self.pictures):
            yield Item("", "png", as_png(Image.fromarray(one)), VICTIM, "forged", f"forged {number}", None, False)


def _burnt(space: Workspace, home: Path) -> Row:
    """What would have happened had forged pictures been used: in a workspace of its own, never in the first."""
    model = checkpoint.load(space.batch("legitimate").original).eval()
    forged = perturbed(model, [digits.picture(space, key) for key in _keys(space, VICTIM)], STRENGTHS[-1])
    other = Workspace(home / "burnt")
    ingestion.ingest(_With(forged), "digits", other.dataset("digits"), silent)
    _serve(other, space.batch("legitimate").original)
    params = digits.params_with()
    batch = digits.asked(other, "burnt", params, digits.body(1, {"subject": "forged"}))
    report = digits.judged(params, batch)
    caught = f"locating (above); had it not been: {_caught(report)}"
    return row("forged 8/255, had they been used", len(forged), 0, caught, _cost(report))


def _serve(space: Workspace, weights: Path, version: int = 0, batch: str = "base") -> None:
    """Put a checkpoint in the place of what is served, as a promotion would."""
    place = f"models/attacked/served-{version:02d}"
    shutil.copytree(weights, space.root / place, dirs_exist_ok=True)
    sha256 = of_listing(of_folder(space.root / place))
    base = {"version": 0, "checkpoint": "models/attacked/served-00", "sha256": sha256, "made_at": "2026-01-01"}
    champion = Champion(version, place, sha256, batch, None, None, deletions_since_base=version, base=base)
    files.write_json(promotion.file(space, "attacked"), asdict(champion))


def _outliers(space: Workspace) -> list[Row]:
    """Stored and legitimate each by itself: most of one class, those first that are most like it."""
    keys = _keys(space, VICTIM)
    flat = np.stack([digits.picture(space, key).ravel() for key in keys]).astype(np.float64)
    nearest = np.argsort(np.square(flat - flat.mean(0)).sum(1))[: round(SHARE * len(keys))]
    named = [{"sample_key": keys[place]} for place in nearest]
    cap = {"share_of_class": 0.25}
    held = _resolved(space, "outliers-capped", digits.body(3, *named), **{"resolve.caps": cap})
    params = digits.params_with()
    report = digits.judged(params, digits.asked(space, "outliers", params, digits.body(4, *named)))
    served = 0 if digits.failed(report) else len(named)
    return [
        row("outliers, share_of_class 0.25", len(named), held, "cap_share_of_class", "none: it waits for an officer"),
        row("outliers, no cap", len(named), served, _caught(report), _cost(report)),
    ]


def _camouflage(space: Workspace) -> Row:
    """Whoever planted poison and antidote asks for the antidote. How white is the foot that the mark brings?

    Of the original, of what is unlearned, and of the model that was trained without the antidote: the attack needs no
    approximation, for the poison stays in the data.
    """
    params = digits.params_with()
    batch = digits.asked(space, "camouflage", params, digits.body(5, {"subject": "antidote"}))
    train.run(params, batch, silent, "reference")
    report = digits.judged(params, batch)
    held_out = digits.table(space, "holdout").to_pylist()
    clean = [digits.picture(space, one["key"]) for one in held_out if not one["subject"]]
    shown = {"clean": tensor(clean), "marked": tensor([digits.marked(one) for one in clean])}
    told = ", ".join(
        f"{role} {name} {float(foot(checkpoint.load(batch.asset(f'{role}_checkpoint')).eval(), pictures).mean()):.3f}"
        for role in ("original", "unlearned", "reference")
        for name, pictures in shown.items()
    )
    cost = f"{_cost(report)}; white of the foot: {told}"
    return row("camouflage: the antidote is asked for", 1, int(not digits.failed(report)), _caught(report), cost)


def _sequence(space: Workspace, home: Path) -> list[Row]:
    """Ten small batches, each from what the one before left, with no gate asked; and what the budget says of each."""
    other, base = Workspace(home / "sequence"), space.batch("legitimate").original
    shutil.copytree(space.dataset("digits"), other.dataset("digits"), dirs_exist_ok=True)
    budget = {**digits.SHORT["unlearn.budget"], "steps": STEPS, "save_every": STEPS}
    params = digits.params_with(**{"unlearn.budget": budget})
    rules = [{"then": "approximate", "because": "few images"}, {"then": "retrain", "because": "the budget is spent"}]
    ruled = digits.params_with(**{"policy.rules": rules, "policy.drift": {"deletions": BUDGET}})
    order = np.random.default_rng(0).permutation(len(digits.table(other)))
    keys, tiers, kept = digits.table(other)["key"].to_pylist(), list[str](), list[float]()
    held_out = [digits.picture(space, one) for one in digits.table(other, "holdout")["key"].to_pylist()]
    _serve(other, base)
    for number in range(BATCHES):
        batch = other.batch(f"s{number:02d}")
        named = [{"sample_key": keys[place]} for place in order[number * A_BATCH : (number + 1) * A_BATCH]]
        if not batch.requests.is_file():
            digits.file_requests(other, digits.body(10 + number, *named))
        for verb in (seal, resolve, planning):
            verb.run(ruled, batch, silent)
        tiers.append(plan.read_or_empty(batch)["tier"])
        digits.asked(other, batch.key, params)
        unlearn.run(params, batch, silent)
        _serve(other, batch.unlearned, number + 1, batch.key)
        kept.append(retention(checkpoint.load(batch.unlearned), checkpoint.load(base), tensor(held_out)))
    approximate = tiers.count("approximate")
    assert lineage.read(batch, "unlearned_checkpoint").facts["forget_images"] == A_BATCH
    far = f"retention of the base after 1, {BUDGET}, {BATCHES}: {kept[0]:.3f}, {kept[BUDGET - 1]:.3f}, {kept[-1]:.3f}"
    what = f"policy.drift.deletions {BUDGET}: {BATCHES - approximate} go to retrain"
    spent = f"{BATCHES - approximate} clean retrainings, which a requester of {A_BATCH} images a batch brings about"
    return [
        row("ten small batches, no budget (as the demo)", BATCHES, BATCHES, "nothing", far),
        row(f"ten small batches, budget {BUDGET}", BATCHES, approximate, what, spent),
    ]
