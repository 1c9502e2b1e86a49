"""What can be wrong with an input. Each message says what, where, and what would be right.

Each ends a verb with exit code 2.
"""


class UnlearningError(Exception):
    """Base of every refusal. A verb that raises one leaves every file and ledger as it was."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(sentence))


class ParamsError(UnlearningError):
    """params.yaml, or a recipe chosen in it, is not what the schema allows."""


class RequestError(UnlearningError):
    """A deletion request is malformed, contradicts an earlier one, or asks for what it may not."""


class ConflictError(RequestError):
    """A request comes back under the same id with another body."""


class DataError(UnlearningError):
    """A shard, an image or an index is missing, truncated, undecodable or not what its hash says."""


class ManifestError(UnlearningError):
    """A forget, retain or holdout set is empty, overlaps another, or was changed after sealing."""


class CheckpointError(UnlearningError):
    """A checkpoint is missing, damaged, of another recipe, or holds a number that is not finite."""


class EvidenceError(UnlearningError):
    """A hash, a report or a certificate does not say what the files say."""


class PolicyError(UnlearningError):
    """The policy admits no unlearning for this batch: no rule applies, or the one that does says to suppress."""


class StorageError(UnlearningError):
    """A file could not be written (the disk is full, say); what stood there before still stands."""


def printable(sentence: str) -> str:
    """A sentence as one line that any terminal shows as it is: what it quotes may hold line breaks or escape codes."""
    if sentence.isprintable():
        return sentence
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in sentence)
