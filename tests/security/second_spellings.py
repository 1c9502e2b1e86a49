"""Other spellings of what was signed, and other lines than those that were; each with the clause that it breaks."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from typing import Any

from tests.security import second_bundles as signing
from tests.security.second_breaks import REMOVED, edited
from tests.security.second_sets import canonical

SPELLINGS: dict[str, tuple[bytes, bytes]] = {  # a text that is there in a payload, and another for it
    "a space": (b'"seed":7', b'"seed": 7'),
    "a fraction": (b'"seed":7', b'"seed":7.0'),
    "a fraction that stays": (b'"seed":7', b'"seed":0.5'),
    "an exponent": (b'"seed":7', b'"seed":7e0'),
    "a large integer": (b'"seed":7', b'"seed":9007199254740992'),
    "a huge integer": (b'"seed":7', b'"seed":' + b"7" * 5000),
    "a very small integer": (b'"seed":7', b'"seed":-9007199254740992'),
    "minus nought": (b'"seed":7', b'"seed":-0'),
    "a nought before": (b'"seed":7', b'"seed":07'),
    "not a number": (b'"seed":7', b'"seed":NaN'),
    "infinity": (b'"seed":7', b'"seed":Infinity'),
    "a key twice": (b'"seed":7', b'"seed":7,"seed":7'),
    "a key twice, otherwise": (b'"seed":7', b'"seed":8,"seed":7'),
    "keys unsorted": (b'"forgetWeight":"0.25","seed":7', b'"seed":7,"forgetWeight":"0.25"'),
    "a key beyond ASCII": (b'"seed":7', '"seéd":7'.encode()),
    "a needless escape": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\\u0030.25"'),
    "an escaped slash": (b"in-toto.io/Statement", b"in-toto.io\\/Statement"),
    "a surrogate alone": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\\ud800"'),
    "a pair of surrogates escaped": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\\ud83d\\ude00"'),
    "a long form of a short escape": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\\u000a"'),
    "an escape in capitals": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\\u001F"'),
    "a control character": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\x01"'),
    "no UTF-8": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\xff"'),
    "UTF-8 too long": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\xc0\xaf"'),
    "a surrogate in UTF-8": (b'"forgetWeight":"0.25"', b'"forgetWeight":"\xed\xa0\x80"'),
    "33 levels": (b'"seed":7', b'"seed":' + b"[" * 29 + b"]" * 29),
    "ten thousand levels": (b'"seed":7', b'"seed":' + b"[" * 10_000 + b"]" * 10_000),
    "a comma more": (b'"seed":7', b'"seed":7,'),
    "a comment": (b'"seed":7', b'"seed":7/**/'),
}


FIRST, LAST = 0, -1  # lines of a bundle
PAYLOAD = canonical(signing.draft("issued")["dataset"])


def in_line(at: int, path: str, value: Any) -> Callable[[list[bytes]], list[bytes]]:
    """Another value in the envelope of a line."""

    def edit(lines: list[bytes]) -> list[bytes]:
        envelope = edited(json.loads(lines[at]), path, value)
        envelope["signatures"] = [one for one in envelope["signatures"] if one]
        lines[at] = canonical(envelope) + b"\n"
        return lines

    return edit


def with_line(at: int, line: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Another line in the place of one."""

    def edit(lines: list[bytes]) -> list[bytes]:
        lines[at] = line
        return lines

    return edit


def resigned(at: int, *signers: signing.Signer) -> Callable[[list[bytes]], list[bytes]]:
    """A line signed by others."""
    return lambda lines: with_line(at, signing.line(payload(lines[at]), signers))(lines)


def payload(line: bytes) -> bytes:
    """The payload of a line."""
    return base64.b64decode(json.loads(line)["payload"])


def loose(text: str) -> str:
    """Base64 whose last character has bits that no byte is made of."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    last = text.rstrip("=")
    return last[:-1] + alphabet[alphabet.index(last[-1]) + 1] + text[len(last) :]


OTHER_BASE64: dict[str, Callable[[str], str]] = {
    "unpadded": lambda text: text.rstrip("="),
    "padded more": lambda text: text + "=",
    "with bits that mean nothing": loose,
    "of the URL alphabet": lambda text: text.replace("+", "-").replace("/", "_"),
    "with a line feed": lambda text: text[:4] + "\n" + text[4:],
    "with a space": lambda text: text[:4] + " " + text[4:],
    "with a letter of another script": lambda text: "\uff21" + text[1:],
    "empty": lambda text: "",
}

LINES: dict[str, tuple[str, Callable[[list[bytes]], list[bytes]]]] = {  # the clause, and what is done to signed lines
    "no line": ("6", lambda lines: []),
    "only a line feed": ("1", lambda lines: [b"\n"]),
    "no last line feed": ("6", lambda lines: [*lines[:-1], lines[-1][:-1]]),
    "an empty line": ("1", lambda lines: [lines[0], b"\n", *lines[1:]]),
    "a line feed more": ("1", lambda lines: [*lines, b"\n"]),
    "carriage returns": ("1", lambda lines: [line[:-1] + b"\r\n" for line in lines]),
    "a byte order mark": ("1", lambda lines: [b"\xef\xbb\xbf", *lines]),
    "65 lines": ("6", lambda lines: lines[:1] * 55 + lines),
    "more than 4 MiB": ("6", lambda lines: [*lines, b" " * 2**22 + b"\n"]),
    "a line missing": ("7.1", lambda lines: lines[:1] + lines[2:]),
    "an array": ("6", with_line(FIRST, b"[]\n")),
    "a number": ("6", with_line(FIRST, b"7\n")),
    "a statement without an envelope": ("6", with_line(FIRST, PAYLOAD + b"\n")),
    "another type of payload": ("6", in_line(FIRST, "payloadType", "application/json")),
    "another type of payload, signed": ("6", with_line(FIRST, signing.line(PAYLOAD, (signing.PIPELINE,), "text/json"))),
    "a field more": ("6", in_line(FIRST, "signatures.0.cert", "")),
    "a field of the envelope more": ("6", in_line(FIRST, "comment", None)),
    "no payload": ("6", in_line(FIRST, "payload", REMOVED)),
    "no signature": ("6", in_line(FIRST, "signatures", [])),
    "a signature of another line": (
        "6",
        lambda lines: in_line(0, "signatures", json.loads(lines[1])["signatures"])(lines),
    ),
    "a signature too short": ("6", in_line(FIRST, "signatures.0.sig", base64.b64encode(bytes(63)).decode())),
    "a signature of noughts": ("6", in_line(FIRST, "signatures.0.sig", base64.b64encode(bytes(64)).decode())),
    "a key's id in capitals": ("6", in_line(FIRST, "signatures.0.keyid", str.upper)),
    "an attacker's signature": ("6", resigned(FIRST, signing.ATTACKER)),
    "an attacker's signature under a trusted id": (
        "6",
        lambda lines: in_line(0, "signatures.0.keyid", signing.PIPELINE.keyid)(resigned(0, signing.ATTACKER)(lines)),
    ),
    "an attacker's signature beside": ("6", resigned(FIRST, signing.PIPELINE, signing.ATTACKER)),
    "two signatures of one key": ("6", in_line(FIRST, "signatures", lambda held: held * 2)),
    "two pipeline keys": ("6", resigned(FIRST, signing.PIPELINE, signing.SECOND_PIPELINE)),
    "an officer's line": ("6", resigned(FIRST, signing.OFFICER)),
    "both on a line before the last": ("6", resigned(FIRST, signing.PIPELINE, signing.OFFICER)),
    "an index of the pipeline": ("6", resigned(LAST, signing.PIPELINE)),
    "an index of the officer": ("6", resigned(LAST, signing.OFFICER)),
    "an index of two pipelines": ("6", resigned(LAST, signing.PIPELINE, signing.SECOND_PIPELINE)),
    "an index of three": ("6", resigned(LAST, signing.PIPELINE, signing.OFFICER, signing.SECOND_PIPELINE)),
    "an index of two, one unknown": ("6", resigned(LAST, signing.OFFICER, signing.ATTACKER)),
    "signatures unsorted": ("6", in_line(LAST, "signatures", lambda held: held[::-1])),
    **{
        f"payload {how}": ("6", in_line(1, "payload", spell))
        for how, spell in OTHER_BASE64.items()
        if how != "of the URL alphabet"  # in which the base64 of this ASCII has the same letters
    },
    **{f"signature {how}": ("6", in_line(LAST, "signatures.0.sig", spell)) for how, spell in OTHER_BASE64.items()},
}
