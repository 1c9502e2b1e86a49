"""What of a resolved request needs somebody's word before anything is forgotten for it.

    conflict_with_hold   images that a request under legal hold covers, too: what must be kept cannot be deleted
    near_duplicates      images that are only near to a named one: somebody else's may be among them
    cap                  more images than the parameters allow one request, or all of a batch, which may cost the model
                         what it knows
    officer              images named in a way that the parameters leave to an officer: a class, or a person, say

Each is a proposal, named by a digest over the keys of its images: an approval is of these images, and of no others.
Requests whose every proposal was approved, or that have none, are forgotten; the others wait, and hold nobody up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from unlearning import digests
from unlearning.requests.resolution import Found, Rows
from unlearning.requests.schema import Request
from unlearning.rules import Caps, NearDuplicates, Resolve

NEAR, CAP, HOLD, OFFICER = "near_duplicates", "cap", "conflict_with_hold", "officer"
NOTHING: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Images that are forgotten for a request if somebody says so."""

    what: str  # NEAR, CAP, HOLD or OFFICER
    reason: str  # the code that the ledger is told
    digest: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class Asked:
    """A resolved request, and all that its review depends on."""

    request: Request
    found: Found
    near: Rows  # near duplicates of its seeds, covered rows among them
    decided: bool  # its manifest was frozen before: what was accepted then stays accepted
    approved: Callable[[], set[tuple[str, str]]]  # (what, digest)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What is forgotten for one request, and what waits for a word."""

    found: Found
    taken: Rows  # what is forgotten once nothing is open; none is an answer too
    near: Rows  # near duplicates beyond the covered rows, whether taken or not
    near_digest: str | None = None
    accepted_by: str | None = None  # why near duplicates are taken: `policy` or `approval`
    open: tuple[Proposal, ...] = ()
    same_rows_as: str | None = None  # the first request of the batch for which the very same rows are forgotten

    @property
    def state(self) -> str:
        """`not_found`, `in_review` or `scheduled`."""
        if not len(self.taken):
            return "not_found"
        return "in_review" if self.open else "scheduled"


@dataclass(slots=True)
class Review:
    """The requests of one batch, reviewed in the order they came."""

    index: pa.Table
    dataset: str
    rules: Resolve
    held: npt.NDArray[np.bool_]  # [N], rows that a request under legal hold covers
    _of_requester: dict[str, Rows] = field(default_factory=dict)
    _of_batch: Rows = field(default_factory=NOTHING.copy)
    _first: dict[bytes, str] = field(default_factory=dict)
    _classes: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def __call__(self, asked: Asked) -> Reviewed:
        """What becomes of one request."""
        reviewed = self._expanded(asked)
        if not asked.decided and len(reviewed.taken):
            named, cap = self._left_to_officer(asked.request, reviewed), self._over_cap(asked.request, reviewed)
            proposals = [*self._conflicts(reviewed), *reviewed.open, *named, *cap]
            if proposals:
                word = asked.approved()
                left = tuple(one for one in proposals if (one.what, one.digest) not in word)
                reviewed = replace(reviewed, open=left)
        if reviewed.state != "scheduled":
            return reviewed
        self._count(asked.request, reviewed)
        first = self._first.setdefault(reviewed.taken.tobytes(), asked.request.request_id)
        return reviewed if first == asked.request.request_id else replace(reviewed, same_rows_as=first)

    def digest(self, rows: Rows) -> str:
        """sha256 that names a set of images: of the data set's name and their keys, sorted."""
        return digests.of_value({"dataset": self.dataset, "keys": sorted(self.index["key"].take(rows).to_pylist())})

    def _expanded(self, asked: Asked) -> Reviewed:
        """With near duplicates, where they are accepted; as an open proposal where they are not."""
        covered, wanted = asked.found.covered, asked.request.near_duplicates
        near = np.setdiff1d(asked.near, covered) if len(asked.near) else asked.near
        if wanted.mode == "off" or not len(near):
            return Reviewed(asked.found, covered, near)
        digest = self.digest(near)
        if wanted.mode == "report":
            return Reviewed(asked.found, covered, near, digest)
        taken = np.union1d(covered, near)
        if within(asked.request, len(near), self.rules.near_duplicates):
            return Reviewed(asked.found, taken, near, digest, "policy")
        if (NEAR, digest) in asked.approved():
            return Reviewed(asked.found, taken, near, digest, "approval")
        if asked.decided:
            return Reviewed(asked.found, taken, near, digest, "policy")
        return Reviewed(asked.found, taken, near, digest, open=(Proposal(NEAR, f"{NEAR}_proposed", digest, near),))

    def _conflicts(self, reviewed: Reviewed) -> list[Proposal]:
        rows = reviewed.taken[self.held[reviewed.taken]]
        return [Proposal(HOLD, HOLD, self.digest(rows), rows)] if len(rows) else []

    def _left_to_officer(self, request: Request, reviewed: Reviewed) -> list[Proposal]:
        """One proposal of all its images: the first such selector gives the reason."""
        kinds = {selector.by for selector in request.selectors}
        named = [by for by in self.rules.officer if by in kinds]
        rows = reviewed.taken
        return [Proposal(OFFICER, f"{OFFICER}_for_{named[0]}", self.digest(rows), rows)] if named else []

    def _over_cap(self, request: Request, reviewed: Reviewed) -> list[Proposal]:
        """One proposal, however many caps it is over: an approval is of the images, not of a number."""
        over = self._first_cap(request, reviewed.taken, self.rules.caps)
        return [] if over is None else [Proposal(CAP, f"cap_{over}", self.digest(reviewed.taken), reviewed.taken)]

    def _first_cap(self, request: Request, taken: Rows, caps: Caps) -> str | None:
        """The name of the first cap that these rows are over."""
        if caps.images_of_request is not None and len(taken) > caps.images_of_request:
            return "images_of_request"
        if caps.share_of_data is not None and len(taken) > caps.share_of_data * len(self.index):
            return "share_of_data"
        if caps.share_of_class is not None and self._largest_share(taken) > caps.share_of_class:
            return "share_of_class"
        if caps.images_of_requester is not None:
            before = self._of_requester.get(request.controller_id, NOTHING)
            if len(np.union1d(before, taken)) > caps.images_of_requester:
                return "images_of_requester"
        if caps.share_of_class_in_batch is not None:
            together = np.union1d(self._of_batch, taken)
            if self._largest_share(together, of=taken) > caps.share_of_class_in_batch:
                return "share_of_class_in_batch"
        return None

    def _largest_share(self, rows: Rows, of: Rows | None = None) -> float:
        """Of any one class, or of those of `of` alone. Images of no class are of none."""
        if self._classes is None:
            encoded = self.index["class"].combine_chunks().dictionary_encode()
            names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
            sizes = np.bincount(codes, minlength=len(names))
            self._classes = codes, np.where(np.array(names) == "", np.iinfo(np.int64).max, sizes)
        codes, sizes = self._classes
        shares = np.bincount(codes[rows], minlength=len(sizes)) / sizes
        return float(shares.max() if of is None else shares[codes[of]].max())

    def _count(self, request: Request, reviewed: Reviewed) -> None:
        if self.rules.caps.images_of_requester is not None:
            before = self._of_requester.get(request.controller_id, NOTHING)
            self._of_requester[request.controller_id] = np.union1d(before, reviewed.taken)
        if self.rules.caps.share_of_class_in_batch is not None:
            self._of_batch = np.union1d(self._of_batch, reviewed.taken)


def within(request: Request, gained: int, rules: NearDuplicates) -> bool:
    """Whether policy takes a request's near duplicates in unseen."""
    wanted = request.near_duplicates
    if rules.accept != "within" or gained > min(rules.most, wanted.max_expand):
        return False
    if wanted.method == "perceptual":
        return wanted.threshold <= rules.bits
    return wanted.threshold >= rules.cosine


def scheduled(reviewed: Sequence[Reviewed]) -> list[Found]:
    """Those that something is forgotten for, each covering all that is."""
    return [replace(one.found, covered=one.taken) for one in reviewed if one.state == "scheduled"]
