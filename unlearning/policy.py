"""Which way of forgetting a batch takes: params.yaml's rules, tried in order, against the numbers of the batch.

A rule applies if all of `when` holds and its tier can be had at all: `exact` of a `sharded` generator, `retrain` and
`approximate` of any other, `approximate` within the drift budget. The first that applies is taken. A number that is not
known makes a condition on it fail, and where a budget is set, the budget too. No clock is read: the same batch gives
the same decision. No torch: it is decided in Dagster's process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from unlearning.errors import ParamsError, PolicyError
from unlearning.params import Params, Unlearn
from unlearning.recipe import explain
from unlearning.rules import OVERRIDABLE, Drift, Rule, Tier, When

METHODS: Mapping[str, Tier] = {"sisa": "exact", "retrain": "retrain"}  # any other method is approximate
AS_CONFIGURED = "params.yaml has no policy.rules, so unlearn says how"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a batch is, in the numbers that rules ask for. None: not known."""

    sharded: bool
    images: int | None  # training images that the requests cover
    share: float | None  # the same, of all training images
    selectors: tuple[str, ...]  # kinds that the requests use
    days_left: int | None  # calendar days from sealing to the earliest deadline
    goal: str | None
    attempts: int | None = None  # the highest of its tasks, from 1


@dataclass(frozen=True, slots=True)
class Drifted:
    """How far the model that a batch starts from is from its last clean base. None: not known."""

    deletions: int | None  # approximate batches promoted since the base
    distance: float | None  # |w - base| / |base|
    base: Mapping[str, Any] | None  # version, checkpoint, sha256, made_at


@dataclass(frozen=True, slots=True)
class Declined:
    """A rule that was tried, and every reason why it did not apply."""

    rule: int  # from 1
    then: Tier
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done."""

    tier: Tier
    rule: int | None  # from 1; None where there are none
    reason: str
    unlearn: Unlearn
    declined: tuple[Declined, ...]


def decide(params: Params, seen: Seen, drifted: Drifted, batch: str) -> Decision:
    """The first rule that applies. Raises PolicyError naming why none does, ParamsError for overrides that do not fit.

    batch   its key, for the sentence
    """
    declined = list[Declined]()
    for number, rule, unlearn in list(every(params)):  # a rule that does not fit is named, also behind one that applies
        place = number if params.policy.rules else None
        why = tuple(_missed(rule.when, seen))
        if place is not None:  # without rules, the check of params.yaml says whether method and generator fit
            why += tuple(_impossible(rule.then, seen.sharded))
        if rule.then == "approximate":
            why += tuple(_spent(drifted, params.policy.drift))
        if not why:
            return Decision(rule.then, place, _reason(rule, place, seen), unlearn, tuple(declined))
        declined.append(Declined(number, rule.then, why))
    told = "; ".join(f"{_named(one, params)}: {', '.join(one.why)}" for one in declined)
    raise PolicyError(
        f"batch {batch}: no rule of policy admits a way of forgetting ({told}); add a rule that applies, "
        f"then: retrain or suppress, say"
    )


def every(params: Params) -> Iterator[tuple[int, Rule, Unlearn]]:
    """Each rule with its number, from 1, and the whole `unlearn` section it would lead to; without rules, `unlearn`.

    Raises ParamsError naming the rule whose overrides do not fit.
    """
    if not params.policy.rules:
        tier = METHODS.get(params.unlearn.method.kind, "approximate")
        yield 1, Rule(then=tier, because=AS_CONFIGURED), params.unlearn
    for number, rule in enumerate(params.policy.rules, 1):
        yield number, rule, overridden(params.unlearn, rule, f"policy.rules.{number - 1}.unlearn")


def reachable(params: Params) -> Iterator[tuple[str, Unlearn]]:
    """Where each `unlearn` section that a batch of this generator may come to is written, and the section."""
    sharded = params.generator.kind == "sharded"
    for number, rule, unlearn in every(params):
        if not params.policy.rules:
            yield "unlearn", unlearn
        elif rule.then == "suppress" or rule.when.sharded == (not sharded) or [*_impossible(rule.then, sharded)]:
            continue
        else:
            yield f"policy.rules.{number - 1}.unlearn" if rule.unlearn else "unlearn", unlearn


def overridden(unlearn: Unlearn, rule: Rule, where: str) -> Unlearn:
    """`unlearn` as the rule has it. Raises ParamsError naming the field that does not fit."""
    tree = unlearn.model_dump(mode="json")
    fixed = {tier: method for method, tier in METHODS.items()}
    if rule.then in fixed:
        tree["method"] = {"kind": fixed[rule.then]}
    for name in OVERRIDABLE:
        if name in rule.unlearn:
            told = rule.unlearn[name]
            tree[name] = {**tree[name], **told} if name == "budget" and isinstance(told, Mapping) else told
    try:
        return Unlearn.model_validate(tree)
    except ValidationError as error:
        raise ParamsError(explain(error, Unlearn, where)) from None


def as_json(decision: Decision, seen: Seen, drifted: Drifted) -> dict[str, Any]:
    """What plan.json says of it."""
    return {
        "tier": decision.tier,
        "rule": decision.rule,
        "reason": decision.reason,
        "declined": [asdict(one) for one in decision.declined],
        "unlearn": decision.unlearn.model_dump(mode="json"),
        "seen": {**asdict(seen), "selectors": list(seen.selectors)},
        "drift": {**asdict(drifted), "base": None if drifted.base is None else dict(drifted.base)},
    }


def _missed(when: When, seen: Seen) -> Iterator[str]:
    if when.sharded is not None and when.sharded != seen.sharded:
        yield f"the generator is {'' if seen.sharded else 'not '}sharded"
    yield from _beyond("training images to forget", seen.images, at_most=when.images_at_most)
    yield from _beyond("share of the training images", seen.share, at_most=when.share_at_most)
    others = sorted(set(seen.selectors) - set(when.selectors)) if when.selectors else []
    if others:
        yield f"a request selects by {others[0]}, the rule is for {', '.join(when.selectors)}"
    days = "calendar days left"
    yield from _beyond(days, seen.days_left, at_least=when.days_left_at_least, at_most=when.days_left_at_most)
    yield from _beyond("attempts", seen.attempts, at_least=when.attempts_at_least)
    if when.goal is not None and when.goal != seen.goal:
        yield f"the goal is {seen.goal or 'not known'}, the rule is for {when.goal}"


def _beyond(
    what: str, value: float | None, at_least: float | None = None, at_most: float | None = None
) -> Iterator[str]:
    if value is None and (at_least is not None or at_most is not None):
        yield f"{what}: not known"
    elif value is not None and at_least is not None and value < at_least:
        yield f"{what}: {_number(value)}, at least {_number(at_least)} is asked"
    elif value is not None and at_most is not None and value > at_most:
        yield f"{what}: {_number(value)}, at most {_number(at_most)} is asked"


def _impossible(tier: Tier, sharded: bool) -> Iterator[str]:
    """Why the tier cannot be had, whatever the rule says."""
    if tier == "exact" and not sharded:
        yield "exact needs generator sharded"
    elif tier in ("approximate", "retrain") and sharded:
        yield f"{tier} would move every shard of a sharded generator, exact is its retraining"


def _spent(drifted: Drifted, limits: Drift) -> Iterator[str]:
    """Of the drift budget. What is not known is spent."""
    since = "the base" if drifted.base is None else f"the base of {str(drifted.base.get('made_at'))[:10]}"
    if limits.deletions is not None and drifted.deletions is None:
        yield f"how many deletions {since} has had is not known, policy.drift.deletions is {limits.deletions}"
    elif limits.deletions is not None and drifted.deletions is not None and drifted.deletions >= limits.deletions:
        nth = _ordinal(drifted.deletions + 1)
        yield f"this is the {nth} deletion since {since}, policy.drift.deletions is {limits.deletions}"
    if limits.distance is not None and drifted.distance is None:
        yield f"the distance from {since} was not measured, policy.drift.distance is {_number(limits.distance)}"
    elif limits.distance is not None and drifted.distance is not None and drifted.distance > limits.distance:
        far = f"{_number(drifted.distance)} from {since}"
        yield f"the served weights are {far}, policy.drift.distance is {_number(limits.distance)}"


def _reason(rule: Rule, place: int | None, seen: Seen) -> str:
    if place is None:
        return f"{rule.then}: {rule.because}"
    held = ", ".join(_held(rule.when, seen)) or "it asks for nothing"
    return f"{rule.then} by rule {place} ({held}): {rule.because}"


def _held(when: When, seen: Seen) -> Iterator[str]:
    """The numbers that the rule looked at."""
    if when.sharded is not None:
        yield f"the generator is {'' if seen.sharded else 'not '}sharded"
    if when.images_at_most is not None:
        yield f"{seen.images} training images to forget, at most {when.images_at_most}"
    if when.share_at_most is not None and seen.share is not None:
        yield f"{_number(seen.share)} of the training images, at most {_number(when.share_at_most)}"
    if when.selectors:
        yield f"selected by {', '.join(seen.selectors)}"
    if when.days_left_at_least is not None:
        yield f"{seen.days_left} days left, at least {when.days_left_at_least}"
    if when.days_left_at_most is not None:
        yield f"{seen.days_left} days left, at most {when.days_left_at_most}"
    if when.attempts_at_least is not None:
        yield f"attempt {seen.attempts}, at least {when.attempts_at_least}"
    if when.goal is not None:
        yield f"goal {seen.goal}"


def _named(one: Declined, params: Params) -> str:
    return f"rule {one.rule}, {one.then}" if params.policy.rules else f"unlearn, {one.then}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
