"""A sequence file: one deletion request after the other on one model, in YAML. Read without torch.

Generation n starts from what generation n - 1 left, and forgets the n-th thing alone; generation 0 is the original.
Every method walks the same requests from the same original, and is judged beside the one model that never saw any of
what the requests name. What a dotted key may be, unlearning/params.py says, and a typo is named.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unlearning.errors import ParamsError
from unlearning.params import Goal, Params
from unlearning.recipe import explain, read_mapping
from unlearning.studies import ClassName, Label, Plant

Keys = Mapping[str, Any]  # dotted keys of params.yaml


class Sequence(BaseModel):
    """The whole of a sequence file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$", description="folder below <root>/sequences")
    dataset: str = Field(description="name of the ingested data set")
    source: str | None = Field(None, description="what `unlearning ingest` takes where the data set is not there yet")
    plant: Plant | None = Field(None, description="planted in the source when the data set is ingested")
    goal: Goal = Field("never_seen", description="what the sequence's own requests ask for")
    params: Path = Field(description="parameter file, relative to the sequence file")
    set: dict[str, Any] = Field({}, description="dotted keys over it, for every method")
    classes: tuple[ClassName, ...] = Field(min_length=1, description="what is forgotten, one a request, in this order")
    methods: dict[Label, dict[str, Any]] = Field(min_length=1, description="unlearn.* keys of each way to forget")
    look_after: tuple[int, ...] = Field(
        (), description="generations after which everything is measured; empty = the last alone"
    )
    margin: float = Field(
        0.25, gt=0, lt=1, description="share of the reference's forgetting by which one may fall short, or go beyond"
    )

    @model_validator(mode="after")
    def _whole(self) -> Sequence:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names one twice; what is forgotten is not there to be forgotten again")
        for label, keys in self.methods.items():
            wrong = [key for key in keys if not key.startswith("unlearn.")]
            if wrong:
                raise ValueError(f"methods.{label} sets {wrong[0]!r}; a method may set keys of unlearn.* only")
        outside = [place for place in self.look_after if not 1 <= place <= len(self.classes)]
        if outside:
            raise ValueError(f"look_after names generation {outside[0]}; 1 to {len(self.classes)} are right")
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """The generations after which everything is measured, in order."""
        return tuple(sorted(set(self.look_after))) or (len(self.classes),)


@dataclass(frozen=True)
class Deletions:
    """A sequence and where its file lies: the parameters of every place in it."""

    sequence: Sequence
    file: Path

    @classmethod
    def read(cls, path: Path) -> Deletions:
        """Read and check the file, and the parameters of every method. Raises ParamsError naming what is wrong."""
        tree = read_mapping(path, Sequence.model_fields, "there is no such sequence file; infra/sequences holds one")
        try:
            found = cls(Sequence.model_validate(tree), path)
        except ValidationError as error:
            raise ParamsError(explain(error, Sequence, str(path))) from None
        for method in found.sequence.methods:
            found.params(method)
        return found

    @property
    def plant(self) -> tuple[str, int] | None:
        """The picture that is planted in the source and how often, as the verb `ingest` takes it."""
        return None if self.sequence.plant is None else (self.sequence.plant.picture, self.sequence.plant.copies)

    def base_params(self) -> Params:
        """What the manifests of all requests, the original and the reference are made with. Raises ParamsError."""
        return self._read({"model.name": self.sequence.name})

    def params(self, method: str) -> Params:
        """What a method's generations are made with, each under a model name of its own. Raises ParamsError."""
        return self._read({"model.name": f"{self.sequence.name}-{method}", **self.sequence.methods[method]})

    def _read(self, more: Keys) -> Params:
        over = {"data.name": self.sequence.dataset, **self.sequence.set, **more}
        # Copied: a nested key is put into the mapping that an earlier key brought.
        return Params.read(self.file.parent / self.sequence.params, copy.deepcopy(over))
