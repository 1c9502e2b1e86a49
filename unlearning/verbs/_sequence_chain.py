"""The generations of a sequence: each is a batch that starts from what the one before it left.

A sequence is a workspace of its own, `<root>/sequences/<name>`. What a generation starts from is the champion of the
method's own model name there, as it would be if the generation before had shipped; no gate is asked, for a sequence
is to show what becomes of requests, good or bad. Requests, manifests and weights are made by the released verbs.
"""

from __future__ import annotations

from dataclasses import asdict

from unlearning import files
from unlearning.data import index
from unlearning.errors import ManifestError, ParamsError
from unlearning.evidence import lineage, promotion
from unlearning.evidence.lineage import Record
from unlearning.evidence.promotion import Champion
from unlearning.log import Log
from unlearning.params import Params
from unlearning.sequences import Deletions
from unlearning.verbs import _own_requests, _study_base, stage
from unlearning.workspace import BatchFolder, Workspace

ALL = "all"  # the batch whose forget set is what all requests name
_MADE = (
    "deletion_requests",
    "forget_manifest",
    "deletion_plan",
    "retain_proxy_set",
    "original_checkpoint",
    "unlearned_checkpoint",
)


def home(deletions: Deletions, workspace: Workspace) -> Workspace:
    """The sequence's own workspace, with the root's data sets in it."""
    return _own_requests.home("sequences", deletions.sequence.name, workspace)


def batch(deletions: Deletions, key: str, workspace: Workspace) -> BatchFolder:
    """A batch of the sequence."""
    return _own_requests.batch(home(deletions, workspace), key)


def generation(deletions: Deletions, method: str, number: int, workspace: Workspace) -> BatchFolder:
    """The batch of the `number`-th request, from 1."""
    return batch(deletions, f"{method}-g{number:02d}", workspace)


def base(deletions: Deletions, workspace: Workspace, log: Log) -> BatchFolder:
    """The manifests of all requests together, the original, and the reference that saw none of what they name.

    Run again after a crash to resume. Raises what the verbs raise, ParamsError for a class that is not there.
    """
    sequence, params, found = deletions.sequence, deletions.base_params(), batch(deletions, ALL, workspace)
    unknown = [name for name in sequence.classes if name not in _classes(params, found)]
    if unknown:
        raise ParamsError(
            f"{deletions.file}: classes: data set {sequence.dataset!r} has no class {unknown[0]!r}; one that it has, "
            f"or another plant, is right"
        )
    _ask(deletions, sequence.classes, found)
    for name in _study_base.SHARED:
        stage.run(name, params, found, log)
    return found


def forget(deletions: Deletions, method: str, number: int, workspace: Workspace, log: Log) -> Record:
    """Make generation `number` from the one before, which must be there. The record of its unlearned checkpoint.

    Run again after a crash to resume. Raises what the verbs raise, and ManifestError where this generation was made
    from other weights than those that lie there now.
    """
    here = generation(deletions, method, number, workspace)
    before = lineage.read(*_before(deletions, method, number, workspace))
    params = _kept_so_far(deletions.params(method), deletions, number, here)
    _serve(params, deletions, method, number, before, workspace)
    _ask(deletions, deletions.sequence.classes[number - 1 : number], here)
    records = {name: stage.run(name, params, here, log) for name in _MADE}
    started = records["original_checkpoint"].facts["champion_sha256"]
    if started != before.sha256:
        raise ManifestError(
            f"sequence {deletions.sequence.name}: {here.key} went on from other weights ({started[:12]}) than the "
            f"generation before it has now ({before.sha256[:12]}); give the method another label, or remove {here.path}"
        )
    return records["unlearned_checkpoint"]


def _before(deletions: Deletions, method: str, number: int, workspace: Workspace) -> tuple[BatchFolder, str]:
    """Where the weights lie that generation `number` starts from."""
    if number == 1:
        return batch(deletions, ALL, workspace), "original_checkpoint"
    return generation(deletions, method, number - 1, workspace), "unlearned_checkpoint"


def _serve(
    params: Params, deletions: Deletions, method: str, number: int, served: Record, workspace: Workspace
) -> None:
    """Write who is served under the method's model name: what `train original` takes as this generation's original."""
    found, asset = _before(deletions, method, number, workspace)
    place = found.asset(asset).relative_to(found.workspace.root).as_posix()
    champion = Champion(number - 1, place, served.sha256, found.key, None, None)
    files.write_json(promotion.file(found.workspace, params.model.name), asdict(champion))


def _kept_so_far(params: Params, deletions: Deletions, number: int, here: BatchFolder) -> Params:
    """With a retain set of the classes that no request named so far: what was forgotten is never taught again."""
    named = set(deletions.sequence.classes[:number])
    kept = tuple(name for name in _classes(params, here) if name not in named)
    retain = params.retain.model_copy(update={"mode": "other_classes", "proxy_classes": kept})
    return params.model_copy(update={"retain": retain})


def _classes(params: Params, here: BatchFolder) -> list[str]:
    return sorted(index.describe(here.workspace.dataset(params.data.name))["classes"])


def _ask(deletions: Deletions, classes: tuple[str, ...], here: BatchFolder) -> None:
    _own_requests.refuse_real_ledger()
    sequence = deletions.sequence
    wanted = _own_requests.of_classes(f"{sequence.name}/{here.key}", sequence.dataset, sequence.goal, classes)
    _own_requests.file(wanted, here, f"sequence {sequence.name}: {here.key}")
