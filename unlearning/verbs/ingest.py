"""`unlearning ingest SOURCE --name NAME`: a source becomes a data set below the root."""

from __future__ import annotations

import re

from unlearning.data import sources, tombstones
from unlearning.data.ingestion import Ingested, ingest
from unlearning.data.planted import planted
from unlearning.errors import DataError
from unlearning.log import Log
from unlearning.workspace import NAME, Workspace

_NAME = re.compile(NAME)


def run(
    address: str,
    name: str,
    workspace: Workspace,
    log: Log,
    subject_from: str = "none",
    plant: tuple[str, int] | None = None,
) -> Ingested:
    """Store the source at `address`, or reuse it, without what was forgotten under this root before.

    Raises DataError, with every file as it was.

    plant: a picture to plant in the training part (unlearning/data/planted.py), and how often
    """
    if not _NAME.fullmatch(name):
        raise DataError(f"data set name {name[:80]!r}: 1 to 64 of a-z, 0-9, dot, underscore, hyphen is right")
    source = sources.opened(address, subject_from)
    source = source if plant is None else planted(source, *plant)
    return ingest(source, name, workspace.dataset(name), log, tombstones.read(workspace))
