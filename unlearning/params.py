"""The one definition of params.yaml. Reading it needs no torch: recipes stay a `Choice` until a verb looks them up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_serializer, model_validator

from unlearning import digests, overrides
from unlearning.errors import ParamsError
from unlearning.recipe import Choice, explain, read_mapping
from unlearning.retention import Purge
from unlearning.rules import (
    OPTIONAL,
    EpsilonScore,
    Gates,
    Policy,
    Profile,
    Report,
    Resolve,
    Section,
    Suppress,
    Tombstones,
    Trace,
    without,
)
from unlearning.rules import Goal as Goal


class Model(Section):
    """Under which name the generator is registered and served, and where it comes from if it is not trained here."""

    name: str = Field("digits-mae", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    weights: Path | None = Field(
        None, description="a published checkpoint, file or folder; the original is converted from it, not trained here"
    )
    weights_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="the one file that will do, as original_checkpoint's facts name it"
    )


class Data(Section):
    """Which ingested data set the model was trained on, and how its images enter the model."""

    name: str = Field("digits", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="folder below <root>/data")
    image_size: int = Field(8, ge=4, le=1024, description="pixels a side; images are resized, then centre-cropped")
    channels: Literal[1, 3] = Field(1, description="1 = grey, 3 = RGB")
    flip: bool = Field(False, description="mirror half of the training images at random")


class Retain(Section):
    """What stands for the images that must be kept."""

    mode: Literal["real", "other_classes", "other_dataset"] = Field(
        "real", description="real: training images no request covers; the other two are proxies"
    )
    dataset: str | None = Field(None, description="the proxy data set, for mode other_dataset")
    proxy_classes: tuple[str, ...] = Field((), description="for mode other_classes; empty = every class not forgotten")
    duplicate: float = Field(
        0.05,
        ge=0,
        le=2,
        description="an image as near as this to one to forget is neither kept nor held out: root mean square of the "
        "pixels' difference, in [-1, 1]; 0 = equal pixels only",
    )
    ratio: float = Field(1.0, gt=0, le=1, description="share of the eligible retain images that is available")
    seed: int = 0

    @model_validator(mode="after")
    def _dataset_where_needed(self) -> Retain:
        if (self.mode == "other_dataset") != (self.dataset is not None):
            raise ValueError("retain.dataset names the proxy data set, for mode other_dataset and no other mode")
        return self


class Budget(Section):
    """How long, how fast and how precisely to train."""

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="images per set and step, over all processes")
    learning_rate: float = Field(gt=0, description="peak of AdamW's learning rate")
    warmup_steps: int = Field(0, ge=0, description="linear warm-up; then a half cosine to 0")
    weight_decay: float = Field(0.05, ge=0)
    gradient_clip: float = Field(3.0, gt=0, description="largest global gradient norm")
    chunk: int | None = Field(
        None, gt=0, description="images a set in one forward and backward pass; fewer need less memory, null = all"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16 = autocast")
    save_every: int = Field(200, gt=0, description="steps between resumable states")
    log_every: int = Field(20, gt=0, description="steps between log lines")
    seed: int = 0
    snapshots: int = Field(
        0,
        ge=0,
        description="of the original: how often its weights are looked at over the last half of training, for their "
        "variance (VDU, 2025, has a handful); 0 = never; 8 cost nothing but memory",
    )

    @model_validator(mode="after")
    def _snapshots_fit(self) -> Budget:
        if self.snapshots == 1 or self.snapshots > self.steps - self.steps // 2:
            raise ValueError("snapshots is 0, or from 2 to half of the steps: one has no variance")
        return self

    @model_serializer(mode="wrap")
    def _no_snapshots_are_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a model trained without any is still the one that was trained before there were: the same digest."""
        return without(handler(self), snapshots=0)

    def of_first_stage(self, steps: int, learning_rate: float) -> Budget | None:
        """For a part that trains first: the same but for steps and speed, and nothing decays. None for 0 steps."""
        if not steps:
            return None
        changed = {"steps": steps, "learning_rate": learning_rate, "warmup_steps": steps // 20, "weight_decay": 0.0}
        return self.model_copy(update={**changed, "snapshots": 0})


class Stop(Section):
    """When forgetting ends before its budget does: the own loss of images of both sets, under views that never change.

    A rise is relative to the original's loss. What is kept has the last word.
    """

    every: int = Field(
        10, gt=0, description="steps between two looks; a look costs a pass over the images, no gradient"
    )
    images: int = Field(256, gt=0, description="of each set, at most, evenly over it; the retain set may be a proxy")
    retain_rise_at_most: float = Field(
        0.05, ge=0, description="past it the run ends with the last weights that were within; search 0.01 to 0.2"
    )
    forget_rise_at_least: float | None = Field(
        None, gt=0, description="enough: the run ends there; null = the whole budget. Search 0.1 to 10 by method"
    )


class Unlearn(Section):
    """How the student is made to forget: method x merge x scope. Method `sisa` retrains and reads no other field."""

    method: Choice
    merge: Choice
    scope: Choice
    budget: Budget
    holes: Literal["step", "row"] = Field(
        "step", description="step: drawn anew whenever an image comes, as published; row: an image keeps its hole"
    )
    cache: bool = Field(True, description="compute once what never changes for an image; no result depends on it")
    cache_gib: float = Field(16.0, gt=0, description="most disk that may take; what does not fit is computed anew")
    stop: Stop | None = Field(None, description="when to end before the budget is spent; null = never, as published")

    @model_serializer(mode="wrap")
    def _no_stop_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a model unlearned without one is still the one made before there was any: the same digest."""
        return without(handler(self), stop=None)

    @model_validator(mode="after")
    def _takes_no_snapshots(self) -> Unlearn:
        if self.budget.snapshots:
            raise ValueError("budget.snapshots are of the original's training; set original.snapshots")
        return self


class DrawnPictures(Section):
    """Pictures drawn from nothing by the models' own samplers: how many are copies of an image to forget, how good?"""

    images: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="of each model; 0 = none, and no time for them. For models trained under a corruption that leaves "
        "nothing; published: 30720 (Alberti et al., ICLR 2025); a rate of 1 % wants 1000 at least",
    )
    copy_distance: float = Field(
        0.357,
        gt=0,
        lt=1,
        description="root mean square over pixels in [0, 1] below which a picture is a copy; 10 / 28 is the L2 < 10 on "
        "28 x 28 of Alberti et al., ICLR 2025",
    )
    seed: int = 0


class Likelihood(Section):
    """Relative bits per dimension by the probability-flow ODE (Song et al., ICLR 2021)."""

    images: int = Field(0, ge=0, description="of each set, at most; 0 = not measured: it costs steps x probes passes")
    probes: int = Field(4, ge=1, le=64, description="Hutchinson's; their spread is the standard error in the report")
    steps: int = Field(50, ge=2, le=1_000, description="Heun steps; no more than the noise schedule has timesteps")


class Evaluate(Section):
    """What is measured, on which corruptions, how often."""

    corruption: Choice | None = Field(None, description="default: the corruption the model was trained on")
    metrics: tuple[Choice, ...]
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="one draw of the corruption each")
    max_images: int = Field(2_000, gt=1, description="per set; more are sampled, seeded")
    batch_size: int = Field(256, gt=0)
    bootstrap: int = Field(1_000, ge=100, description="resamples of images, for the intervals")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    siblings: tuple[str, ...] | Literal["nearest"] = Field(
        (),
        description="kept classes that look like the forgotten ones, a set of their own: by name, or `nearest`, two "
        "classes (subjects, where whole subjects are forgotten) whose mean features are nearest; empty = no such set",
    )
    extractor_weights: Path | None = Field(
        None, description="folder of published weights for metrics to see through, before torch hub's own; null = none"
    )
    attacks: tuple[Choice, ...] = Field(
        (),
        description="tried on the original, the unlearned model and the reference, with these fields",
    )
    profile: Profile | Literal["none"] = Field(
        "none", description="also every other kind of attack, as it is made under quick, standard or audit"
    )
    attacked_images: int | None = Field(
        None, ge=8, description="per set, of every attack; null = 256, and 1000 under audit, so that 0.1 % can be seen"
    )
    epsilon: EpsilonScore = Field(EpsilonScore(), description="told from retrained models? Costs N small trainings")
    drawn: DrawnPictures = Field(DrawnPictures(), description="pictures drawn from nothing; default: none")
    likelihood: Likelihood = Field(Likelihood(), description="relative bits per dimension; default: not measured")

    @model_serializer(mode="wrap")
    def _what_is_not_asked_for_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that a report without any is still the one that was made before they could be asked for: same digest."""
        written: dict[str, Any] = handler(self)
        asked = {
            "attacks": self.attacks,
            "profile": self.profile != "none",
            "attacked_images": self.attacked_images,
            "extractor_weights": self.extractor_weights,
            "epsilon": self.epsilon != EpsilonScore(),
            "drawn": self.drawn.images,
            "likelihood": self.likelihood.images,
        }
        return {name: value for name, value in written.items() if asked.get(name, True)}


class Params(Section):
    """The whole of params.yaml."""

    model: Model = Model()
    data: Data = Data()
    retain: Retain = Retain()
    generator: Choice
    corruption: Choice
    original: Budget
    unlearn: Unlearn
    evaluate: Evaluate
    gates: Gates
    report: Report = Report()
    policy: Policy = Field(Policy(), description="which way of forgetting is right when; default: what `unlearn` says")
    suppress: Suppress = Field(Suppress(), description="what is withheld until a batch is promoted, if it is asked for")
    resolve: Resolve = Field(Resolve(), description="what of a request needs somebody's word; default: near duplicates")
    tombstones: Tombstones = Field(Tombstones(), description="how what was forgotten is kept out of a later ingest")
    trace: Trace = Field(Trace(), description="which states a training leaves for whoever runs a part of it again")
    purge: Purge = Field(
        Purge(), description="when stored copies of what was forgotten go, and the models that knew it"
    )

    @model_serializer(mode="wrap")
    def _what_says_nothing_is_not_named(self, handler: Any) -> dict[str, Any]:
        """So that what was made before there was a policy is still current: the same digest."""
        written: dict[str, Any] = handler(self)
        silent = {name for name in OPTIONAL if getattr(self, name) == type(self).model_fields[name].default}
        return {name: value for name, value in written.items() if name not in silent}

    @classmethod
    def read(cls, path: Path, changes: Mapping[str, Any] | None = None) -> Params:
        """Read the file, put `{"unlearn.budget.steps": 8}` over it, and validate. Raises ParamsError."""
        tree = read_mapping(path, cls.model_fields, "there is no such file; name one with --params")
        return cls.of(tree, str(path), changes)

    @classmethod
    def of(cls, tree: dict[str, Any], where: str, changes: Mapping[str, Any] | None = None) -> Params:
        """The file's mapping, with the changes over it, validated. Raises ParamsError naming `where`."""
        for dotted, value in (changes or {}).items():
            overrides.put(tree, dotted.split("."), value, where)
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise ParamsError(explain(error, cls, where)) from None

    def section_digest(self, *sections: str) -> str:
        """sha256 of the named sections, canonical: what a stage's result depends on."""
        return digests.of_value(self.model_dump(mode="json", include=set(sections)))
