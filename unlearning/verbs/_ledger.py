"""Where a workspace's ledger lies, and the deadlines it counts by: the settings may move and replace both."""

from __future__ import annotations

from unlearning.requests import deadlines
from unlearning.requests.ledger import Ledger
from unlearning.settings import Settings
from unlearning.workspace import Workspace


def of(workspace: Workspace) -> Ledger:
    """`UNLEARNING_LEDGER_URL` (a path or a URL) if it is set, else `ledger.sqlite` under the root."""
    settings = Settings()
    return Ledger.at(settings.ledger_url or workspace.ledger, deadlines.table(settings.deadlines))
