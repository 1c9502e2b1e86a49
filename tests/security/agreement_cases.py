"""Bundles for two verifiers to disagree about: made from a seed, and changed at one level.

Some hold, some do not, and of most nobody knows beforehand: at every level there are changes that a reader has to
accept (another moment that is still in order, one byproduct more) beside those that it has to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.evidence import bundles
from tests.security import second_breaks, second_sets, second_spellings
from tests.security import second_bundles as signing
from tests.security.agreement_changes import RESPELLINGS, another, at, near, noise, places
from tests.security.second_breaks import edited

SIGNERS = (signing.PIPELINE, signing.OFFICER, signing.SECOND_PIPELINE, signing.ATTACKER)


@dataclass(frozen=True)
class Case:
    """What both verifiers are given. `holds` is None where nobody knows beforehand."""

    bundle: bytes
    trust: bytes
    holds: bool | None = None
    model: str | None = None
    log: bytes | None = None
    proof: bytes | None = None
    image: bytes | None = None
    supersedes: bytes | None = None


def first_own(rng: Random) -> Case:
    """A bundle by the first verifier's own generator: held, or with one rule broken."""
    return Case(*bundles.generate(rng.randrange(2**32)))


def second_own(rng: Random) -> Case:
    """A bundle by the second verifier's own signer: held, or with one clause broken."""
    if rng.random() < 0.3:
        made = signing.sealed(signing.draft(rng.choice(("issued", "refused", "no_match"))))
        return Case(made.bundle, signing.trust(), True, log=made.log)
    field = rng.choice([*second_breaks.SHAPES, *second_breaks.RULES])
    _, order = rng.choice(list(second_breaks.ORDERS.values()))
    old, new = rng.choice(list(second_spellings.SPELLINGS.values()))
    match rng.randrange(4):
        case 0:
            made = signing.sealed(order)
        case 1:
            made = signing.sealed(signing.draft("issued"), respelled=lambda text: text.replace(old, new))
        case _:
            made = signing.sealed(field.broken())
    return Case(made.bundle, signing.trust(), False)


def fields(rng: Random) -> Case:
    """One to three places of signed statements hold something else."""
    parts, before = drafted(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice(list(parts))
        if name == "index":
            parts = signing.filled(parts, before)
        path = rng.choice(list(places(parts[name])))
        parts = {**parts, name: edited(parts[name], path, another(rng, at(parts[name], path), parts))}
        if name != "index":
            parts = signing.emptied(parts)
    return Case(signing.sealed(parts, before).bundle, signing.trust())


def statements(rng: Random) -> Case:
    """Signed statements missing, twice, in another order, or of another bundle."""
    parts, before = drafted(rng)
    other, _ = drafted(rng)
    names = list(parts)
    chosen = rng.choice(names)
    match rng.randrange(5):
        case 0:
            names.remove(chosen)
        case 1:
            names.insert(rng.randrange(len(names) + 1), chosen)
        case 2:
            rng.shuffle(names)
        case 3:
            there = rng.randrange(len(names) - 1)
            names[there], names[there + 1] = names[there + 1], names[there]
        case _:
            parts = {**parts, chosen: rng.choice(list(other.values()))}
    if "index" not in names:
        names.append(chosen)
    made = {name if name not in names[:at] else f"{name} {at}": parts[name] for at, name in enumerate(names)}
    return Case(signing.sealed(made, before).bundle, signing.trust())


def lines(rng: Random) -> Case:
    """Lines missing, twice, in another order, of another bundle, or changed, after they were signed."""
    parts, before = drafted(rng)
    found = signing.sealed(parts, before).bundle.splitlines(keepends=True)
    other = signing.sealed(*drafted(rng)).bundle.splitlines(keepends=True)
    where = rng.randrange(len(found))
    match rng.randrange(6):
        case 0:
            del found[where]
        case 1:
            found.insert(rng.randrange(len(found) + 1), found[where])
        case 2:
            rng.shuffle(found)
        case 3:
            found[where] = rng.choice(other)
        case 4:
            found[-1] = other[-1]
        case _:
            _, edit = rng.choice(list(second_spellings.LINES.values()))
            found = edit(found)
    return Case(b"".join(found), signing.trust())


def scrambled(rng: Random) -> Case:
    """Bytes of a bundle or of a trust file changed, inserted, deleted, or cut off."""
    parts, before = drafted(rng)
    bundle, trust = signing.sealed(parts, before).bundle, signing.trust()
    if rng.random() < 0.2:
        return Case(bundle, noise(rng, trust))
    return Case(noise(rng, bundle), trust)


def spellings(rng: Random) -> Case:
    """Signed payloads with another spelling, or with bytes changed before they were signed."""
    parts, before = drafted(rng)
    chosen = rng.choice(list(parts))
    text = second_sets.canonical(parts[chosen])

    def respelled(payload: bytes) -> bytes:
        return changed if payload == text else payload

    changed = noise(rng, text) if rng.random() < 0.5 else rng.choice(RESPELLINGS)(rng, text)
    return Case(signing.sealed(parts, before, respelled=respelled).bundle, signing.trust())


def keys(rng: Random) -> Case:
    """Other signers, other roles, other times of keys, keys that nobody trusts, trust files that are none."""
    parts, before = drafted(rng)
    issued = parts["index"]["predicate"]["issued_at"]
    entries = []
    for signer in SIGNERS[: rng.randrange(1, 4)]:
        changes: dict[str, Any] = {}
        for field in ("valid_from", "valid_until", "revoked_from"):
            if rng.random() < 0.3:
                changes[field] = rng.choice((issued, near(rng, issued), near(rng, issued), None))
        if rng.random() < 0.1:
            changes["role"] = rng.choice(("pipeline", "privacy_officer", "admin"))
        if rng.random() < 0.05:
            changes["public"] = rng.choice(("00" * 32, "01" + "00" * 31, "ff" * 32, rng.randbytes(32).hex()))
        if rng.random() < 0.1:
            changes["keyid"] = second_sets.sha(bytes.fromhex(changes.get("public", "00" * 32))).hex()
        entries.append(signer.trusted(**changes))
    signers = tuple(rng.sample(SIGNERS, rng.randrange(1, 4))) if rng.random() < 0.4 else SIGNERS[:2]
    trust = signing.trust(entries) if rng.random() < 0.7 else signing.trust()
    made = signing.sealed(parts, before, signers=signers).bundle
    if rng.random() < 0.2:
        _, edit = rng.choice([held for name, held in second_spellings.LINES.items() if "sign" in name or "key" in name])
        made = b"".join(edit(made.splitlines(keepends=True)))
    return Case(made, trust)


def weights_and_log(rng: Random) -> Case:
    """The weights and a log given beside it, as they are or changed."""
    parts, before = drafted(rng)
    made = signing.sealed(parts, before)
    log = made.log
    if rng.random() < 0.5:
        found = log.splitlines(keepends=True)
        match rng.randrange(4):
            case 0:
                del found[rng.randrange(len(found))]
            case 1:
                found.insert(rng.randrange(len(found) + 1), rng.randbytes(32).hex().encode() + b"\n")
            case 2:
                rng.shuffle(found)
            case _:
                found = [noise(rng, log)]
        log = b"".join(found)
    digest = parts["index"]["subject"][0]["digest"]["sha256"]
    model = rng.choice((digest, digest, None, rng.randbytes(32).hex()))
    return Case(made.bundle, signing.trust(), model=model, log=log)


def proofs(rng: Random) -> Case:
    """A person's proof, as it is or changed; of this bundle, of another, of this image or another."""
    images = [b"%d" % rng.randrange(99) for _ in range(rng.randrange(1, 12))]
    cut = rng.randrange(1, len(images) + 1)
    found = {"dataset": images, "forget": images[:cut], "retain": images[cut:]}
    sets = {which: second_sets.tokens("content", held) for which, held in found.items()}
    sets["dataset_keys"] = second_sets.tokens("key", images)
    parts = signing.of_sets(signing.draft(rng.choice(("issued", "refused"))), sets)
    content = rng.choice([*images, b"%d" % rng.randrange(99)])
    kind = rng.choice(("content", "content", "key"))
    names = ["dataset_keys"] if kind == "key" else rng.sample(("dataset", "forget", "retain"), rng.randrange(1, 4))
    if rng.random() < 0.1:
        sets = second_sets.SETS  # of another bundle
    proof: Any = second_sets.proof(kind, content, names, sets)
    if rng.random() < 0.6:
        for _ in range(rng.choice((1, 1, 2))):
            path = rng.choice(list(places(proof)))
            proof = edited(proof, path, another(rng, at(proof, path), {"proof": proof}))
    text = second_sets.canonical(proof) + b"\n"
    image = rng.choice((None, content, content, b"none of them"))
    made = signing.sealed(parts).bundle
    return Case(made, signing.trust(), proof=noise(rng, text) if rng.random() < 0.1 else text, image=image)


def chains(rng: Random) -> Case:
    """The bundle that this one replaces, as it is or changed, or another."""
    parts, before = drafted(rng)
    old = signing.sealed(parts, before)
    said = parts["index"]["predicate"]
    index = {**said, "sequence": said["sequence"] + 1, "supersedes": old.index}
    if rng.random() < 0.4:
        field = rng.choice(("batch", "issued_at", "sequence", "supersedes"))
        index = edited(index, field, another(rng, index[field], parts))
    more = [bytes.fromhex(line) for line in old.log.decode().split()] if rng.random() < 0.9 else before
    new = signing.sealed({**parts, "index": {**parts["index"], "predicate": index}}, more)
    given = old.bundle
    if rng.random() < 0.3:
        given = rng.choice((noise(rng, given), new.bundle, signing.sealed(*drafted(rng)).bundle))
    return Case(new.bundle, signing.trust(), supersedes=given)


LEVELS: tuple[Callable[[Random], Case], ...] = (
    first_own,
    second_own,
    fields,
    statements,
    lines,
    scrambled,
    spellings,
    keys,
    weights_and_log,
    proofs,
    chains,
)


def case(level: Callable[[Random], Case], number: int) -> Case:
    """The one of that level and number: always the same."""
    return level(Random(f"{level.__name__} {number}"))


def drafted(rng: Random) -> tuple[signing.Draft, list[bytes]]:
    """Statements of a bundle of any shape that holds, and what the log held before it."""
    made = bundles.draft(rng.randrange(2**32))
    parts = {f"statement {at}": one for at, one in enumerate(made.statements[:-1])}
    return {**parts, "index": made.statements[-1]}, made.earlier
