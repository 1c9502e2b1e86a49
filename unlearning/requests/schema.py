"""A deletion request, strictly: what is not understood is refused; free text is not taken, it would be personal data.

{"schema": "forget-request/1", "request_id": "…", "controller_id": "…", "goal": "unreconstructable",
 "regulation": "gdpr", "kind": "erasure", "submitted_at": "2026-11-01T09:30:00Z", "dataset": "digits",
 "selectors": [{"class": "3", "approved_by": "privacy-officer"}]}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from unlearning import files, json_text
from unlearning.digests import of_bytes
from unlearning.errors import RequestError, StorageError
from unlearning.params import Goal
from unlearning.requests import tabular
from unlearning.requests.tabular import SELECTORS

SCHEMA = "forget-request/1"
MAX_FILE = 256 * 2**20  # bytes
MAX_BODY = 4 * 2**20  # bytes of one request: 10,000 selectors fit
MAX_SELECTORS = 10_000  # of one request
MAX_DEPTH = 8  # of nesting; a request needs 3

_OPAQUE = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_UUID4 = r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_RESERVED = frozenset({"null", "none", "nil", "true", "false", "yes", "no", "nan", "inf", "undefined", "unknown"})


def _not_reserved(text: str) -> str:
    if text in _RESERVED:
        raise ValueError("is a reserved word; an opaque name is right")
    return text


def _moment(text: str) -> str:
    try:
        if not _RFC3339.fullmatch(text):
            raise ValueError
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an RFC 3339 time with a zone; 2026-11-01T09:30:00Z, say, is right") from None
    return text


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("holds control characters or outer spaces; plain text is right")
    return text


Opaque = Annotated[str, Field(pattern=_OPAQUE), AfterValidator(_not_reserved)]
Moment = Annotated[str, AfterValidator(_moment)]
Text = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=False)


class Selector(_Strict):
    """Which stored images are meant: exactly one of six ways. A class may hold many people's, so it needs approval."""

    sample_key: Text | None = None
    content_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    pixel_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    subject: Text | None = None
    class_: Text | None = Field(None, alias="class")
    near_duplicate_of: Text | None = Field(None, description="key of a stored image; what is near to it is proposed")
    approved_by: Opaque | None = Field(None, description="opaque role id of the officer who approved a class selector")

    @property
    def by(self) -> str:
        """The name of its way, one of SELECTORS."""
        return next(name for name in SELECTORS if self._named(name) is not None)

    @property
    def value(self) -> str:
        """What it is compared with."""
        return str(self._named(self.by))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        named = [name for name in SELECTORS if self._named(name) is not None]
        if len(named) != 1:
            raise ValueError(
                f"names {' and '.join(named) or 'nothing'}; exactly one of {', '.join(SELECTORS)} is right"
            )
        if (named == ["class"]) != (self.approved_by is not None):
            raise ValueError("a class selector, and no other, needs approved_by: the role that approved it")
        return self

    def _named(self, name: str) -> str | None:
        found: str | None = getattr(self, "class_" if name == "class" else name)
        return found


class NearDuplicates(_Strict):
    """Whether images near to the selected ones are meant too. They are a proposal: policy or an officer accepts it."""

    mode: Literal["off", "report", "include"] = Field("off", description="report: they are counted, and stay")
    method: Literal["perceptual", "embedding"] = "perceptual"
    threshold: float = Field(4, ge=0, le=16, description="perceptual: most bits of 64; embedding: least cosine, to 1")
    max_expand: int = Field(100, ge=0, le=100_000, description="more images than that are never taken in unseen")

    @model_validator(mode="after")
    def _threshold_fits(self) -> Self:
        if self.method == "perceptual" and self.threshold != int(self.threshold):
            raise ValueError("perceptual: the threshold is a number of bits; a whole number from 0 to 16 is right")
        if self.method == "embedding" and not 0 < self.threshold <= 1:
            raise ValueError("embedding: the threshold is a cosine; above 0, to 1, is right (0.95, say)")
        return self


def _some(selectors: tuple[Selector, ...]) -> tuple[Selector, ...]:
    if not 1 <= len(selectors) <= MAX_SELECTORS:
        raise ValueError(f"holds {len(selectors)} selectors; 1 to {MAX_SELECTORS} are right")
    return selectors


class Request(_Strict):
    """One deletion request, as its controller wrote it."""

    schema_: Literal["forget-request/1"] = Field(alias="schema")
    request_id: Annotated[str, Field(pattern=_UUID4)]
    controller_id: Opaque
    goal: Goal
    regulation: Literal["gdpr", "uk_gdpr", "ccpa", "contract", "internal"]
    kind: Literal["erasure", "objection", "consent_withdrawn", "court_order", "takedown"]
    submitted_at: Moment
    dataset: Opaque | None = Field(None, description="the data set meant; absent: whichever the batch is about")
    selectors: Annotated[tuple[Selector, ...], AfterValidator(_some)]
    near_duplicates: NearDuplicates = Field(NearDuplicates(), description="absent: off")

    @model_validator(mode="after")
    def _says_how_near(self) -> Self:
        if self.near_duplicates.mode == "off" and any(one.by == "near_duplicate_of" for one in self.selectors):
            raise ValueError("near_duplicate_of needs near_duplicates: how near, and whether to report or include")
        return self


@dataclass(frozen=True, slots=True)
class Filed:
    """A valid request and its body: canonical JSON, and the sha256 of that."""

    request: Request
    body: bytes
    digest: str


def read(path: Path) -> list[Filed]:
    """The requests of a file: `.json` holds one, `.csv` a selector a row, anything else a request a line (JSON Lines).

    All are valid, or RequestError. The error names file, line and field, never a value: values may be personal data.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise RequestError(f"{path}: more than {MAX_FILE} bytes; split the file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from None
    return parse_all(text, path.suffix, str(path))


def parse_all(text: str, suffix: str, where: str) -> list[Filed]:
    """The requests in the text of a file whose name ends so. Raises RequestError, as `read` does."""
    if suffix == ".json":
        return [parse(text, where)]
    if suffix == ".csv":
        rows = tabular.read(text, where)
        return [parse(json.dumps({"schema": SCHEMA, **said}), f"{where} line {line}") for line, said in rows]
    filed = [parse(line, f"{where} line {n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not filed:
        raise RequestError(f"{where}: holds no request; one JSON object a line is right")
    return filed


def parse(text: str, where: str) -> Filed:
    """One request. Raises RequestError: not JSON, a key twice, NaN, too deep, too long, or not the schema."""
    if len(text) > MAX_BODY:
        raise RequestError(f"{where}: a request of more than {MAX_BODY} bytes; split it")
    try:
        tree = json_text.parse(text, deepest=MAX_DEPTH)
    except json_text.NotJson as error:
        raise RequestError(f"{where}: {error}; one object in braces is right") from None
    try:
        body = files.canonical(tree)
        # The canonical spelling is what is validated, stored and hashed, so that no two readers can disagree.
        return Filed(Request.model_validate_json(body), body, of_bytes(body))
    except ValidationError as error:
        raise RequestError(f"{where}: {_sentence(error)}") from None
    except (StorageError, UnicodeEncodeError):
        raise RequestError(f"{where}: holds a number or text that JSON cannot carry exactly") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"]) or "the request"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        inner: dict[str, type[BaseModel]] = {"selectors": Selector, "near_duplicates": NearDuplicates}
        model = inner.get(str(first["loc"][0]), Request) if len(first["loc"]) > 1 else Request
        exists = ", ".join(field.alias or name for name, field in model.model_fields.items())
        return f"there is no key {path[:80]!r}; keys that exist there: {exists}{more}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path!r}: {message[0].lower()}{message[1:]}{more}"
