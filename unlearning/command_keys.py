"""The verbs `keys`, `attest`, `countersign`, `page` and `verify` as a command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from unlearning import files, overrides
from unlearning.errors import EvidenceError
from unlearning.log import Bars, say
from unlearning.params import Params
from unlearning.workspace import Workspace

# As in __main__.py: a verb's module is imported inside the function that runs it. `verify` needs no torch.

_EVIDENCE = ("trust", "model", "log", "proof", "image", "supersedes")
_HELP = {
    "trust": "whose signatures count; default: trust.json of the root that it lies in",
    "model": "model.safetensors, to be compared with the one the bundle is about",
    "log": "the log of evidence (log/digests), in which every statement must be",
    "proof": "a person's proof (unlearning prove)",
    "image": "the person's own picture, which the proof must be about",
    "supersedes": "the bundle before this one",
}


def add(verbs: Any, root: argparse.ArgumentParser, batch: argparse.ArgumentParser) -> None:
    """Add the verbs; `root` and `batch` hold the options that verbs of a root, and of a batch, take."""
    _add_keys(verbs, root)
    attest = verbs.add_parser("attest", parents=[root, batch], help="sign what a batch's files say, as a bundle")
    attest.set_defaults(verb=_attest)
    sign = verbs.add_parser("countersign", parents=[root], help="the privacy officer's signature under a bundle")
    sign.add_argument("what", metavar="BATCH", help="a batch's key, or the file of a bundle that waits")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="the officer's private key, PEM")
    sign.add_argument("--trust", type=Path, metavar="FILE", help="with a file: whose signatures count")
    sign.add_argument("-o", "--output", type=Path, metavar="FILE", help="with a file: where the signed one goes")
    sign.set_defaults(verb=_countersign)
    page = verbs.add_parser("page", help="a bundle as a page for people, once it verifies")
    page.add_argument("bundle", type=Path, metavar="BUNDLE")
    page.add_argument("--trust", type=Path, metavar="FILE", help=_HELP["trust"])
    page.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.html")
    page.set_defaults(verb=_page)
    verify = verbs.add_parser("verify", help="check a signed bundle, or everything in a batch's folder, offline")
    verify.add_argument("what", type=Path, metavar="BUNDLE_OR_DIR")
    for name in _EVIDENCE:
        verify.add_argument(f"--{name}", type=Path, metavar="FILE", help=_HELP[name])
    verify.add_argument(
        "--replay",
        type=int,
        metavar="K",
        help="with a folder: what a training began with and drew, and K random segments of it run again; needs torch",
    )
    verify.add_argument("--seed", type=int, help="of the choice of segments; default: one that nobody knows beforehand")
    verify.add_argument(
        "--of", choices=("original", "reference", "unlearned"), default="unlearned", help="(%(default)s)"
    )
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the result of a bundle there, too")
    verify.set_defaults(verb=_verify)


def _add_keys(verbs: Any, root: argparse.ArgumentParser) -> None:
    keys = verbs.add_parser("keys", help="who signs: make, list, replace or revoke keys; export the public halves")
    ways = keys.add_subparsers(metavar="WHAT", required=True)
    init = ways.add_parser("init", parents=[root], help="make what is missing")
    init.add_argument("--officer-public", type=Path, metavar="FILE", help="the officer's private half stays elsewhere")
    init.add_argument(
        "--officer-sealing", type=Path, metavar="FILE", help="seal old checkpoints to this X25519 key of the officer's"
    )
    init.set_defaults(verb=_init)
    ways.add_parser("list", parents=[root], help="every key, and whether its private half is here").set_defaults(
        verb=_list
    )
    rotate = ways.add_parser("rotate", parents=[root], help="the next key of a role")
    rotate.add_argument("role", choices=("pipeline", "privacy_officer"))
    rotate.set_defaults(verb=_rotate)
    revoke = ways.add_parser("revoke", parents=[root], help="from a moment on nothing a key signed counts")
    revoke.add_argument("keyid", help="or its first digits, 8 at least")
    revoke.add_argument("--since", required=True, metavar="MOMENT", help="RFC 3339, 2026-11-01T09:30:00Z say")
    revoke.set_defaults(verb=_revoke)
    export = ways.add_parser("export", parents=[root], help="the trust file, to be handed to whoever verifies")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    export.set_defaults(verb=_export)


def _init(options: argparse.Namespace) -> int:
    from unlearning.evidence import keys, sealing_key

    workspace = Workspace(options.root)
    before = sealing_key.key_id(workspace)
    brought = [
        None if path is None else path.read_bytes() for path in (options.officer_public, options.officer_sealing)
    ]
    for key in keys.init(workspace, *brought):
        say({"made": key.role, **key.model_dump(exclude={"public"})})
    sealing = sealing_key.key_id(workspace)
    if sealing != before:
        say({"made": "sealing", "keyid": sealing})
    return 0


def _list(options: argparse.Namespace) -> int:
    from unlearning.evidence import keys, sealing_key

    workspace = Workspace(options.root)
    for key, here in keys.listed(workspace):
        say({**key.model_dump(), "private_half_here": here})
    sealing = sealing_key.key_id(workspace)
    if sealing is not None:
        say({"keyid": sealing, "role": "sealing", "private_half_here": sealing_key.is_here(workspace)})
    return 0


def _rotate(options: argparse.Namespace) -> int:
    from unlearning.evidence import keys

    say(keys.rotate(Workspace(options.root), options.role).model_dump())
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from unlearning.evidence import keys

    say(keys.revoke(Workspace(options.root), options.keyid, options.since).model_dump())
    return 0


def _export(options: argparse.Namespace) -> int:
    from unlearning.evidence import trust

    path = trust.file(Workspace(options.root))
    text = trust.write(trust.load(path).keys)
    if options.output is None:
        sys.stdout.write(text.decode())
    else:
        files.write_bytes(options.output, text)
    return 0


def _attest(options: argparse.Namespace) -> int:
    from unlearning.verbs import attest

    params = Params.read(options.params, dict(overrides.read(text) for text in options.set))
    done = attest.run(params, Workspace(options.root).batch(options.batch), Bars())
    facts = {"statements": done.statements, "sequence": done.sequence, "claim_level": done.claim_level}
    say({"bundle": str(done.bundle), "changed": done.changed, "waits_for_officer": done.waits, **facts})
    return 0


def _countersign(options: argparse.Namespace) -> int:
    from unlearning.evidence import trust
    from unlearning.verbs import countersign

    path = Path(options.what)
    if path.is_file():
        if options.trust is None or options.output is None:
            raise EvidenceError(f"{path}: to countersign a file, name the trust file (--trust) and where it goes (-o)")
        signed = [countersign.of_file(path, options.key, trust.load(options.trust), options.output)]
    else:
        signed = countersign.of_batch(Workspace(options.root).batch(options.what), options.key)
    for one in signed:
        say({"bundle": str(one.bundle), "signed_by": one.keyid})
    return 0


def _page(options: argparse.Namespace) -> int:
    from unlearning.evidence import bundle_page
    from unlearning.verbs import verify

    found, _ = verify.of_bundle(options.bundle, verify.Given(trust=options.trust))
    files.write_bytes(options.output, bundle_page.text(found).encode())
    say({"page": str(options.output)})
    return 0


def _verify(options: argparse.Namespace) -> int:
    return _verify_folder(options) if options.what.is_dir() else _verify_bundle(options)


def _verify_folder(options: argparse.Namespace) -> int:
    from unlearning.verbs import verify

    if options.replay is not None and options.replay < 0:
        raise EvidenceError(f"--replay {options.replay}: 0 or more segments are right")
    if any(getattr(options, name) for name in (*_EVIDENCE[1:], "json")):
        raise EvidenceError(f"{options.what}: only --trust goes with a folder; the others go with a bundle's file")
    found = verify.run(options.what, options.trust)
    for mismatch in found.mismatches:
        sys.stdout.write(f"mismatch: {mismatch}\n")
    for what in found.purged:
        sys.stdout.write(f"purged: {what}, as purge/files.json records\n")
    for what in found.not_checked:
        sys.stdout.write(f"not checked: {what}\n")
    for key in found.signed_by:
        sys.stdout.write(f"signed by: {key}\n")
    word = "verified" if found.verified else f"does NOT verify, {len(found.mismatches)} mismatches"
    sys.stdout.write(f"batch {found.batch}: {word} ({found.files} files hashed; certificate status {found.status})\n")
    if options.replay is None or not found.verified:
        return 0 if found.verified else 1
    return _replay(options)


def _replay(options: argparse.Namespace) -> int:
    from unlearning.verbs import replay

    done = replay.run(options.what, options.replay, Bars(), options.seed, options.of)
    say(done.as_json())
    return 0 if done.equal else 1


def _verify_bundle(options: argparse.Namespace) -> int:
    from unlearning.verbs import verify

    if options.replay is not None:
        raise EvidenceError(f"{options.what}: --replay goes with the folder of a batch")
    given = verify.Given(**{name: getattr(options, name) for name in _EVIDENCE})
    found, trusted = verify.of_bundle(options.what, given)
    index = found.bundle.index if found.bundle is not None and found.verified else None
    status = "does NOT verify" if index is None else f"{index.status}, claim level {index.claim_level}: verified"
    sys.stdout.write(f"{status} ({options.what.name})\n")
    for problem in found.problems:
        sys.stdout.write(f"problem: {problem}\n")
    for what in found.checked:
        sys.stdout.write(f"checked: {what}\n")
    for what in found.not_checked:
        sys.stdout.write(f"not checked: {what}\n")
    for key in found.keys:
        sys.stdout.write(f"signed by: {key.role} {key.keyid}\n")
    own = "" if options.trust is not None else ", which lies with what it vouches for: compare the ids"
    sys.stdout.write(f"trusted: {trusted}{own}\n")
    if options.json is not None:
        files.write_json(options.json, found.as_json())
    return 0 if found.verified else 1
