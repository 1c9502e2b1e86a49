"""Strings that programs trip over, by what they are made to trip: made here, by the letter, and no list of anybody's.

A string is good or bad for nobody by itself: what matters is that it comes out as it went in, or not at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from tests.security import corpora_code
from tests.security.corpora_code import words

NUL = "\0"
_PERSON = "jane-doe"


def _reserved() -> Iterator[str]:
    yield from words(
        "null None nil NULL undefined true False yes NO on Off nan NaN inf -inf Infinity unknown void default"
    )
    yield from words("self this class def del import lambda constructor __proto__ __class__ __init__ prototype")
    yield from words("toString valueOf hasOwnProperty __dict__ then length name id")
    yield from words("CON PRN AUX NUL COM1 LPT9 con.txt aux. desktop.ini Thumbs.db .git .htaccess .env")
    yield from words("root admin system anonymous all any * ? - -- --help -rf @ # ~ ! %")


def _numbers() -> Iterator[str]:
    yield from words("0 00 -0 +1 1.0 1. .5 1e3 1E400 -1e-400 0x10 0b1 0o7 010 1_000 1,000 1.000,5 1/2 1e 0x e1")
    yield from words("9007199254740992 9007199254740993 -9223372036854775809 18446744073709551616")
    yield from (
        "9" * 400,
        "0." + "3" * 400,
        "1" + "0" * 309,
        "٣",
        "३",
        "３",
        "Ⅷ",
        "½",
        "²",
        "１２",
        "1 000",
        "1\u00a0000",
    )
    yield from words("2026-11-01 20:30 12e5 1e1000000000 0.1.2 --1 ++1 1;2 $1 1% 12:30:45 1:2:3")


def _unicode() -> Iterator[str]:
    invisible = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e\u2061\u2063\ufe0f\u115f\u3164\uffa0"
    for letter in invisible:
        yield f"jane{letter}doe"
        yield letter
    for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f":
        yield f"jane{mark}gnp.exe"
    for space in "\u00a0\u1680\u2000\u2003\u2007\u2009\u202f\u205f\u3000\u2028\u2029\u0085":
        yield f"jane{space}doe"
        yield f"{space}jane"
    for text in ("é", "ñ", "Å", "ﬁ", "ǆ", "ệ", "각", "ﷺ", "ℌ", "①", "㎏", "ſ", "K", "Ω"):
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield f"x{unicodedata.normalize(form, text)}"  # type: ignore[arg-type]
    yield from ("jаne", "jane", "ϳane", "ｊａｎｅ", "𝕛𝕒𝕟𝕖", "ʲᵃⁿᵉ", "јane", "JANE", "Jane", "ɟane", "jane\u0307")
    yield from ("\ud800", "\udfff", "\udc80", "a\ud83d", "\ude00b", "\udbff\udbff", "\udc00\ud800")
    yield from ("\ue000", "\uf8ff", "\U000f0000", "\U0010ffff", "\ufffe", "\uffff", "\U0001fffe", "\ufffd", "\ufdd0")
    yield from (
        "𠜎𠜱",
        "𒀀",
        "𝄞",
        "🂡",
        "𐍈",
        "ᚠᛇᚻ",
        "ʘ‿ʘ",
        "田中さん",
        "العربية",
        "עברית",
        "ไทย",
        "हिन्दी",
        "ქართული",
        "한국어",
    )
    yield from ("İ", "ı", "i̇", "ß", "ẞ", "ŉ", "ΐ", "Σςσ", "Ǆ", "ᾳ", "T\u0310h\u0321e", "a" + "\u0301" * 60)
    yield from ("و" + "\u064b" * 20, "\u0300", "\u0e47" * 30, "ก็็็็", "क्\u200dष", "नि", "ﬀ", "…", "—", "“x”", "„x“")


def _emoji() -> Iterator[str]:
    yield from (
        "😀",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "🇩🇪",
        "🇩",
        "👍🏿",
        "🏿",
        "1️⃣",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
        "❤️",
        "❤",
        "🤷🏽‍♀️",
        "👨‍💻",
        "🧑🏻‍🤝‍🧑🏿",
        "☠",
        "😀" * 30,
        "🇩🇪🇫🇷🇩",
    )


def _controls() -> Iterator[str]:
    for number in (*range(32), *range(127, 160, 4)):
        yield f"a{chr(number)}b"
    yield from (
        NUL,
        f"{_PERSON}{NUL}.png",
        f"{NUL}{NUL}",
        "a\\0b",
        "%00",
        "\\x00",
        "\\u0000",
        " a",
        "a ",
        "\ta",
        "a\n",
        " ",
    )
    yield from ("\ufeffjane", "jane\ufeff", "\ufffejane", "ï»¿jane", "\x1a", "\x04", "a\bb", "password\rxxx")


def _long() -> Iterator[str]:
    for size in (63, 64, 65, 127, 128, 129, 255, 256, 1_023, 4_097, 65_536, 1_000_000):
        yield "a" * size
    yield from (
        "é" * 64,
        "é" * 128,
        "é" * 129,
        "😀" * 128,
        "a " * 64,
        "a" * 127 + "\n",
        "\\" * 128,
        '"' * 128,
        "&" * 128,
    )


def _quotes() -> Iterator[str]:
    for mark in (
        "'",
        '"',
        "`",
        "´",
        "''",
        '""',
        "'\"",
        "\\'",
        '\\"',
        "\\",
        "\\\\",
        "\\\\'",
        "«x»",
        "'''",
        '"""',
        "\\u0022",
    ):
        yield mark
        yield f"a{mark}b"
    yield from (
        '","',
        "','",
        '";"',
        "';'",
        '"}',
        '"]}',
        '{"a":1}',
        "[1]",
        '\\"}',
        "a,b",
        'a,"b',
        '"a,b',
        "a;b",
        "a\tb",
        "a|b",
    )


def _documents() -> Iterator[str]:
    yield from (
        "- a",
        "a: b",
        "a:b",
        ": a",
        "? a",
        "&a",
        "*a",
        "<<: *a",
        "!!python/object:os.system",
        "!x",
        "|",
        ">",
        ">-",
        "%TAG",
    )
    yield from (
        "---",
        "...",
        "# a",
        "a #b",
        "[a",
        "{a",
        "{a: b}",
        "~",
        "=",
        "y",
        "n",
        "0o7",
        "12:30",
        "2026-11-01",
        "a: |\n b",
    )
    yield from (
        '{"a"',
        "\\u0061",
        "\\ud83d",
        "/*x*/",
        "//x",
        '"',
        "NaN",
        '\\"',
        '{"__proto__": 1}',
        '{"$ref": "#"}',
        '{"request_id": 1}',
    )
    yield from (
        "[section]",
        "a=b",
        "a = 'b'",
        "export A=b",
        "<?php",
        "<x/>",
        "#!/bin/sh",
        "\\documentclass",
        "\\input{x}",
        "PK\x03\x04",
    )


def _lines() -> Iterator[str]:
    forged = "2026-11-01 INFO request 1 promoted"
    for end in (
        "\n",
        "\r",
        "\r\n",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1e",
        "\x85",
        "\u2028",
        "\u2029",
        "\\n",
        "%0a",
        "%0d%0a",
        "&#10;",
    ):
        yield f"jane{end}{forged}"
    yield from (
        "a\r\nSet-Cookie: x=y",
        "a\r\n\r\n<script>",
        'a\n{"call": "metrics"}',
        "a\n,,,,",
        "\n",
        "\r\n",
        "a\n\nb",
        "\n# TYPE x gauge\nx 1",
    )


CATEGORIES = {
    "reserved words": _reserved,
    "numbers in disguise": _numbers,
    "unicode": _unicode,
    "emoji": _emoji,
    "control characters": _controls,
    "very long": _long,
    "quotes": _quotes,
    "SQL": corpora_code.sql,
    "shell": corpora_code.shell,
    "HTML and Markdown": corpora_code.markup,
    "templates and formats": corpora_code.templates,
    "formulas": corpora_code.formulas,
    "YAML and JSON": _documents,
    "paths": corpora_code.paths,
    "addresses": corpora_code.addresses,
    "terminals": corpora_code.terminals,
    "lines": _lines,
}
STRINGS: dict[str, tuple[str, ...]] = {name: tuple(dict.fromkeys(made())) for name, made in CATEGORIES.items()}
ALL: tuple[str, ...] = tuple(dict.fromkeys(text for found in STRINGS.values() for text in found))
