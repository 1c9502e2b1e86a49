"""Bundles by the number: every status and shape that infra/decisions/certificate-spec.md allows, signed, from a seed.

`generate(seed)` is for whoever compares verifiers: two of three bundles hold; in the third one thing does not, and the
signatures are made anew, so that only that thing speaks (broken_bundles.py).
"""

from __future__ import annotations

from random import Random

from tests.evidence.sealing import WEIGHTS, Draft, Tree, group, measurement, statement, trusted
from unlearning.evidence import merkle

_ODD = ('"', "\\", "/", "é", "\u2028", "\x7f", "😀", "</script>", "'", "𝒳")
_LEVELS = ("C1", "C2", "C3", "C1+R", "C3+R")


def draft(seed: int, status: str | None = None) -> Draft:
    """A bundle in which everything holds."""
    rng = Random(seed)
    status = status or rng.choice(("issued", "issued", "refused", "no_match"))
    sets = _sets(rng, status)
    subject = _hex(rng) if status != "no_match" else _digest(sets[0])
    made = [*sets, *(_nothing(rng, sets) if status == "no_match" else _run(rng, sets, subject, status))]
    certificate = None if status == "no_match" else _hex(rng)
    if status == "issued" and rng.random() < 0.6:
        made.append(promotion(rng, subject, str(certificate)))
        if rng.random() < 0.6:
            made.append(_purge(rng, subject))
    made.append(_index(rng, status, subject, certificate, made))
    found = Draft(made, earlier=[rng.randbytes(32) for _ in range(rng.randrange(9))])
    _more_keys(rng, found)
    return found


def generate(seed: int) -> tuple[bytes, bytes, bool]:
    """A bundle, the trust file to judge it by, and whether it holds."""
    from tests.evidence.forged_bundles import BREAKS  # here: it draws its drafts from this file

    rng = Random(f"which {seed}")
    if rng.random() < 2 / 3:
        found = draft(seed)
        return found.sealed(), found.trust(), True
    chosen = rng.choice(sorted(BREAKS))
    found = BREAKS[chosen].broken(seed)
    return found.sealed(), found.trust(), False


def _sets(rng: Random, status: str) -> list[Tree]:
    tokens = sorted(rng.randbytes(32) for _ in range(rng.randrange(2, 40)))
    cut = rng.randrange(1, len(tokens))
    rows = {"dataset": tokens, "dataset_keys": [rng.randbytes(32) for _ in tokens]}
    if rng.random() < 0.5:
        del rows["dataset_keys"]
    if status != "no_match":
        rows |= {"forget": tokens[:cut], "retain": tokens[cut:] if rng.random() < 0.8 else []}
    shared = {"dataset": f"digits-{rng.randrange(9)}", "dataset_sha256": _hex(rng), "key_id": _hex(rng)}
    shared["tree"] = "rfc9162-sha256-sorted"
    made = []
    for name, leaves in rows.items():
        counts = {"images": len(leaves), "by.key": rng.randrange(99)} if rng.random() < 0.5 else {}
        leaf = "key/1" if name == "dataset_keys" else "content/1"
        said = {**shared, "counts": counts, "leaf": leaf, "set": name, "size": len(leaves)}
        made.append(statement("urn:unlearning:set-commitment:1", said, name, merkle.root(sorted(leaves)).hex()))
    return made


def _run(rng: Random, sets: list[Tree], subject: str, status: str) -> list[Tree]:
    level = rng.choice(_LEVELS)
    properties = ["GATES_PASSED", f"FORGET_{level}"] if status == "issued" else ["GATES_REFUSED"]
    svr = {
        "policy": {"sha256": _hex(rng)},
        "properties": sorted({*properties, *(["RETAIN"] if rng.random() < 0.5 else [])}),
        "timeCreated": _time(rng, 5),
        "verifier": {"id": "unlearning/0.1.0"},
    }
    decided = statement("https://in-toto.io/attestation/svr/v0.2", svr, WEIGHTS, subject)
    return [_provenance(rng, sets, subject), *_tests(rng, subject, status), decided]


def _provenance(rng: Random, sets: list[Tree], subject: str) -> Tree:
    roots = {one["predicate"]["set"]: _digest(one) for one in sets}
    needed = {**{name: roots[name] for name in ("dataset", "forget", "retain")}, "original_checkpoint": _hex(rng)}
    depends: list[Tree] = [{"digest": {"sha256": digest}, "name": name} for name, digest in needed.items()]
    if rng.random() < 0.5:
        depends.append({"digest": {"gitCommit": _hex(rng)[:40]}, "name": "code"})
    rng.shuffle(depends)
    outside: Tree = {"method": "noise_target", "seed": rng.randrange(-(2**53) + 1, 2**53), "Batch_1.x": None}
    predicate = {
        "buildDefinition": {
            "buildType": "urn:unlearning:unlearn:1",
            "externalParameters": outside if rng.random() < 0.8 else {},
            "internalParameters": {"git_dirty": rng.random() < 0.5, "torch": _text(rng), "gpus": rng.randrange(9)},
            "resolvedDependencies": depends,
        },
        "runDetails": {
            "builder": {"id": _text(rng)},
            "byproducts": [{"digest": {"sha256": _hex(rng)}, "name": "training_trace"}][: rng.randrange(2)],
            "metadata": {"finishedOn": _time(rng, 4), "invocationId": _text(rng), "startedOn": _time(rng, 3)},
        },
    }
    made = statement("https://slsa.dev/provenance/v1", predicate, WEIGHTS, subject)
    if rng.random() < 0.7:
        made["subject"].insert(rng.randrange(2), {"digest": {"sha256": _hex(rng)}, "name": "checkpoint.json"})
    return made


def _tests(rng: Random, subject: str, status: str) -> list[Tree]:
    names = rng.sample(("integrity", "forgetting", "retention", "earlier", "attacks", "metrics"), rng.randrange(1, 7))
    made = []
    for place, name in enumerate(names):
        outcomes = [rng.choice(("pass", "pass", "fail", "not_measured")) for _ in range(rng.randrange(1, 5))]
        measured = [
            {
                **measurement(f"{name}_{number}", one, one == "pass" and rng.random() < 0.5),
                "source": _text(rng) + "\n\x01",
            }
            for number, one in enumerate(outcomes)
        ]
        if status == "refused" and place == 0:
            measured.append(measurement("broken", rng.choice(("fail", "not_measured"))))
        predicate = group(name, measured, _hex(rng) if rng.random() < 0.5 else None)
        predicate["configuration"] += [{"digest": {"sha256": _hex(rng)}, "name": "report.json"}][: rng.randrange(2)]
        kind = "https://in-toto.io/attestation/test-result/v0.1"
        made.append(statement(kind, predicate, WEIGHTS, subject))
    return made


def _nothing(rng: Random, sets: list[Tree]) -> list[Tree]:
    kinds = rng.sample(("content_sha256", "sample_key", "subject", "class"), rng.randrange(1, 5))
    selectors = [{"kind": one, "provable": one in ("content_sha256", "sample_key")} for one in kinds]
    said = {"dataset": sets[0]["predicate"]["dataset"], "request_id": _text(rng), "selectors": selectors}
    return [statement("urn:unlearning:no-match:1", said, "dataset", _digest(sets[0]))]


def promotion(rng: Random, subject: str, certificate: str) -> Tree:
    version = rng.randrange(1, 99)
    said = {
        "approver_role": "privacy_officer",
        "at": _time(rng, 6),
        "certificate_sha256": certificate,
        "checkpoint_sha256": _hex(rng),
        "model": "digits-mae",
        "pending_requests": rng.choice((None, 0, 7)),
        "previous": rng.choice((None, {"sha256": _hex(rng), "version": rng.randrange(version)})),
        "version": version,
    }
    return statement("urn:unlearning:promotion:1", said, WEIGHTS, subject)


def _purge(rng: Random, subject: str) -> Tree:
    places = rng.sample(("dataset_shards", "dvc_cache", "backups", "inbox"), rng.randrange(1, 5))
    hits = rng.choice((0, 0, 2))
    locations = []
    for place in places:
        remaining, ends = rng.choice(((0, None), (0, None), (3, "2027-01-01T00:00:00+00:00"), (3, None)))
        counts = {"found": remaining + 4, "removed": 4, "remaining": remaining}
        method, why = rng.choice((("rewrite", None), ("delete", None), ("gc", None), ("none", "kept_by_law")))
        times = {"expires_at": ends, "verified_at": rng.choice((None, _time(rng, 8)))}
        locations.append({**counts, **times, "location": place, "method": method, "why": why})
    left = hits > 0 or any(one["remaining"] and one["expires_at"] is None for one in locations)
    said = {
        "finished_at": _time(rng, 8),
        "locations": locations,
        "record_sha256": _hex(rng),
        "scan": {"bytes": rng.randrange(2**53), "files": rng.randrange(999), "hits": hits},
        "started_at": _time(rng, 7),
        "status": "partial" if left else "complete",
        "tool": "unlearning 0.1.0",
    }
    return statement("urn:unlearning:purge:1", said, WEIGHTS, subject)


def _index(rng: Random, status: str, subject: str, certificate: str | None, made: list[Tree]) -> Tree:
    asked = {"2e7c0d8e-0000-4000-8000-000000000000", *(_text(rng) for _ in range(rng.randrange(4)))}
    level, name = "none", WEIGHTS
    if status == "issued":
        svr = next(one["predicate"] for one in made if one["predicateType"].endswith("svr/v0.2"))
        level = next(one for one in svr["properties"] if one.startswith("FORGET_")).removeprefix("FORGET_")
    if status == "no_match":
        nothing = next(one["predicate"] for one in made if "no-match" in one["predicateType"])
        asked, name = {nothing["request_id"]}, "dataset"
    sequence = rng.choice((0, 0, 1, 5))
    said = {
        "batch": f"batch-{rng.randrange(99)}",
        "certificate_sha256": certificate,
        "claim_level": level,
        "cut_off": rng.choice((None, _time(rng, 1))),
        "goal": None if status == "no_match" else rng.choice(("unreconstructable", "never_seen")),
        "issued_at": _time(rng, 9),
        "not_claimed": ["that the data is gone", *("\u0007" + _text(rng) for _ in range(rng.randrange(3)))],
        "requests": sorted(asked),
        "sequence": sequence,
        "status": status,
        "supersedes": None if sequence == 0 else _hex(rng),
    }
    return statement("urn:unlearning:erasure-certificate:1", said, name, subject)


def _more_keys(rng: Random, found: Draft) -> None:
    """Keys that sign nothing here, and ends that lie after everything."""
    late = "2027-06-01T00:00:00+00:00"
    if rng.random() < 0.3:
        found.keys.append(trusted("retired", "pipeline", valid_until="2026-02-01T00:00:00+00:00"))
    if rng.random() < 0.3:
        found.keys.append(trusted("stolen", "privacy_officer", revoked_from="2026-01-02T00:00:00+00:00"))
    if rng.random() < 0.3:
        found.keys[0] = trusted("pipeline", "pipeline", valid_until=late, revoked_from=late)


def _digest(made: Tree) -> str:
    return str(made["subject"][0]["digest"]["sha256"])


def _hex(rng: Random) -> str:
    return rng.randbytes(32).hex()


def _text(rng: Random) -> str:
    return f"{rng.choice(_ODD)}{rng.randrange(10**6)}{rng.choice(_ODD)}"


def _time(rng: Random, month: int) -> str:
    """Some moment of a month of 2026: months order what must follow each other."""
    return f"2026-{month:02d}-{rng.randrange(1, 29):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:07+00:00"
