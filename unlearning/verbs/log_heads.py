"""`unlearning log`: its head, a signed checkpoint to be kept elsewhere, and whether the log still continues one."""

from __future__ import annotations

from unlearning.evidence import keys, log
from unlearning.evidence.log import Head
from unlearning.workspace import Workspace

SIGNER = "pipeline"


def head(workspace: Workspace) -> Head:
    """Size and root of the log. Raises EvidenceError if it is damaged."""
    return log.head(log.file(workspace))


def checkpoint(workspace: Workspace) -> bytes:
    """A note of the head, signed by the pipeline's key. Raises EvidenceError where there is none."""
    signer = keys.signer(workspace, "pipeline")
    return log.checkpoint(head(workspace), SIGNER, signer.public, signer.sign)


def problem(workspace: Workspace, note: bytes, where: str) -> str | None:
    """What is wrong with a checkpoint or with the log since; None if the log continues the one that it was made of."""
    said = log.read_checkpoint(note, where)
    if not any(log.signed_by(said, key.public, key.verifies) for key in keys.trusted(workspace, "pipeline")):
        return f"{where}: signed by none of the pipeline's keys"
    if not log.continues(said.head, log.read(log.file(workspace))):
        return f"the log does not continue the one of {where} ({said.head.size} digests): it was rewritten"
    return None
