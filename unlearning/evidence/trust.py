"""Whose signatures count, and when: `trust/1`, the public half of the keys. (certificate-spec.md, section 5)

A verifier takes this file from a place it trusts. The one at `<root>/trust.json` is what whoever runs this says of
itself: it is to be handed over once, by a way that the operator cannot change later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text
from unlearning.workspace import Workspace

Role: TypeAlias = Literal["pipeline", "privacy_officer"]
SCHEMA = "trust/1"
MOST_BYTES = 2**20


def _moment(text: str) -> str:
    if not canonical_text.is_time(text):
        raise ValueError("is not YYYY-MM-DDTHH:MM:SS+00:00")
    return text


Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, AfterValidator(_moment)]


class Key(BaseModel):
    """One public key. Times of one spelling compare as text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    keyid: Hex
    public: Hex  # 32 bytes, Ed25519
    role: Role
    valid_from: Time
    valid_until: Time | None
    revoked_from: Time | None

    def good_at(self, moment: str) -> bool:
        """Whether its signature under something issued then counts."""
        ends = [end for end in (self.valid_until, self.revoked_from) if end is not None]
        return self.valid_from <= moment and all(moment < end for end in ends)


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_: Annotated[Literal["trust/1"], Field(alias="schema")]
    keys: Annotated[list[Key], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys of a trust file, by id."""

    keys: tuple[Key, ...]

    def find(self, keyid: str) -> Key | None:
        """The key of that id."""
        return next((key for key in self.keys if key.keyid == keyid), None)


def key_id(public: bytes) -> str:
    """A key's name: two names for one key are not possible."""
    return sha256(public).hexdigest()


def file(workspace: Workspace) -> Path:
    """Where a root says whose signatures are its own."""
    return workspace.root / "trust.json"


def load(path: Path) -> Trust:
    """The trust file at `path`. Raises EvidenceError if there is none, or it is no trust file."""
    try:
        return read(path.read_bytes(), str(path))
    except OSError:
        raise EvidenceError(f"{path}: there is no trust file to read; `unlearning keys export` writes one") from None


def read(text: bytes, where: str) -> Trust:
    """The trust in a file's bytes. Raises EvidenceError for any spelling but the one."""
    try:
        if len(text) > MOST_BYTES or not text.endswith(b"\n"):
            raise ValueError(f"at most {MOST_BYTES} bytes that end in a line feed")
        found = _FILE.validate_python(canonical_text.read(text[:-1])).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise EvidenceError(f"{where}: not a {SCHEMA} file ({place}: {first['msg']})") from None
    except ValueError as error:
        raise EvidenceError(f"{where}: not a {SCHEMA} file ({error})") from None
    ids = [key.keyid for key in found]
    if ids != sorted(set(ids)):
        raise EvidenceError(f"{where}: not a {SCHEMA} file (its keys are not sorted by id, each once)")
    for key in found:
        if key_id(bytes.fromhex(key.public)) != key.keyid:
            raise EvidenceError(
                f"{where}: not a {SCHEMA} file (key {key.keyid[:12]} is not the hash of its public bytes)"
            )
    return Trust(tuple(found))


def write(keys: Iterable[Key]) -> bytes:
    """The file of some keys."""
    listed = [key.model_dump() for key in sorted(keys, key=lambda key: key.keyid)]
    return canonical_text.write({"schema": SCHEMA, "keys": listed}) + b"\n"


_FILE = TypeAdapter(_File)
