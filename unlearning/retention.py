"""The section `purge` of params.yaml: how long stored copies of what was forgotten stay, and where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from unlearning.rules import Section

OldCheckpoints = Literal["delete", "keep", "seal"]


class Purge(Section):
    """When the images of a promoted batch, and the models that knew them, are removed from every place.

    The clock of a regulation ends at the promotion for the model and at the purge for what is stored: GDPR, Art. 12(3)
    and 17, gives both a month from receipt. A batch waits up to a week for its line; 7 days of grace and 14 days in
    all leave nine of the month.
    """

    after_days: int = Field(
        7,
        ge=0,
        le=365,
        description="days from promotion to purge, in which a rollback is possible; one cycle of a line",
    )
    within_days: int = Field(
        14,
        ge=1,
        le=365,
        description="days from promotion after which a purge that is not complete rings; 28 at most is right",
    )
    keep_for_measuring_days: int = Field(
        0,
        ge=0,
        le=365,
        description="days from promotion for which the images stay in one place, below the batch's folder, so that "
        "later batches measure whether they are still forgotten; 0 = not beyond the purge: the batch that comes within "
        "after_days measures them, and whoever asked is owed the erasure more than the line the measurement",
    )
    old_checkpoints: OldCheckpoints = Field(
        "delete",
        description="weights that learnt the images: delete with the purge; seal to the privacy officer's key, and "
        "nothing in the clear, for keep_checkpoints_days; or keep as they are so long: before and after the forgetting "
        "side by side tell what was forgotten",
    )
    keep_versions: int = Field(
        0,
        ge=0,
        le=100,
        description="newest versions before the forgetting that are kept for keep_checkpoints_days where the others "
        "are deleted; keep and seal are of all",
    )
    keep_checkpoints_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="days from promotion after which what old_checkpoints keeps or seals is deleted too",
    )
    backups_expire_days: int | None = Field(
        None, ge=1, le=3650, description="days that backups of the root live, which no purge reaches; null = not stated"
    )

    @model_validator(mode="after")
    def _grace_ends_before_it_is_late(self) -> Purge:
        if self.within_days <= self.after_days:
            raise ValueError("within_days is more than after_days: a purge is late only after it could have begun")
        return self
