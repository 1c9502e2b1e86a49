"""DSSE envelopes: a payload, its type, and Ed25519 signatures over both, as one line of canonical JSON.

    PAE = "DSSEv1" SP len(type) SP type SP len(payload) SP payload     (DSSE 1.0.2; certificate-spec.md, section 6)

Signing and verifying are securesystemslib's. Reading is our own: theirs takes any spelling and base64, and raises
whatever it meets.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from unlearning.evidence import canonical_text
from unlearning.evidence.trust import Hex, Key

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Signature:
    """Whose it says it is, and its 64 bytes."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """One line of a bundle."""

    payload: bytes
    signatures: tuple[Signature, ...]  # sorted by key id, each once


class _Signature(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    keyid: Hex
    sig: str


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_Signature], Field(min_length=1)]


def read(line: bytes) -> Envelope:
    """The envelope in a line, without its line feed. Raises ValueError, in words, for any spelling but the one."""
    try:
        found = _LINE.validate_python(canonical_text.read(line))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}") from None
    signatures = [Signature(one.keyid, canonical_text.from_base64(one.sig)) for one in found.signatures]
    ids = [one.keyid for one in signatures]
    if ids != sorted(set(ids)):
        raise ValueError("its signatures are not sorted by key id, each key once")
    if any(len(one.sig) != _SIGNATURE_BYTES for one in signatures):
        raise ValueError(f"a signature is not {_SIGNATURE_BYTES} bytes")
    return Envelope(canonical_text.from_base64(found.payload), tuple(signatures))


def write(payload: bytes, signatures: Iterable[Signature]) -> bytes:
    """The line, without its line feed."""
    listed = sorted(signatures, key=lambda one: one.keyid)
    return canonical_text.write(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": one.keyid, "sig": base64.b64encode(one.sig).decode()} for one in listed],
        }
    )


def seal(payload: bytes, signer: Signer) -> Signature:
    """One signature over the payload and its type."""
    from securesystemslib.dsse import Envelope as Dsse  # a tenth of a second, which no reader waits for

    made = Dsse(payload, PAYLOAD_TYPE, {}).sign(signer)
    return Signature(made.keyid, bytes.fromhex(made.signature))


def signed_by(payload: bytes, signature: Signature, key: Key) -> bool:
    """Whether the signature over payload and type is that key's. One key at a time: no threshold is left to count."""
    from securesystemslib.dsse import Envelope as Dsse
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature as Signed
    from securesystemslib.signer import SSlibKey

    public = SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.public})
    try:
        public.verify_signature(Signed(key.keyid, signature.sig.hex()), Dsse(payload, PAYLOAD_TYPE, {}).pae())
    except UnverifiedSignatureError:
        return False
    return True


_LINE = TypeAdapter(_Line)
