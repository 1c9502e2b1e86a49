"""`unlearning intake` and `unlearning intake-token`: the inbox by hand, and who may use the HTTP door."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from unlearning.log import say
from unlearning.workspace import Workspace


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Both commands."""
    intake = verbs.add_parser("intake", parents=[root], help="file what lies in the inbox")
    intake.add_argument("--inbox", help="a folder or an address; default: UNLEARNING_INBOX, else <root>/inbox")
    intake.add_argument("--settle", type=float, metavar="SECONDS", help="how long a file must have been at rest")
    intake.set_defaults(verb=_intake)
    token = verbs.add_parser("intake-token", parents=[root], help="let a controller use the HTTP intake")
    token.add_argument("--controller", required=True, metavar="NAME", help="whose requests it files; * for everybody's")
    token.add_argument("--operator", action="store_true", help="may also list all, hold, release and locate")
    token.set_defaults(verb=_token)


def _intake(options: argparse.Namespace) -> int:
    from unlearning.verbs import intake

    taken = intake.take_in(Workspace(options.root), options.inbox, options.settle)
    say(asdict(taken))
    return 2 if taken.refused else 0


def _token(options: argparse.Namespace) -> int:
    from unlearning.verbs import intake

    say({"token": intake.token(Workspace(options.root), options.controller, options.operator)})
    return 0
