"""What an auditor or a person is handed: bundles, proofs, trust files, checkpoints of the log; and lineage records."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from random import Random

from tests.evidence import bundles
from tests.security import mutations
from tests.security.fuzz_door import Door, canonical, json_of
from tests.security.mutations import octets
from unlearning import files
from unlearning.evidence import bundle, bundle_verification, commitment, lineage, log, proofs, trust


@cache
def _sealed() -> list[tuple[bytes, list[bytes]]]:
    """Small bundles of every status, by lines, beside their trust file."""
    drafts = [bundles.draft(seed, status) for status in ("issued", "refused", "no_match") for seed in range(12)]
    made = sorted(((one.sealed(), one.trust()) for one in drafts), key=lambda pair: len(pair[0]))[:12]
    return [(given, [trusted]) for given, trusted in made]


@cache
def _lines() -> list[bytes]:
    return [line for given, _ in _sealed() for line in given.split(b"\n")[:-1]]


def _bundle(rng: Random) -> bytes:
    """A whole one in one of eight: the others are one line, which is read as any line is, and costs an eighth."""
    whole, _ = rng.choice(_sealed())
    lines = whole.split(b"\n")[:-1] if rng.random() < 0.05 else [rng.choice(_lines())]
    place = rng.randrange(len(lines))
    how = rng.random()
    if how < 0.15:
        return octets(rng, b"".join(line + b"\n" for line in lines), _lines())
    if how < 0.3:
        lines[place] = octets(rng, lines[place], _lines())
    elif how < 0.5:
        lines[place] = canonical(mutations.tree(rng, json.loads(lines[place])))
    elif how < 0.95:
        envelope = json.loads(lines[place])
        payload = base64.b64decode(envelope["payload"])
        changed = canonical(mutations.tree(rng, json.loads(payload))) if how < 0.85 else octets(rng, payload, _lines())
        envelope["payload"] = base64.b64encode(changed).decode()
        lines[place] = canonical(envelope)
    else:
        lines = rng.choice((lines[::-1], lines * 2, lines[:-1], [*lines, rng.choice(_lines())]))
    return b"".join(line + b"\n" for line in lines)


def _read_bundle(given: bytes) -> bytes | None:
    """What is of the form is judged: nothing that is not one of the samples, to the byte, holds."""
    try:
        bundle.read(given)
    except bundle.NotABundle as error:
        odd = [problem for problem in error.problems if not (problem.isprintable() and len(problem) < 2_000)]
        if odd:
            raise AssertionError("no sentence") from error
        return None
    known = {whole for whole, _ in _sealed()}
    for whole, (trusted,) in _sealed():
        held = bundle_verification.verify(given, trust.read(trusted, "trust")).verified
        assert given in known if held else given != whole, "a changed bundle holds"
    return given


@cache
def _proofs() -> list[bytes]:
    key, found = bytes(32), []
    for size in (0, 1, 5, 8):
        digests = [sha256(b"image %d" % n).digest() for n in range(size)]
        committed = commitment.of(key, "content", digests)
        for digest in (*digests[:2], sha256(b"another").digest()):
            found.append(proofs.write("b1", key, "content", digest, {"forget": committed, "retain": committed}))
    return found


def _proof(rng: Random) -> bytes:
    given = rng.choice(_proofs())
    if rng.random() < 0.4:
        return octets(rng, given, _proofs())
    return canonical(mutations.tree(rng, json.loads(given))) + b"\n"


def _read_proof(given: bytes) -> bytes:
    found = proofs.read(given, "the input")
    roots = {entry.set: (entry.size, bytes.fromhex(entry.root)) for entry in found.sets}
    said = proofs.problems(found, roots, b"image 99")
    assert said, "an image that was never proved is said to be"
    return given


def _trust(rng: Random) -> bytes:
    given = rng.choice(_sealed())[1][0]
    if rng.random() < 0.4:
        return octets(rng, given, [given])
    return canonical(mutations.tree(rng, json.loads(given))) + b"\n"


def _read_trust(given: bytes) -> bytes:
    return trust.write(trust.read(given, "the input").keys)


_NOTE = log.checkpoint(log.Head(7, bytes(range(32))), "log", bytes(32), lambda text: bytes(64))


def _read_note(given: bytes) -> bytes:
    said = log.read_checkpoint(given, "the input")
    assert len(said.head.root) == 32
    assert len(said.signature) == 64
    return log.checkpoint(said.head, said.signer, bytes(32), lambda text: said.signature, said.origin)


_RECORD = json.dumps({"schema": "lineage/1", "asset": "forget_manifest", "batch": "b1", "key": "ab" * 32,
                      "sha256": "cd" * 32, "outputs": [{"path": "forget.parquet", "sha256": "ef" * 32, "bytes": 12}],
                      "inputs": {"deletion_requests": "ab" * 32}, "params_sha256": "cd" * 32,
                      "code": {"revision": "f" * 40, "dirty": False}, "made_at": "2026-11-01T09:30:00+00:00",
                      "facts": {"forget": 3, "splits": {"train": 3}, "loss": 0.25}}).encode()  # fmt: skip


def _read_record(given: bytes) -> bytes:
    record = lineage.of(files.parse_json(given, "the input"), "the input")
    return files.canonical({"schema": lineage.SCHEMA, **asdict(record)})


DOORS = (
    Door("bundle", _bundle, _read_bundle),
    Door("proof", _proof, _read_proof),
    Door("trust file", _trust, _read_trust),
    Door("log checkpoint", lambda rng: octets(rng, _NOTE, [_NOTE]), _read_note),
    Door("lineage record", json_of(_RECORD), _read_record),
)
