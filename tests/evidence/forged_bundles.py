"""Bundles whose envelopes, signatures or bytes are wrong: by name, beside those of broken_bundles.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.evidence.broken_bundles import BREAKS, LATE, Break, breaks
from tests.evidence.sealing import Draft, Tree, keyid, trusted


def _text(rule: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """A break of the sealed bytes."""
    BREAKS[name] = Break(rule, lambda draft: draft.text.append(change))


@breaks("spec 6")
def index_by_the_pipeline_alone(draft: Draft) -> None:
    draft.signers[len(draft.statements) - 1] = ["pipeline"]


@breaks("spec 6")
def index_by_two_pipelines(draft: Draft) -> None:
    draft.keys.append(trusted("second", "pipeline"))
    draft.signers[len(draft.statements) - 1] = ["pipeline", "second"]


@breaks("spec 6")
def index_by_three(draft: Draft) -> None:
    draft.keys.append(trusted("second", "pipeline"))
    draft.signers[len(draft.statements) - 1] = ["pipeline", "second", "officer"]


@breaks("spec 6")
def statement_by_the_officer(draft: Draft) -> None:
    draft.signers[0] = ["officer"]


@breaks("spec 6")
def statement_by_two(draft: Draft) -> None:
    draft.signers[1] = ["officer", "pipeline"]


@breaks("spec 6")
def statement_by_a_stranger(draft: Draft) -> None:
    draft.signers[0] = ["stranger"]


@breaks("spec 6")
def index_by_a_stranger_too(draft: Draft) -> None:
    draft.signers[len(draft.statements) - 1] = ["officer", "pipeline", "stranger"]


@breaks("spec 5")
def key_not_yet_good(draft: Draft) -> None:
    draft.keys[0] = trusted("pipeline", "pipeline", valid_from=LATE)


@breaks("spec 5")
def key_no_longer_good(draft: Draft) -> None:
    draft.keys[1] = trusted("officer", "privacy_officer", valid_until=draft.index["issued_at"])


@breaks("spec 5")
def key_revoked(draft: Draft) -> None:
    draft.keys[1] = trusted("officer", "privacy_officer", revoked_from="2026-01-02T00:00:00+00:00")


def _first_line(change: Callable[[Tree], Any]) -> Callable[[bytes], bytes]:
    """The sealed bundle with its first envelope changed after signing."""

    def changed(content: bytes) -> bytes:
        first, _, rest = content.partition(b"\n")
        tree = json.loads(first)
        change(tree)
        return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode() + b"\n" + rest

    return changed


def _flipped(tree: Tree) -> None:
    sig = bytearray(base64.b64decode(tree["signatures"][0]["sig"]))
    sig[0] ^= 1
    tree["signatures"][0]["sig"] = base64.b64encode(sig).decode()


_text("spec 6", "signature_flipped", _first_line(_flipped))
_text("spec 6", "signature_short", _first_line(lambda tree: tree["signatures"][0].update(sig="AAAA")))
_text("spec 6", "signature_no_base64", _first_line(lambda tree: tree["signatures"][0].update(sig="*")))
_text("spec 6", "signature_of_another", _first_line(lambda tree: tree["signatures"][0].update(keyid=keyid("officer"))))
_text("spec 6", "signature_none", _first_line(lambda tree: tree.update(signatures=[])))
_text("spec 6", "signature_twice", _first_line(lambda tree: tree["signatures"].append(tree["signatures"][0])))
_text("spec 6", "type_other", _first_line(lambda tree: tree.update(payloadType="application/json")))
_text("spec 6", "envelope_field_more", _first_line(lambda tree: tree.update(more=1)))
_text("spec 6", "payload_other_base64", _first_line(lambda tree: tree.update(payload=tree["payload"] + "\n")))
_text("spec 6", "payload_no_json", _first_line(lambda tree: tree.update(payload="AAAA")))
_text("spec 6", "space", lambda content: content.replace(b'"payload":', b'"payload": ', 1))
_text("spec 6", "no_last_line_feed", lambda content: content[:-1])
_text("spec 6", "line_feed_more", lambda content: content + b"\n")
_text("spec 6", "carriage_return", lambda content: content.replace(b"\n", b"\r\n"))
_text("spec 6", "empty", lambda content: b"")
_text("spec 6", "too_many_lines", lambda content: content.splitlines(keepends=True)[0] * 65)
_text("spec 6", "too_long", lambda content: content + b" " * 2**22)
_text("spec 6", "line_twice", lambda content: content.splitlines(keepends=True)[0] + content)
_text("spec 6", "byte_order_mark", lambda content: b"\xef\xbb\xbf" + content)


@breaks("spec 6")
def fraction(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["buildDefinition"]["externalParameters"]["a"] = 0.5


@breaks("spec 6")
def integer_too_large(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["buildDefinition"]["externalParameters"]["a"] = 2**53


@breaks("spec 7.5")
def two_levels_at_once(draft: Draft) -> None:
    properties = {*draft.of("svr/v0.2")[0]["properties"], "FORGET_C1", "FORGET_C2"}
    draft.of("svr/v0.2")[0]["properties"] = sorted(properties)


@breaks("spec 6")
def configuration_twice(draft: Draft) -> None:
    said = draft.of("test-result/v0.1")[0]
    said["configuration"] = [said["configuration"][0]] * 2


@breaks("spec 6")
def parameter_named_oddly(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["buildDefinition"]["externalParameters"]["a b"] = 1


@breaks("spec 6")
def parameter_a_list(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["buildDefinition"]["internalParameters"]["a"] = [1]
