"""What a client is told when something is wrong: RFC 9457 problem details that repeat nothing of what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse

from unlearning.requests.schema import Request

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "not a request",
    401: "no valid token",
    403: "not yours",
    404: "no such request",
    405: "no such method",
    409: "conflict",
    413: "too large",
    415: "wrong media type",
    422: "not a valid request",
    500: "the intake broke",
    503: "the ledger is not reachable",
}
_PLACE = re.compile(r"[0-9]{1,4}")  # of a selector; longer digits may be somebody's number
# As Python quotes: a word that has a single quote stands in double ones, one that has both has its own escaped.
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")


class Problem(Exception):
    """Ends a call with a status and one sentence."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def answer(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response. `detail` is one of our own sentences."""
    body = {"type": "about:blank", "title": _TITLES.get(status, "problem"), "status": status, "detail": detail}
    return JSONResponse(body, status, headers=headers or None, media_type=MEDIA_TYPE)


def without_values(sentence: str) -> str:
    """A sentence of the schema with every quoted word taken out that the schema itself does not contain.

    A misspelt key is quoted in the terminal of whoever wrote it; over the wire it might be somebody's name.
    """
    return _QUOTED.sub(lambda found: found[0] if found[1] is not None and _ours(found[1]) else "'…'", sentence)


def _ours(word: str) -> bool:
    return all(_PLACE.fullmatch(part) or part in _vocabulary() for part in word.split(".")) or word in _vocabulary()


@cache
def _vocabulary() -> frozenset[str]:
    """Every name, value and pattern of the schema."""
    return frozenset(_words(Request.model_json_schema()))


def _words(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, part in tree.items():
            yield name
            yield from _words(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _words(part)
    elif isinstance(tree, str):
        yield tree


async def of_problem(request: HttpRequest, error: Exception) -> JSONResponse:
    """Handler of Problem."""
    assert isinstance(error, Problem)
    return answer(error.status, error.detail, error.headers)
