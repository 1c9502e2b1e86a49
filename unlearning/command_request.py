"""The verb `request` as a command line: the door of the ledger."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from unlearning.log import say
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.

_CHANGES = {  # action: (help, the reason code that stands where none is given)
    "cancel": ("the operator calls a request off, before its manifest is frozen", "called_off_by_operator"),
    "revoke": ("the subject takes a request back, before its manifest is frozen", "taken_back_by_subject"),
    "decline": ("an officer rejects a request, before its manifest is frozen", "declined_by_officer"),
    "hold": ("a legal hold: its data are kept until `release`", "legal_hold"),
    "release": ("end a legal hold: the request waits for a batch again", "hold_ended"),
    "extend": ("the one extension that the request's rule knows, before it is due", None),
}


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Add the verb; `root` holds the option that every verb takes."""
    request = verbs.add_parser("request", help="the ledger of deletion requests")
    actions = request.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, text: str, verb: Callable[[argparse.Namespace], Iterable[Any]]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, parents=[root], help=text)
        parser.set_defaults(verb=_says(verb), action=name)
        return parser

    new = action("add", "file the requests of a .json, .jsonl or .csv file, all or none", _add)
    new.add_argument("file", type=Path)
    listed = action("list", "requests and their states, oldest first", _list)
    listed.add_argument("--state", help="only those in this state")
    listed.add_argument("--batch", metavar="KEY", help="only those of this batch")
    listed.add_argument("--model", metavar="NAME", help="only those taken up for this model")
    due = action("due", "open requests, soonest due first, and the share of the legal time that is used", _due)
    due.add_argument("--model", metavar="NAME", help="only those that this model has yet to forget")
    for parser in (listed, due):
        parser.add_argument("--most", type=_count, metavar="N", help="print at most so many")
    _one(action("show", "one request: its due date, its tasks and its events", _show))
    for name, (text, reason) in _CHANGES.items():
        parser = _one(action(name, text, _change))
        parser.add_argument("--reason", default=reason, required=reason is None, metavar="CODE", help="(%(default)s)")
    requeue = action("requeue", "what a refused batch could not forget waits for the next one", _requeue)
    requeue.add_argument("--batch", required=True, metavar="KEY", help="a batch whose requests are failed")
    requeue.add_argument("--reason", default="left_to_the_next", metavar="CODE", help="(%(default)s)")
    approve = _one(action("approve", "an officer accepts what was proposed for a request", _approve))
    approve.add_argument("--what", required=True, metavar="CODE", help="near_duplicates, cap or officer, say")
    approve.add_argument("--digest", required=True, metavar="SHA256", help="of the proposal, as `show` prints it")
    approve.add_argument("--role", required=True, metavar="ROLE", help="opaque id of the officer's role")


def _one(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("request_id", metavar="ID")
    parser.add_argument("--controller", metavar="ID", help="needed where several controllers use the request's id")
    return parser


def _says(verb: Callable[[argparse.Namespace], Iterable[Any]]) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        for row in verb(options):
            say(row)
        return 0

    return run


def _add(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    return request.add(options.file, Workspace(options.root))


def _list(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    return request.listed(Workspace(options.root), options.state, options.batch, options.model, options.most)


def _due(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    return request.due(Workspace(options.root), options.model, options.most)


def _show(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    return request.show(options.request_id, Workspace(options.root), options.controller)


def _change(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    workspace = Workspace(options.root)
    return request.change(options.request_id, workspace, options.action, options.reason, options.controller)


def _requeue(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    return request.requeue(options.batch, Workspace(options.root), options.reason)


def _approve(options: argparse.Namespace) -> Iterable[Any]:
    from unlearning.verbs import request

    chosen = (options.what, options.digest, options.role)
    return request.approve(options.request_id, Workspace(options.root), *chosen, options.controller)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: 1 or more is right")
    return int(text)
