"""What the points of a study share: sealed requests, manifests, the original and the reference, made once a base.

A study is a workspace of its own, `<root>/studies/<name>`: its requests never meet a real ledger. Only the data sets
are the root's. The ones to forget are asked for by requests that the study files itself, so that every verb is the
released one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from unlearning import files
from unlearning.errors import ManifestError, ParamsError
from unlearning.evidence import lineage
from unlearning.log import Log
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.stages import STAGES
from unlearning.studies import Base, Forget, Plans
from unlearning.verbs import request, stage
from unlearning.workspace import BatchFolder, Workspace

SHARED = ("deletion_requests", "forget_manifest", "retain_proxy_set", "original_checkpoint", "reference_checkpoint")


@dataclass(frozen=True, slots=True)
class _OwnLedger(Workspace):
    """A workspace in which one base has a ledger to itself: sealing takes every request that waits."""

    base: str = ""

    @property
    def ledger(self) -> Any:
        """See Workspace."""
        return self.root / "ledgers" / f"{self.base}.sqlite"


def home(plans: Plans, workspace: Workspace) -> Workspace:
    """The study's own workspace, with the root's data sets in it."""
    root = workspace.root.resolve() / "studies" / plans.study.name
    root.mkdir(parents=True, exist_ok=True)
    with files.locked(root / ".locks" / "data", f"study {plans.study.name}", wait=True):
        if not (root / "data").is_symlink():
            (root / "data").symlink_to("../../data", target_is_directory=True)
    return Workspace(root)


def folder(plans: Plans, base: Base, workspace: Workspace) -> BatchFolder:
    """Where the base lies: the batch that the study was given, or one of its own."""
    if plans.study.batch is not None:
        return workspace.batch(plans.study.batch)
    return _OwnLedger(home(plans, workspace).root, base.id).batch(base.id)


def make(plans: Plans, base: Base, workspace: Workspace, log: Log) -> BatchFolder:
    """Make the shared assets, or find them whole. Run again after a crash to resume.

    One process a family and corruption at a time, the others wait: what one trains as its original is also theirs.
    Raises what the verbs raise, and ManifestError where a given batch lacks an asset or was made otherwise.
    """
    params, batch = plans.base_params(base), folder(plans, base, workspace)
    if plans.study.batch is not None:
        require(params, batch)
        return batch
    if Settings().ledger_url:
        raise ParamsError("a study files requests of its own: unset UNLEARNING_LEDGER_URL, or set it to nothing")
    root = batch.workspace.root
    with files.locked(root / ".locks" / f"{base.family}-{base.corruption}", f"base {base.id}", wait=True):
        _file_request(plans, base, batch)
        for name in SHARED:
            stage.run(name, params, batch, log)
    return batch


def require(params: Params, batch: BatchFolder) -> None:
    """Raise ManifestError naming the first shared asset that is missing, damaged or made with other parameters."""
    for name in SHARED:
        if lineage.current(STAGES[name], params, batch) is None:
            verb = " ".join(STAGES[name].verb)
            raise ManifestError(
                f"batch {batch.key}: {name} is not there, not whole, or made with other parameters than these; "
                f"`unlearning {verb} --batch {batch.key}` makes it"
            )


def share(params: Params, base: BatchFolder, point: BatchFolder) -> None:
    """Give `point` the assets of `base` under a second name, with the records that say who made them."""
    for name in SHARED:
        if lineage.current(STAGES[name], params, point) is not None:
            continue
        record = lineage.read(base, name)
        with files.new_folder(point.asset(name)) as partial:
            for file in record.outputs:
                (partial / file.path).parent.mkdir(parents=True, exist_ok=True)
                files.link_or_copy(base.asset(name) / file.path, partial / file.path)
        files.write_bytes(point.lineage(name), base.lineage(name).read_bytes())


def _file_request(plans: Plans, base: Base, batch: BatchFolder) -> None:
    """Ask for the classes to be forgotten, once. Raises ManifestError if this base was asked for others before."""
    wanted = _request(plans, plans.study.forget[base.forget])
    if batch.requests.is_file():
        if batch.requests.read_bytes() != files.canonical(wanted) + b"\n":
            raise ManifestError(
                f"study {plans.study.name}: base {base.id} was made to forget something else; give it another label, "
                f"or remove {batch.path}"
            )
        return
    path = batch.workspace.root / "requests" / f"{base.id}.json"
    files.write_json(path, wanted)
    request.add(path, batch.workspace)


def _request(plans: Plans, forget: Forget) -> dict[str, Any]:
    """The same classes give the same request, to the last letter: it has no clock and no chance in it."""
    selectors = [{"class": name, "approved_by": "study"} for name in forget.classes]
    digits = hashlib.sha256(json.dumps([plans.study.name, plans.study.dataset, selectors]).encode()).hexdigest()
    return {
        "schema": "forget-request/1",
        "request_id": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}",
        "controller_id": "study",
        "goal": plans.study.goal,
        "regulation": "internal",
        "kind": "takedown",
        "submitted_at": "2026-01-01T00:00:00Z",
        "dataset": plans.study.dataset,
        "selectors": selectors,
    }
