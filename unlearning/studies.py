"""A study file: many unlearning runs over one grid, in YAML. Read without torch: Dagster's partitions come from it.

A point is family x what is forgotten x corruption x method x value x seed. Every part of it is a mapping of dotted keys
of params.yaml, put over the family's parameter file in this order: `set` of the study, family, corruption, what is
forgotten, method, varied value, seed. What a dotted key may be, unlearning/params.py says, and a typo is named.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from unlearning.errors import ParamsError
from unlearning.params import Goal, Params
from unlearning.recipe import explain, read_mapping

GIVEN = "batch"  # the label of what is forgotten, where an existing batch says it
_LONGEST = 64  # of a point's id: it names a folder

Label = Annotated[str, BeforeValidator(str), Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]
ClassName = Annotated[str, BeforeValidator(str)]  # YAML reads the digits' class 3 as a number
Value = bool | int | float | str


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Family(_Section):
    """A generator family: the parameter file of its base, and what is put over it."""

    params: Path = Field(description="parameter file, relative to the study file")
    set: dict[str, Any] = {}


class Forget(_Section):
    """What a base batch is asked to forget, and which kept classes look like it."""

    classes: tuple[ClassName, ...] = Field(min_length=1)
    siblings: tuple[ClassName, ...] = ()


class Plan(_Section):
    """One line of the picture: a way to forget, and the one number that is varied along it."""

    set: dict[str, Any] = Field({}, description="unlearn.* keys: method, merge, scope, budget")
    vary: dict[str, tuple[Value, ...]] = Field({}, description="one unlearn.* key and its values; empty = one point")
    seeds: tuple[int, ...] = Field((), description="default: the study's")
    families: tuple[Label, ...] = Field((), description="the families it is run on; empty = every one")

    @model_validator(mode="after")
    def _only_unlearn(self) -> Plan:
        if len(self.vary) > 1:
            raise ValueError(f"vary names {len(self.vary)} keys; one key with its values is right")
        if any(not values for values in self.vary.values()):
            raise ValueError("vary holds no value; at least one is right")
        wrong = [key for key in (*self.set, *self.vary) if not key.startswith("unlearn.")]
        if wrong:
            raise ValueError(f"sets {wrong[0]!r}; a method may set keys of unlearn.* only, the base is shared")
        return self

    @property
    def varied(self) -> str | None:
        """The dotted key that is varied."""
        return next(iter(self.vary), None)


class Target(_Section):
    """What counts as solved; shaded in the picture."""

    forgetting: float = 0.90
    retention: float = 0.97
    sibling_retention: float = 0.93
    reference_margin: float = Field(
        0.25, gt=0, lt=1, description="share of the reference's way from the original: what is beyond over-forgets"
    )


class Plant(_Section):
    """A known picture, repeated in the training part as class `planted` (unlearning/data/planted.py)."""

    picture: str = Field(description="tshirt, letters, flower, or a file relative to where the study is run")
    copies: int = Field(gt=0, description="about 1 % of the training images, as Alberti et al. 2025 have it")


class Ceiling(_Section):
    """How long the classifier of corrupted images is trained (unlearning/metrics/_ceiling.py)."""

    steps: int = Field(1_500, ge=0, description="0 = do not measure it")
    batch_size: int = Field(64, gt=0)
    learning_rate: float = Field(3e-3, gt=0, description="peak of a one-cycle schedule")


class Study(_Section):
    """The whole of a study file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$", description="folder below <root>/studies")
    dataset: str = Field(description="name of the ingested data set")
    source: str | None = Field(None, description="what `unlearning ingest` takes where the data set is not there yet")
    plant: Plant | None = Field(None, description="planted in the source when the data set is ingested")
    goal: Goal = Field("unreconstructable", description="what the study's own requests ask for")
    batch: str | None = Field(None, description="an existing batch to start from, instead of `forget`")
    families: dict[Label, Family] = Field(min_length=1)
    forget: dict[Label, Forget] = {}
    corruptions: dict[Label, dict[str, Any]] = Field(min_length=1, description="`corruption`, and other keys beside it")
    methods: dict[Label, Plan] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="unlearn.budget.seed of each point")
    set: dict[str, Any] = Field({}, description="over every point, first")
    ceiling: Ceiling = Ceiling()
    target: Target = Target()

    @model_validator(mode="after")
    def _whole(self) -> Study:
        if bool(self.forget) == (self.batch is not None):
            raise ValueError("names both or none of forget and batch; exactly one says what is forgotten")
        for label, keys in self.corruptions.items():
            if "corruption" not in keys:
                raise ValueError(f"corruptions.{label} sets no corruption; corruption: {{kind: …}} is right")
        for label, plan in self.methods.items():
            unknown = sorted(set(plan.families) - set(self.families))
            if unknown:
                raise ValueError(f"methods.{label}.families: there is no family {unknown[0]!r}")
        return self


@dataclass(frozen=True, slots=True)
class Base:
    """What points share: the generator family and the corruption, for each thing to forget."""

    family: str
    forget: str
    corruption: str

    @property
    def id(self) -> str:
        """Names its batch folder."""
        return f"{self.family}-{self.forget}-{self.corruption}"


@dataclass(frozen=True, slots=True)
class Point:
    """One unlearning run of a study."""

    base: Base
    method: str
    varied: str | None  # the dotted key
    value: Value | None
    seed: int

    @property
    def id(self) -> str:
        """Readable, and the name of its batch folder: `mae-cat-border-noise_target-0.25-s0`."""
        value = "" if self.value is None else f"-{_spelt(self.value)}"
        return f"{self.base.id}-{self.method}{value}-s{self.seed}"


@dataclass(frozen=True)
class Plans:
    """A study and where its file lies: the grid, in one order for ever, and the parameters of every place in it."""

    study: Study
    file: Path

    @classmethod
    def read(cls, path: Path) -> Plans:
        """Read and check the file, and the parameters of every point. Raises ParamsError naming what is wrong."""
        tree = read_mapping(path, Study.model_fields, "there is no such study file; infra/studies holds some")
        try:
            plans = cls(Study.model_validate(tree), path)
        except ValidationError as error:
            raise ParamsError(explain(error, Study, str(path))) from None
        plans._refuse_unfit()
        return plans

    @property
    def plant(self) -> tuple[str, int] | None:
        """The picture that is planted in the source and how often, as the verb `ingest` takes it."""
        return None if self.study.plant is None else (self.study.plant.picture, self.study.plant.copies)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point: base by base, method by method, value by value, seed by seed."""
        return tuple(self._points())

    @cached_property
    def bases(self) -> tuple[Base, ...]:
        """Every base, in the order of the file."""
        return tuple(dict.fromkeys(point.base for point in self.points))

    def point(self, name: str) -> Point:
        """The point of that id. Raises ParamsError."""
        found = next((point for point in self.points if point.id == name), None)
        if found is None:
            raise ParamsError(f"{self.file}: there is no point {name[:80]!r}; the first is {self.points[0].id!r}")
        return found

    def base_params(self, base: Base) -> Params:
        """What the manifests, the original and the reference of a base are made with. Raises ParamsError."""
        return self._read(base, {})

    def params(self, point: Point) -> Params:
        """What a point is made with. Raises ParamsError."""
        varied = {} if point.varied is None else {point.varied: point.value}
        seed = {"unlearn.budget.seed": point.seed}
        return self._read(point.base, {**self.study.methods[point.method].set, **varied, **seed})

    def _read(self, base: Base, more: Mapping[str, Any]) -> Params:
        study, family = self.study, self.study.families[base.family]
        over: dict[str, Any] = {"data.name": study.dataset}
        if study.batch is None:  # an existing batch was made under its own names
            over["model.name"] = f"{study.name}-{base.family}"
        over |= {**study.set, **family.set, **study.corruptions[base.corruption]}
        if base.forget in study.forget:
            over["evaluate.siblings"] = list(study.forget[base.forget].siblings)
        # Copied: a nested key is put into the mapping that an earlier key brought.
        return Params.read(self.file.parent / family.params, copy.deepcopy({**over, **more}))

    def _points(self) -> Iterator[Point]:
        study = self.study
        for family in study.families:
            for forget in study.forget or (GIVEN,):
                for corruption in study.corruptions:
                    for method, plan in study.methods.items():
                        if plan.families and family not in plan.families:
                            continue
                        base = Base(family, forget, corruption)
                        for value in plan.vary[plan.varied] if plan.varied else (None,):
                            for seed in plan.seeds or study.seeds:
                                yield Point(base, method, plan.varied, value, seed)

    def _refuse_unfit(self) -> None:
        seen = set()
        for point in self.points:
            if len(point.id) > _LONGEST:
                raise ParamsError(
                    f"{self.file}: point {point.id!r} has a name of {len(point.id)} letters; shorter labels are right, "
                    f"{_LONGEST} letters at most"
                )
            if point.id in seen:
                raise ParamsError(f"{self.file}: point {point.id!r} stands there twice; values and seeds must differ")
            seen.add(point.id)
            if point.seed == (self.study.methods[point.method].seeds or self.study.seeds)[0]:
                self.params(point)


def _spelt(value: Value) -> str:
    """`0.25`, `1e-05`, `true`, `uniform`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else value.lower()
