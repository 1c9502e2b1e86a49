"""What may follow what, and the way a batch walks."""

from __future__ import annotations

import pytest

from unlearning.errors import RequestError
from unlearning.requests import states


@pytest.mark.parametrize(
    ("old", "new", "walked"),
    [
        ("resolving", "promoted", ("scheduled", "unlearning", "evaluating", "ready", "promoted")),
        ("scheduled", "unlearning", ("unlearning",)),
        ("ready", "ready", ()),
        ("promoted", "ready", ()),
        ("verified", "ready", ()),
        ("ready", "completed", ()),
        ("unlearning", "failed", ("failed",)),
        ("promoted", "failed", ()),
        ("failed", "failed", ()),
        ("failed", "ready", ("scheduled", "unlearning", "evaluating", "ready")),
        ("failed", "promoted", ("scheduled", "unlearning", "evaluating", "ready", "promoted")),
        ("failed", "evaluating", ()),
    ],
)
def test_the_way_of_a_batch(old: str, new: str, walked: tuple[str, ...]) -> None:
    assert states.steps(old, new) == walked
    for before, after in zip((old, *walked), walked, strict=False):
        states.require(before, after, "r1")


def test_what_may_not_follow_is_said_with_what_may() -> None:
    with pytest.raises(RequestError) as caught:
        states.require("scheduled", "cancelled", "r1")
    assert str(caught.value) == ("request r1: scheduled cannot become cancelled; what may follow: failed, unlearning")
    for ended in ("completed", "no state"):
        with pytest.raises(RequestError) as caught:
            states.require(ended, "received", "r2")
        assert str(caught.value) == (
            f"request r2: {ended} cannot become received; what may follow: nothing: it has ended"
        )


def test_every_state_is_somebodys_and_leads_to_one_that_there_is() -> None:
    assert states.LEGAL.keys() == states.OF_A_REQUEST | states.OF_A_TASK
    for after in states.LEGAL.values():
        assert after <= states.LEGAL.keys()


def test_after_the_manifest_is_frozen_nothing_is_called_off() -> None:
    for state in states.LINE[states.LINE.index("scheduled") :]:
        assert not states.LEGAL[state] & states.CALLED_OFF
