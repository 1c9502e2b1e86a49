"""`intake`, `intake-token` and `locate`: the inbox by hand, who may use the HTTP door, which image a picture is."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearning.log import say
from unlearning.workspace import Workspace


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """The three commands."""
    intake = verbs.add_parser("intake", parents=[root], help="file what lies in the inbox")
    intake.add_argument("--inbox", help="a folder or an address; default: UNLEARNING_INBOX, else <root>/inbox")
    intake.add_argument("--settle", type=float, metavar="SECONDS", help="how long a file must have been at rest")
    intake.set_defaults(verb=_intake)
    token = verbs.add_parser("intake-token", parents=[root], help="let a controller use the HTTP intake")
    token.add_argument("--controller", required=True, metavar="NAME", help="whose requests it files; * for everybody's")
    token.add_argument("--operator", action="store_true", help="may also list all, hold, release and locate")
    token.set_defaults(verb=_token)
    locate = verbs.add_parser("locate", parents=[root], help="which stored images a picture is; nothing of it is kept")
    locate.add_argument("picture", type=Path)
    locate.add_argument("--dataset", required=True, metavar="NAME")
    locate.add_argument(
        "--near",
        nargs="?",
        type=int,
        const=-1,
        metavar="BITS",
        help="also images whose perceptual hash differs by at most so many bits of 64 (8)",
    )
    locate.set_defaults(verb=_locate)


def _intake(options: argparse.Namespace) -> int:
    from unlearning.verbs import intake

    taken = intake.take_in(Workspace(options.root), options.inbox, options.settle)
    say(asdict(taken))
    return 2 if taken.refused else 0


def _token(options: argparse.Namespace) -> int:
    from unlearning.verbs import intake

    say({"token": intake.token(Workspace(options.root), options.controller, options.operator)})
    return 0


def _locate(options: argparse.Namespace) -> int:
    from unlearning.verbs import locate

    near = locate.BITS if options.near == -1 else options.near
    say(locate.run(options.picture.read_bytes(), options.dataset, Workspace(options.root), near))
    return 0
