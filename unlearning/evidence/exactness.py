"""Claim level C2: the unlearned weights are, bit for bit, those of a training that never saw what was deleted.

Sharded training (SISA, Bourtoule et al., 2021) can say so, and the replay is what says it: the reference trained the
touched shards again, from random weights, without the deleted rows. A retraining of the whole can, where its images are
the reference's: it is that training. Equal sha256 of both model.safetensors is the evidence; anything else is claim
level C1, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.evidence.lineage import Record

EQUAL = ("bit-equal", "one training")  # of `replay`: claim level C2
BREAKS = (
    "anything that members share: an average of weights, batch-norm statistics, a distilled student",
    "a tokenizer, a first stage or a backbone that was trained on deleted data",
    "hyper-parameters that were chosen by looking at deleted data",
    "caches, slice states and older checkpoints that were not purged, and copies of them elsewhere",
    "a grouping of near duplicates computed over the data set: it would have to be computed again without them",
    "a copy of a deleted picture under other pixels: it is another image here, and stays in training unless requested",
    "other machines, drivers, libraries, threads or processes for one of the two trainings: only bits differ then",
)


def replayed(records: Mapping[str, Record], unlearned: str | None, reference: str | None) -> dict[str, Any]:
    """What the two checkpoints say of exactness. `unlearned`, `reference`: sha256 of their weights, None if missing.

    {replay: bit-equal | differs | not replayed, reason, device, shards, breaks}; `reason` is "" where bits are equal.
    """
    ours, theirs = (records[f"{role}_checkpoint"].facts for role in ("unlearned", "reference"))
    touched, again = _shards(ours, "trained"), _shards(theirs, "from_random_weights")
    missing = sorted(touched - again)
    if not touched or missing:
        replay = "not replayed"
        which = f"shard {missing[0]}" if missing else "any shard"
        reason = f"the reference did not train {which} from random weights, so there is nothing to compare with"
    elif unlearned is None or unlearned != reference:
        replay, reason = "differs", "the weights of the unlearned model and of the reference are not the same bits"
    else:
        replay, reason = "bit-equal", ""
    return {
        "replay": replay,
        "reason": reason,
        "device": {"unlearned": str(ours.get("device")), "reference": str(theirs.get("device"))},
        "shards": {"retrained": sorted(touched), "copied": sorted(_shards(ours, "copied"))},
        "breaks": list(BREAKS),
    }


def retrained(records: Mapping[str, Record], unlearned: str | None, reference: str | None) -> dict[str, Any]:
    """The same of a model that was trained again as a whole: {replay, reason, left_out, breaks}.

    `replay` is `one training` where the weights were not made twice: what is claimed holds, but nothing was repeated.
    """
    ours, theirs = (records[f"{role}_checkpoint"].facts for role in ("unlearned", "reference"))
    counts = ours.get("left_out"), theirs.get("left_out")
    if unlearned is None or unlearned != reference:
        replay = "differs"
        reason = "the weights of the unlearned model and of the reference are not the same bits"
        if counts[0] != counts[1]:
            reason += f": it left out {counts[0]} training images, the reference {counts[1]}"
    elif ours.get("trained_as") == "reference_checkpoint":
        replay, reason = "one training", "the reference is this very training, so it was not repeated"
    else:
        replay, reason = "bit-equal", ""
    left_out = {"unlearned": counts[0], "reference": counts[1]}
    return {"replay": replay, "reason": reason, "left_out": left_out, "breaks": list(BREAKS[1:])}


def _shards(facts: Mapping[str, Any], which: str) -> set[int]:
    told = facts.get("shards")
    found = told.get(which) if isinstance(told, Mapping) else None
    return {each for each in found if isinstance(each, int)} if isinstance(found, list) else set()
