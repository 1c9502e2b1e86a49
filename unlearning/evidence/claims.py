"""What a certificate may claim, decided from evidence, and all that it does not.

    C0  suppressed: a filter withholds pictures, no weight was touched (evidence/suppression.py)
    C1  approximate: an algorithm ran, and passed the tests that are listed
    C2  exact for the members of a sharded model that held the data
    C3  the whole model was trained again without the data, and its training log lies in the asset

C2 and C3 ask that the weights are bit for bit those of the reference (evidence/exactness.py); else it is C1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearning.evidence import exactness
from unlearning.evidence.lineage import Record
from unlearning.gates import Verdict

TRACE = "log.jsonl"
STEPS = "trace.json"
PURGED = "that stored images, older checkpoints, caches and backups were purged: only a signed purge statement says so"
SIGNED = "who wrote this file: it is hashed; the bundle beside it is signed, and says by which keys"
_SAID_BETTER = (PURGED.partition(":")[0], SIGNED.partition(":")[0])  # by the bundle, of itself
_ALWAYS = (
    "that the data is provably gone: approximate unlearning cannot be proved from a model's weights",
    "anything about another digest: a fine-tuned, merged, quantised or re-trained copy needs a new evaluation",
    "that near duplicates beyond equal pixels were found",
    PURGED,
    "anything about a filter that was served meanwhile: suppression (C0) is never deletion, and no test here counts it",
    "the identity of who asked: the controller attests it",
    SIGNED,
)
_ENTRUSTED = "that the training log was written by the training it describes: it is hashed as a whole, not step by step"
_TRACED = (
    "that the training trace was written by the training it describes: its steps are chained by hash, and running "
    "segments of it again (`unlearning verify DIR --replay K`) tests it, but an operator who lies well passes that, too"
)


def level(verdict: Verdict, tier: str, exact: Mapping[str, Any] | None, unlearned: Record) -> str:
    """`none` for a refused model, else C1, C2 or C3."""
    if not verdict.passed:
        return "none"
    if exact is None or exact["replay"] not in exactness.EQUAL:
        return "C1"
    traced = any(file.path == TRACE for file in unlearned.outputs)
    return "C3" if tier == "retrain" and traced else "C2"


def traced(unlearned: Record) -> bool:
    """Whether the asset holds a training trace, chained step by step."""
    return any(file.path == STEPS for file in unlearned.outputs)


def not_claimed(claimed: str, report: Mapping[str, Any], verdict: Verdict, traced: bool = False) -> list[str]:
    """Every sentence that this certificate does not say, of its level and of the attacks in its report."""
    sentences = [*_ALWAYS, *_of_earlier(report), *_of_attacks(report, verdict)]
    if claimed != "C3":
        return sentences
    return [*sentences, _TRACED if traced else _ENTRUSTED]


def of_bundle(certified: Sequence[str], one_machine: bool, promoted: bool, purged: bool) -> list[str]:
    """Every sentence that a bundle does not say: those of its certificate, and those of signing.

    one_machine  both private keys lie where the pipeline runs
    """
    said = [sentence for sentence in certified if sentence.partition(":")[0] not in _SAID_BETTER]
    said += [
        "that the statements are true: two keys signed what the pipeline says it did, and nobody re-ran it",
        "that the data set committed to is all data that was ever used: it is what was stored when the batch was made",
    ]
    if one_machine:
        said.append(
            "that two people agreed: both keys lie on one machine, so whoever controls it can sign with both; an "
            "officer's key kept elsewhere would show it"
        )
    if not promoted:
        said.append("that this model is served anywhere: there is no promotion statement")
    said.append(
        "that copies outside the places which the purge statement lists are gone, or that backups it names have ended"
        if purged
        else "that stored images, older checkpoints, caches and backups were purged: there is no purge statement"
    )
    return said


def of_no_match(provable: bool, one_machine: bool) -> list[str]:
    """Every sentence that the answer "nothing matched" does not say."""
    said = [
        "that no picture of this person is stored: only that nothing matched what the request named",
        "anything about data sets, versions or models other than the one that is named",
        "that a change of one byte would have been recognised: tokens are of the stored bytes",
    ]
    if not provable:
        said.append("that anybody but the operator can check it: no selector of the request is of bytes or of a key")
    if one_machine:
        said.append("that two people agreed: both keys lie on one machine, so whoever controls it can sign with both")
    return said


def _of_earlier(report: Mapping[str, Any]) -> Iterator[str]:
    block = report.get("earlier")
    entries = block.get("batches") if isinstance(block, Mapping) else None
    drawn = [one for one in entries or () if not (isinstance(one, Mapping) and "purged" in one)]
    if drawn:  # of what is purged nothing is left to draw: _of_attacks says so
        yield (
            f"resistance to any attack on what {len(drawn)} earlier batches of this model forgot: their images were "
            "drawn again, under the corruption of this report, and nothing else was tried on them"
        )


def _of_attacks(report: Mapping[str, Any], verdict: Verdict) -> Iterator[str]:
    entries = report.get("attacks")
    known = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
    made = {str(one.get("kind")) for one in known if "not_made" not in one}
    yield (
        f"resistance to any attack but {', '.join(sorted(made))}, or to these with more effort"
        if made
        else "resistance to any attack: none was made"
    )
    purged = [row.sentence for row in verdict.criteria if row.name == "earlier_purged"]
    yield from (f"that what earlier batches forgot is still forgotten: {sentence}" for sentence in purged)
    judged = {row.name.removeprefix("attack_"): row for row in verdict.criteria if row.name.startswith("attack_")}
    for kind in sorted(made):
        row = judged.get(kind)
        if row is None:
            yield f"resistance to {kind}: what it found stands in the report, and no gate judges it"
        elif row.status != "pass":
            yield f"resistance to {kind}: {row.sentence}"
    for one in known:
        if "not_made" in one and str(one.get("kind")) not in made:
            yield f"resistance to {one.get('kind')}: not made, as {one['not_made']}"
