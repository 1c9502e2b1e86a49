"""The sections of params.yaml that say what may happen: which way of forgetting is right, and what may ship."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Goal = Literal["unreconstructable", "never_seen"]
Tier = Literal["exact", "approximate", "retrain", "suppress"]
Selected = Literal["sample_key", "content_sha256", "pixel_sha256", "subject", "class", "near_duplicate_of"]
Profile = Literal["quick", "standard", "audit"]  # how much an evaluation tries

OVERRIDABLE = ("method", "merge", "scope", "budget")  # of `unlearn`, by a rule
# Sections that are not written where they say nothing.
OPTIONAL = ("policy", "suppress", "tombstones", "resolve", "purge", "trace")


class Section(BaseModel):
    """A part of params.yaml: frozen, and a typo is named."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def without(written: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """A written section without the keys that say nothing."""
    return {name: value for name, value in written.items() if name not in defaults or value != defaults[name]}


class When(Section):
    """What must hold of a batch for a rule to apply; what is left out holds. A number that is not known never does."""

    sharded: bool | None = Field(None, description="true: the generator is `sharded`; false: it is not")
    images_at_most: int | None = Field(None, ge=0, description="training images that the requests cover")
    share_at_most: float | None = Field(None, ge=0, le=1, description="the same, of all training images")
    selectors: tuple[Selected, ...] = Field((), description="every selector of every request is one of these")
    days_left_at_least: int | None = Field(None, description="calendar days from sealing to the earliest deadline")
    days_left_at_most: int | None = Field(None, description="the same; below 0 the deadline has passed")
    goal: Goal | None = None
    attempts_at_least: int | None = Field(
        None, ge=1, description="how often a request of the batch was tried, with this time: 2 = one was refused before"
    )

    @model_serializer(mode="wrap")
    def _attempts_that_are_not_asked_for_are_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a rule from before attempts were counted is still the same: the same digest."""
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if value is not None or name != "attempts_at_least"}


class Rule(Section):
    """If `when` holds, `then` this, `because` of that."""

    when: When = When()
    then: Tier
    unlearn: dict[str, Any] = Field(
        {}, description="put over `unlearn`: method, merge and scope are replaced, budget is changed field by field"
    )
    because: str = Field(min_length=8, description="why this rule stands here; it is read in the plan and certificate")

    @model_validator(mode="after")
    def _overrides_an_approximation(self) -> Rule:
        unknown = sorted(set(self.unlearn) - set(OVERRIDABLE))
        if unknown:
            raise ValueError(f"a rule may not change unlearn.{unknown[0]}; {', '.join(OVERRIDABLE)} are right")
        if self.unlearn and self.then != "approximate":
            raise ValueError(f"unlearn is read by then: approximate alone; none is right with {self.then}")
        method = self.unlearn.get("method")
        if isinstance(method, dict) and method.get("kind") in ("sisa", "retrain"):
            raise ValueError("sisa and retrain are no approximations; then: exact, or then: retrain is right")
        return self


class Drift(Section):
    """How far approximate deletions may lead from the last model that was trained clean.

    Per-request guarantees assume that requests do not depend on answers (Gupta et al., "Adaptive Machine Unlearning",
    NeurIPS 2021), so deletions of one base are counted and bounded.
    """

    deletions: int | None = Field(
        None, ge=0, description="promoted batches since the base, with this one; search 1 to 20"
    )
    distance: float | None = Field(
        None, gt=0, description="of the served weights from the base's, |w - b| / |b|; measure it on your own sequence"
    )


class Policy(Section):
    """Which way of forgetting a batch takes: the first rule that applies. No rules: what `unlearn` says, always."""

    rules: tuple[Rule, ...] = ()
    days: int = Field(30, gt=0, le=3650, description="from submitted_at to the deadline; GDPR a month, CCPA 45 days")
    drift: Drift = Drift()


class Suppress(Section):
    """Where the filter's threshold stands that is served until a batch is promoted (`unlearning suppress`)."""

    threshold: Literal["quantile", "published"] = Field(
        "quantile",
        description="quantile: above it lies at most false_positives of the retain training images; published: the "
        "mean score of images to forget and retain images together (FAST), which says nothing of either error",
    )
    false_positives: float = Field(
        0.01, gt=0, lt=1, description="share of what must be kept that may be withheld; search 0.001 to 0.1"
    )


class Tombstones(Section):
    """How a forgotten image is known again when a data set is ingested later; unlearning/data/tombstones.py."""

    perceptual_within: int | None = Field(
        None,
        ge=0,
        le=16,
        description="bits of 64 by which two perceptual hashes of one picture may differ; null = none is kept, since "
        "such a hash is personal data that stays, and a picture re-encoded with loss is then not known again",
    )


class Trace(Section):
    """What lies beside a checkpoint so that parts of its training can be run again (`unlearning verify --replay`)."""

    keep: int | None = Field(
        None,
        gt=0,
        description="steps between states that are kept for it: three times the size of what is trained, each; null = "
        "none, a replay begins at the first step; a tenth of the steps makes one cost a tenth. What is made stays",
    )


class NearDuplicates(Section):
    """When images that are only near to what a request names are forgotten for it without anybody's approval."""

    accept: Literal["never", "within"] = Field(
        "never", description="never: an officer approves each proposal; within: not where it stays within these bounds"
    )
    bits: int = Field(
        4, ge=0, le=16, description="perceptual: most bits of 64 a request may ask for; house bound, search 0 to 10"
    )
    cosine: float = Field(
        0.95, gt=0, le=1, description="embedding: least cosine a request may ask for; depends on the extractor"
    )
    most: int = Field(20, ge=0, description="images one request may gain that way; house bound")
    extractor: str = Field(
        "auto", pattern=r"^[a-z0-9_]{1,32}$", description="whose features `embedding` reads; made by `unlearning embed`"
    )


class Caps(Section):
    """How much one request may cost the model before somebody must look at it; null = no bound."""

    share_of_class: float | None = Field(None, gt=0, le=1, description="of the images of any one class; 0.05 to 0.5")
    share_of_data: float | None = Field(None, gt=0, le=1, description="of the whole data set; 0.001 to 0.1")
    images_of_request: int | None = Field(None, ge=1, description="images that one request covers")
    images_of_requester: int | None = Field(
        None, ge=1, description="images that all requests of one controller cover in a batch, in the order they came"
    )
    share_of_class_in_batch: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of the images of any one class, by all requests of a batch together, in the order they came: a "
        "class that is asked for image by image, under several names, is one class; 0.05 to 0.5",
    )

    @model_serializer(mode="wrap")
    def _what_came_later_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a manifest from before it could be set is still current: the same digest."""
        return without(handler(self), share_of_class_in_batch=None)


class Resolve(Section):
    """What of a resolved request needs somebody's word before anything is forgotten for it."""

    near_duplicates: NearDuplicates = NearDuplicates()
    caps: Caps = Caps()
    officer: tuple[Selected, ...] = Field(
        (),
        description="selectors whose images wait for an officer's word whatever their number: `approved_by` of a class "
        "is what the requester wrote, and whose an image is nobody here knows; class and subject, say",
    )

    @model_serializer(mode="wrap")
    def _nobody_to_ask_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a manifest from before it could be set is still current: the same digest."""
        written: dict[str, Any] = handler(self)
        return written if self.officer else without(written, officer=written["officer"])


class EpsilonScore(Section):
    """How sure can one be that a model was unlearned and not retrained? Small models of both kinds are trained to see.

    Triantafillou et al., "Are we making progress in unlearning?", 2024, with 512 of each; see metrics/_epsilon.py.
    """

    models: int | None = Field(
        None,
        ge=0,
        le=64,
        description="N unlearned and N retrained ones; 0 = not made; null = 8 under profile audit, else 0. Nothing "
        "above log(N - 1) can be seen, of 5 and fewer nothing at all, and 16 to 64 are better",
    )
    share: float = Field(
        0.2, gt=0, le=1, description="of the steps of both budgets, for each; a first stage is trained in full"
    )

    @model_validator(mode="after")
    def _one_is_no_group(self) -> EpsilonScore:
        if self.models == 1:
            raise ValueError("models is 0, or 2 at least: one has nothing to vary with")
        return self


class Threshold(Section):
    """One bound of a gate and where the number comes from."""

    value: float
    source: str = Field(min_length=8, description="why this number: a paper, a policy, a measurement")


class Advice(Threshold):
    """A bound that is reported, and refuses only where `blocking` says so."""

    blocking: bool = Field(False, description="true = a model that misses this bound may not ship")


class Bound(Advice):
    """A bound on what a metric says of the unlearned model on one set."""

    metric: str = Field(min_length=1, description="its kind, as evaluate.metrics names it")
    set: str = Field("holdout", description="forget, forget_holdout, retain, holdout or siblings")
    side: Literal["at_most", "at_least"]
    over: Literal["original", "reference"] | None = Field(
        None, description="the value is divided by that model's on the same set; null = taken as it is"
    )


EARLIER = Threshold(
    value=0.1,
    source="house threshold: a tenth of the way from knowing an image to knowing nothing of it, the width of the gates",
)


class Gates(Section):
    """When a model may ship. The goal of the batch's requests decides which bounds apply."""

    forgetting_at_least: Threshold
    retention_at_least: Threshold
    over_forgetting_margin: Threshold
    reference_distance_at_most: Threshold
    earlier_forgetting_drop: Threshold = Field(
        EARLIER,
        description="how much of what an earlier batch had forgotten when it was certified may come back; 0 to 0.2",
    )
    sibling_retention_at_least: Advice | None = Field(None, description="for evaluate.siblings; absent = no bound")
    class_retention_at_least: Advice | None = Field(
        None,
        description="of the kept class that lost most, among those of 20 held-out images at least: a mean over all "
        "hides one that was asked away image by image; absent = no bound, else 0.8 to 0.95",
    )
    attacks: Mapping[str, Advice] = Field(
        {}, description="kind of attack: how far the unlearned model may lie beyond the reference, at most"
    )
    metrics: tuple[Bound, ...] = ()

    @model_serializer(mode="wrap")
    def _what_bounds_nothing_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that what was made before these could be asked for is still current: the same digest."""
        written: dict[str, Any] = handler(self)
        told = {name: value for name, value in written.items() if value or name not in ("attacks", "metrics")}
        if self.earlier_forgetting_drop == EARLIER:
            told.pop("earlier_forgetting_drop", None)
        if self.class_retention_at_least is None:
            told.pop("class_retention_at_least", None)
        return told


class Report(Section):
    """What people see."""

    show_forget_images: bool = Field(False, description="put pictures of forget images into report.html")
    pictures: int = Field(8, ge=1, le=32, description="images a row")
    map: bool | None = Field(
        None, description="a map of the encoders' embeddings (t-SNE); null = under the profiles standard and audit"
    )

    @model_serializer(mode="wrap")
    def _no_map_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a report made before there were maps is still current: the same digest."""
        return without(handler(self), map=None)
