"""Who may file and look: bearer tokens, of which only the sha256 is kept.

`<root>/keys/intake-tokens.json`, mode 0600: [{"sha256": …, "controller_id": "shop-1" | "*", "operator": false}]
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from unlearning import digests, files
from unlearning.errors import RequestError
from unlearning.requests.schema import Opaque
from unlearning.workspace import Workspace

ANYBODY = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    controller_id: str  # "*" for every controller's requests
    operator: bool = False  # may list all, hold and release

    def speaks_for(self, controller_id: str) -> bool:
        """Whether requests of that controller are this caller's to file and to see."""
        return self.operator or self.controller_id in (ANYBODY, controller_id)


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    sha256: str
    controller_id: str
    operator: bool


def file(workspace: Workspace) -> Path:
    """Where the tokens of a root lie."""
    return workspace.root / "keys" / "intake-tokens.json"


def read(workspace: Workspace) -> tuple[Token, ...]:
    """Every token; none where there is no file. Raises RequestError if it is not one of ours."""
    path = file(workspace)
    if not path.is_file():
        return ()
    try:
        return tuple(Token(**one) for one in files.read_json(path))
    except TypeError:
        raise RequestError(f"{path}: not a list of tokens; make one with `unlearning intake-token`") from None


def add(workspace: Workspace, controller_id: str, operator: bool) -> str:
    """Make a token and keep its sha256; the token itself is handed out here and never again. Raises RequestError."""
    if controller_id != ANYBODY:
        try:
            TypeAdapter(Opaque).validate_python(controller_id)
        except ValidationError:
            raise RequestError(
                f"controller {controller_id[:40]!r}: an opaque name (a-z, 0-9, dot, underscore, hyphen) or * is right"
            ) from None
    token, path = secrets.token_urlsafe(32), file(workspace)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with files.locked(path.with_name(".tokens.lock"), "the list of tokens", wait=True):
        known = [*read(workspace), Token(digests.of_bytes(token.encode()), controller_id, operator)]
        files.write_json(path, [asdict(one) for one in known])
        path.chmod(0o600)
    return token


def caller(tokens: Sequence[Token], header: str | None) -> Caller | None:
    """Whose token an Authorization header brings; None of nobody's. Every token is compared, in constant time."""
    scheme, _, word = (header or "").partition(" ")
    sha256 = digests.of_bytes(word.strip().encode())
    found = [one for one in tokens if hmac.compare_digest(one.sha256, sha256)]
    if scheme.lower() != "bearer" or not found:
        return None
    return Caller(found[0].controller_id, found[0].operator)
