"""Where a workspace's ledger lies: the settings may move it."""

from __future__ import annotations

from pathlib import Path

from unlearning.requests.ledger import Ledger
from unlearning.settings import Settings
from unlearning.workspace import Workspace


def of(workspace: Workspace) -> Ledger:
    """`UNLEARNING_LEDGER_URL` if it is set, else `ledger.sqlite` under the root."""
    url = Settings().ledger_url
    return Ledger(Path(url) if url else workspace.ledger)
