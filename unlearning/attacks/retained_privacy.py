"""Retained privacy: Chen et al., "When Machine Unlearning Jeopardizes Privacy", ACM CCS 2021, of those who stay.

Unlearning repairs itself on retain images, often a few of them, again and again; a model may come to know them better
than training had made it. Membership of retain against held-out images by own loss, as the `membership` attack has it:

    score = - mean of L(x; view) over k fixed views;   AUC of the target - AUC of the original

What it reports: above 0, unlearning paid with the privacy of those who never asked for it. The original is the control,
too: where its own AUC is 0.5, it did not overfit, and the target may still have. Search: views 4 to 64.

What it cannot see: a few images that leak much, in an AUC of all (see the true positives at 1 %); what an attacker
learns from having both models, who may take the difference of two losses instead.
"""

from __future__ import annotations

from pydantic import Field

from unlearning.attack import Attack, Ready, Scene, Separation, Told
from unlearning.attacks import _known_by
from unlearning.contracts import Generator
from unlearning.rules import Profile

_GROUPS = ("retain images", "held-out images")


class RetainedPrivacy(Attack, kind="retained_privacy"):
    """Tells retain images from held-out ones by the target's own loss. No weight moves."""

    tries = "tell which kept images trained it"

    views: int = Field(8, ge=1, le=1_000, description="k; search 4 to 64")

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """From the standard one on."""
        return () if profile == "quick" else (cls(views=32 if profile == "audit" else 8),)

    def why_not(self, scene: Scene) -> str | None:
        """It needs images of both kinds."""
        empty = [group.name for group in (scene.retain, scene.holdout) if not len(group)]
        return f"the {empty[0]} set is empty" if empty else None

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Told:
        """One score: higher = rather a retain image."""
        seen, unseen = (
            -_known_by.own_loss(target, group, scene, self.views) for group in (scene.retain, scene.holdout)
        )
        return Told([Separation("own loss", seen, unseen)], _GROUPS, beside="original")
