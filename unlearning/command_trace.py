"""The verbs `trace` and `rollback` as a command line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from unlearning.errors import EvidenceError
from unlearning.log import say
from unlearning.workspace import NAME, Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it.


def add(verbs: Any, root: argparse.ArgumentParser) -> None:
    """Add the verbs; `root` holds the options that every verb takes."""
    trace = verbs.add_parser("trace", parents=[root], help="everything in which a sample, request or artefact stood")
    trace.add_argument(
        "what", metavar="KEY_OR_HASH", help="sample key, request id, or sha256 (of an artefact, 12 digits)"
    )
    trace.add_argument("--json", action="store_true")
    trace.set_defaults(verb=_trace)
    rollback = verbs.add_parser("rollback", parents=[root], help="serve an earlier version again, as a new generation")
    rollback.add_argument("model")
    rollback.add_argument("--to", type=int, required=True, metavar="VERSION", help="one that was served before")
    rollback.add_argument("--because", required=True, metavar="CODE", help="a-z, 0-9, _ and -; it is kept for ever")
    rollback.add_argument("--from", type=int, dest="expected", metavar="VERSION", help="refuse if another is served")
    rollback.set_defaults(verb=_rollback)


def _rollback(options: argparse.Namespace) -> int:
    from unlearning.evidence.rollback import as_json
    from unlearning.verbs import rollback

    if not re.fullmatch(NAME, options.model):
        raise EvidenceError(f"{options.model[:40]!r} is no model's name; the one in params.yaml (model.name) is right")
    done = rollback.run(options.model, options.to, Workspace(options.root), options.because, options.expected)
    say(as_json(done, options.model))
    return 0


def _trace(options: argparse.Namespace) -> int:
    from unlearning.verbs import trace

    found = trace.run(options.what, Workspace(options.root))
    if options.json:
        say(found)
    else:
        sys.stdout.write("\n".join(_text(found)) + "\n")
    return 0


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['kind']} {found['asked']}"
    for one in found.get("images", ()):
        gone = "" if one["stored"] else ", stored no longer"
        pixels = one["pixel_sha256"][:12]
        yield f"  image {one['key']} of data set {one['dataset']}, {one['split']}; pixels {pixels}{gone}"
    for one in found.get("requests", ()):
        yield f"  request {one['request_id']} of {one['controller_id']}: {one['state']}, due {one['due_at']}"
        for task in one["tasks"]:
            yield f"    for {task['model']}, attempt {task['attempt']}, batch {task['batch']}: {task['state']}"
    for batch in found["batches"]:
        yield from _batch(batch)
    for one in found["served"]:
        yield _served(one)


def _batch(batch: Mapping[str, Any]) -> Iterator[str]:
    roles = ", ".join(f"{role} ({count})" for role, count in batch.get("roles", {}).items())
    yield f"  batch {batch['batch']} of {batch['model']}, {batch['requests']} requests{': ' + roles if roles else ''}"
    for run in batch["runs"]:
        yield f"    run {run}"
    for one in batch.get("named", ()):
        inputs = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in one["inputs"].items())
        yield f"    {one['asset']}, {one['what']}; made from {inputs or 'nothing'}"
    for one in batch["checkpoints"]:
        yield f"    {one['role']} checkpoint {one['sha256'][:12]}{': ' + one['knows'] if 'knows' in one else ''}"
    told = batch["certificate"]
    yield f"    certificate {told['sha256'][:12]}: {told['status']}" if told else "    no certificate"


def _served(one: Mapping[str, Any]) -> str:
    again = "" if one["rollback_of"] is None else f", serving version {one['rollback_of']} again"
    forgot = f"; forgotten by {', '.join(one['forgotten_by'])}" if one["forgotten_by"] else ""
    return f"  {one['model']} version {one['version']}, checkpoint {one['sha256'][:12]}{again}{forgot}"
