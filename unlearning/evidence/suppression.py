"""Which filters stand before the model that is served under a name, until what they hide is forgotten. No torch.

`<root>/models/<name>/suppression.json`. A filter hides what the model still knows: claim level C0, never deletion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.workspace import BatchFolder, Workspace

SCHEMA = "suppression/1"
ASSET = "interim_filter"
CLAIM_LEVEL = "C0"
CLAIM = "suppression, never deletion"


@dataclass(frozen=True, slots=True)
class InForce:
    """One filter, and whose requests it bridges."""

    batch: str
    filter: str  # the asset's folder, relative to the root
    sha256: str  # of the folder: lineage.Record.sha256 of the asset
    requests: tuple[str, ...]  # "controller_id/request_id", sorted
    claim_level: str = CLAIM_LEVEL


def file(workspace: Workspace, model: str) -> Path:
    """Where suppression.json lies."""
    return workspace.model(model) / "suppression.json"


def in_force(workspace: Workspace, model: str) -> tuple[InForce, ...]:
    """Every filter, by batch; none where there is no file. Raises EvidenceError if it is not one of ours."""
    path = file(workspace, model)
    if not path.is_file():
        return ()
    tree = files.read_json(path)
    try:
        if tree["schema"] != SCHEMA:
            raise KeyError("schema")
        return tuple(InForce(**{**one, "requests": tuple(one["requests"])}) for one in tree["filters"])
    except (KeyError, TypeError) as error:
        raise EvidenceError(
            f"{path}: not a {SCHEMA} record ({error}); restore it, or nobody knows what is withheld"
        ) from None


def requests(batch: BatchFolder) -> tuple[str, ...]:
    """The requests that the batch forgets something for. Raises StorageError where it is not resolved."""
    said = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
    return tuple(sorted(f"{one['controller_id']}/{one['request_id']}" for one in said if one["state"] == "scheduled"))


def put(workspace: Workspace, model: str, entry: InForce) -> None:
    """Set a filter in force, in the stead of an earlier one of its batch. Raises EvidenceError, StorageError."""
    _change(workspace, model, lambda now: [*(one for one in now if one.batch != entry.batch), entry])


def lift(batch: BatchFolder, model: str) -> None:
    """Take out every filter whose requests the batch, which is served now, has forgotten; others stay.

    Again: nothing changes. Raises EvidenceError, StorageError.
    """
    if file(batch.workspace, model).is_file():
        done = set(requests(batch))
        _change(batch.workspace, model, lambda now: [one for one in now if not set(one.requests) <= done])


def _change(workspace: Workspace, model: str, become: Callable[[tuple[InForce, ...]], list[InForce]]) -> None:
    path = file(workspace, model)
    with files.locked(workspace.model(model) / ".suppression.lock", f"the filters of {model}", wait=True):
        now = in_force(workspace, model)
        after = sorted(become(now), key=lambda one: one.batch)
        if tuple(after) != now:
            files.write_json(path, {"schema": SCHEMA, "filters": [asdict(one) for one in after]})
