"""What statements are written in, and what one may say of a run: SLSA provenance v1, as certificate-spec.md has it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from unlearning.evidence.trust import Hex, Time

BUILD_TYPE = "urn:unlearning:unlearn:1"
DEPENDENCIES = ("dataset", "forget", "retain", "original_checkpoint")


def _printable(text: str) -> str:
    if any(character < " " for character in text):
        raise ValueError("holds a control character")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._:-]{0,63}$")]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """Exactly the fields that are named, of exactly their types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Sha256(Strict):
    """A digest."""

    sha256: Hex


class GitCommit(Strict):
    """A revision of a git repository."""

    gitCommit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class File(Strict):
    """Something by its digest, and what it is called here."""

    digest: Sha256
    name: Name


class Dependency(Strict):
    """Something a run was made from."""

    digest: Sha256 | GitCommit
    name: Name


class BuildDefinition(Strict):
    """What was asked of the run, and what it read."""

    buildType: Literal["urn:unlearning:unlearn:1"]
    externalParameters: dict[Parameter, str | int | None]
    internalParameters: dict[Parameter, str | bool | int | None]
    resolvedDependencies: list[Dependency]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [one.name for one in self.resolvedDependencies]
        if len(set(names)) < len(names) or not set(DEPENDENCIES) <= set(names):
            raise ValueError(f"resolvedDependencies have distinct names, {', '.join(DEPENDENCIES)} among them")
        if any(isinstance(one.digest, GitCommit) for one in self.resolvedDependencies if one.name in DEPENDENCIES):
            raise ValueError(f"{', '.join(DEPENDENCIES)} are named by sha256")
        return self

    def sha256(self, name: str) -> str | None:
        """Of one dependency."""
        digest = next(one.digest for one in self.resolvedDependencies if one.name == name)
        return digest.sha256 if isinstance(digest, Sha256) else None


class Builder(Strict):
    """Who ran it."""

    id: Name


class Metadata(Strict):
    """When it ran."""

    finishedOn: Time
    invocationId: Name
    startedOn: Time


class RunDetails(Strict):
    """The run itself."""

    builder: Builder
    byproducts: list[File]
    metadata: Metadata


class Provenance(Strict):
    """How the model was made (SLSA provenance v1)."""

    buildDefinition: BuildDefinition
    runDetails: RunDetails
