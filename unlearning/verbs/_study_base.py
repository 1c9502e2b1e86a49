"""What the points of a study share: sealed requests, manifests, the original and the reference, made once a base.

A study is a workspace of its own, `<root>/studies/<name>`: its requests never meet a real ledger. Only the data sets
are the root's. The ones to forget are asked for by requests that the study files itself, so that every verb is the
released one.
"""

from __future__ import annotations

from typing import Any

from unlearning import files
from unlearning.errors import ManifestError
from unlearning.evidence import lineage
from unlearning.log import Log
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.studies import Base, Plans
from unlearning.verbs import _own_requests, stage
from unlearning.workspace import BatchFolder, Workspace

SHARED = ("deletion_requests", "forget_manifest", "retain_proxy_set", "original_checkpoint", "reference_checkpoint")


def home(plans: Plans, workspace: Workspace) -> Workspace:
    """The study's own workspace, with the root's data sets in it."""
    return _own_requests.home("studies", plans.study.name, workspace)


def folder(plans: Plans, base: Base, workspace: Workspace) -> BatchFolder:
    """Where the base lies: the batch that the study was given, or one of its own."""
    if plans.study.batch is not None:
        return workspace.batch(plans.study.batch)
    return _own_requests.batch(home(plans, workspace), base.id)


def make(plans: Plans, base: Base, workspace: Workspace, log: Log) -> BatchFolder:
    """Make the shared assets, or find them whole. Run again after a crash to resume.

    One process a family and corruption at a time, the others wait: what one trains as its original is also theirs.
    Raises what the verbs raise, and ManifestError where a given batch lacks an asset or was made otherwise.
    """
    params, batch = plans.base_params(base), folder(plans, base, workspace)
    if plans.study.batch is not None:
        require(params, batch)
        return batch
    _own_requests.refuse_real_ledger()
    root = batch.workspace.root
    with files.locked(root / ".locks" / f"{base.family}-{base.corruption}", f"base {base.id}", wait=True):
        _own_requests.file(_request(plans, base), batch, f"study {plans.study.name}: base {base.id}")
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
        if lineage.current(STAGES[name], params, point) is None:
            link(name, base, point)


def link(name: str, source: BatchFolder, target: BatchFolder) -> None:
    """Give `target` one asset of `source` under a second name, with its record."""
    record = lineage.read(source, name)
    with files.new_folder(target.asset(name)) as partial:
        for file in record.outputs:
            (partial / file.path).parent.mkdir(parents=True, exist_ok=True)
            files.link_or_copy(source.asset(name) / file.path, partial / file.path)
    files.write_bytes(target.lineage(name), source.lineage(name).read_bytes())


def _request(plans: Plans, base: Base) -> dict[str, Any]:
    study = plans.study
    return _own_requests.of_classes(study.name, study.dataset, study.goal, study.forget[base.forget].classes)
