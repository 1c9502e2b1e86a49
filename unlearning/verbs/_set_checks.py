"""Whether the sets that a bundle commits to are the batch's own, for whoever holds the data set's key. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

from unlearning.errors import DataError, EvidenceError
from unlearning.evidence import commitment, keys
from unlearning.evidence.bundle import Bundle
from unlearning.evidence.commitment import Committed
from unlearning.verbs import _commitments
from unlearning.verbs._traces import Checked
from unlearning.workspace import BatchFolder

_NO_KEY = (
    "that the sets of the bundle are those of the manifests: the data set's key, which makes tokens of images, is not "
    "in the vault here; `unlearning prove` beside it shows of one image where it is"
)
_NO_TOKENS = "that every image forgotten was in the data set: the tokens of the data set as it was are not here"


def checked(batch: BatchFolder, made: Bundle) -> Checked:
    """Roots of forget and retain against the manifests; forget inside the data set, and apart from retain."""
    said = made.sets.get("forget")
    if said is None:  # a request without a match has no manifests
        return Checked((), ())
    try:
        key = keys.dataset_key_here(batch.workspace, said.dataset)
        if key is None or commitment.key_id(key) != said.key_id:
            return Checked((), (_NO_KEY,))
        sets = _commitments.of_batch(batch, said.dataset, key, ("forget", "retain"))
        home = batch.workspace.root / "commitments"
        whole = commitment.stored(home, said.dataset_sha256, key, "content")
    except (EvidenceError, DataError) as error:
        return Checked((str(error),), ())
    problems = (*_roots(made, sets, whole), *apart(sets["forget"], sets["retain"], whole))
    return Checked(problems, () if whole else (_NO_TOKENS,))


def _roots(made: Bundle, sets: dict[str, Committed], whole: Committed | None) -> Iterator[str]:
    for name, found in (*sets.items(), *([("dataset", whole)] if whole else [])):
        if made.roots.get(name) != (found.size, found.root):
            yield f"{name}: the bundle commits to another set than the files here list"


def apart(forget: Committed, retain: Committed, whole: Committed | None) -> Iterator[str]:
    """What is wrong about the places of the forgotten images. `whole`: the data set, where its tokens are known."""
    both = len(set(forget.tokens) & set(retain.tokens))
    if both:
        yield f"images of the forget set that are in the retain set, too: {both}; an image may have one role only"
    outside = 0 if whole is None else len(set(forget.tokens) - set(whole.tokens))
    if outside:
        yield f"images of the forget set that were not in the data set: {outside}; only what was stored is forgotten"
