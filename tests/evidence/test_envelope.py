"""One line of a bundle: written in one spelling, read in no other, and whose signatures it bears."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey

from tests.evidence import sealing
from tests.evidence.sealing import keyid, spelled
from unlearning.evidence import envelope
from unlearning.evidence.envelope import Envelope, Signature
from unlearning.evidence.trust import Key

PAYLOAD = b'{"a":1}'
NAMES = sorted(("pipeline", "officer", "third"), key=keyid)


def signer(name: str) -> CryptoSigner:
    public = SSlibKey(keyid(name), "ed25519", "ed25519", {"public": sealing.public(name).hex()})
    return CryptoSigner(sealing.key(name), public)


def trusted(name: str) -> Key:
    return Key(**sealing.trusted(name, "pipeline"))


def refused(line: bytes) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is compared whole
        envelope.read(line)
    return str(caught.value)


def test_a_seal_is_dsse_over_payload_and_type() -> None:
    """Ours against PAE and Ed25519 that are written a second time for the tests."""
    sealed = [envelope.seal(PAYLOAD, signer(name)) for name in NAMES]
    assert [one.keyid for one in sealed] == [keyid(name) for name in NAMES]
    for order in (sealed, sealed[::-1], sealed[1:] + sealed[:1]):
        assert envelope.write(PAYLOAD, iter(order)) == sealing.line(PAYLOAD, NAMES)


def test_what_was_written_is_read_again() -> None:
    line = sealing.line(PAYLOAD, NAMES)
    found = envelope.read(line)
    assert found.payload == PAYLOAD
    assert [one.keyid for one in found.signatures] == [keyid(name) for name in NAMES]
    assert envelope.write(found.payload, found.signatures) == line
    assert envelope.read(sealing.line(b"", ["officer"])) == Envelope(
        b"", (Signature(keyid("officer"), envelope.seal(b"", signer("officer")).sig),)
    )


def test_a_signature_is_of_one_key_over_one_payload() -> None:
    (sealed,) = envelope.read(sealing.line(PAYLOAD, ["officer"])).signatures
    assert envelope.signed_by(PAYLOAD, sealed, trusted("officer"))
    assert not envelope.signed_by(PAYLOAD + b" ", sealed, trusted("officer"))
    assert not envelope.signed_by(PAYLOAD, sealed, trusted("pipeline"))
    assert not envelope.signed_by(PAYLOAD, Signature(sealed.keyid, bytes(64)), trusted("officer"))
    bare = Signature(sealed.keyid, sealing.key("officer").sign(PAYLOAD))  # over the payload, without its type
    assert not envelope.signed_by(PAYLOAD, bare, trusted("officer"))


_SIGNATURE = {"keyid": keyid("officer"), "sig": base64.b64encode(bytes(64)).decode()}
_LINE: dict[str, Any] = {
    "payload": base64.b64encode(PAYLOAD).decode(),
    "payloadType": "application/vnd.in-toto+json",
    "signatures": [_SIGNATURE],
}
_SORTED = "its signatures are not sorted by key id, each key once"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"payloadType": "text"}, "payloadType: Input should be 'application/vnd.in-toto+json'"),
        ({"payload": 1}, "payload: Input should be a valid string"),
        ({"payload": "e30"}, "not base64"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"signatures": []}, "signatures: List should have at least 1 item after validation, not 0"),
        (
            {"signatures": [{**_SIGNATURE, "keyid": "A"}]},
            "signatures.0.keyid: String should match pattern '^[0-9a-f]{64}$'",
        ),
        ({"signatures": [{**_SIGNATURE, "sig": "*"}]}, "not base64"),
        ({"signatures": [{**_SIGNATURE, "sig": base64.b64encode(bytes(63)).decode()}]}, "a signature is not 64 bytes"),
        ({"signatures": [{**_SIGNATURE, "sig": base64.b64encode(bytes(65)).decode()}]}, "a signature is not 64 bytes"),
        ({"signatures": [_SIGNATURE, _SIGNATURE]}, _SORTED),
        ({"signatures": [{**_SIGNATURE, "keyid": "f" * 64}, {**_SIGNATURE, "keyid": "0" * 64}]}, _SORTED),
    ],
)
def test_another_spelling_is_told_where(fields: dict[str, Any], sentence: str) -> None:
    assert envelope.read(spelled(_LINE)).payload == PAYLOAD
    assert refused(spelled({**_LINE, **fields})) == sentence


def test_what_is_no_object_is_no_envelope() -> None:
    assert refused(b"[]") == "the whole: Input should be a valid dictionary or instance of _Line"
    assert refused(b"") == "not JSON without fractions"
    assert refused(b" " + spelled(_LINE)) == "not in canonical spelling"
    one_short = [_SIGNATURE, {**_SIGNATURE, "keyid": "f" * 64, "sig": "AAAA"}]
    assert refused(spelled({**_LINE, "signatures": one_short})) == "a signature is not 64 bytes"
