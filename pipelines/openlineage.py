"""What a lineage server is told while an asset is made: START, then COMPLETE or FAIL, with inputs and outputs.

Every event is a line of `<root>/openlineage/events.jsonl`; where `UNLEARNING_OPENLINEAGE_URL` names a server, it is
sent there too. The file is the truth, the server a copy that may miss what came while it was away. Nothing that goes
wrong here stops the asset: it is said, and a server that does not answer is left alone for the rest of the process.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import signing
from unlearning.errors import UnlearningError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.evidence.promotion import Champion
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.stages import Stage
from unlearning.workspace import BatchFolder, Workspace

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

    from pipelines.lineage_events import Making

PROMOTION = "model_promotion"
_silent = set[str]()  # servers that did not answer in this process


def file(workspace: Workspace) -> Path:
    """Where the events lie."""
    return workspace.root / "openlineage" / "events.jsonl"


@dataclass(slots=True)
class Telling:
    """Of one asset: `made` says what it became."""

    record: Record | None = None
    reused: bool | None = None

    def made(self, record: Record, reused: bool) -> None:
        """The asset is there. Told when the block ends."""
        self.record, self.reused = record, reused


@contextmanager
def telling(
    stage: Stage, params: Params, batch: BatchFolder, run_id: str, say: Callable[[str], None]
) -> Iterator[Telling]:
    """START here, COMPLETE when the block ends, FAIL when it does not. Whatever the block raises, it raises."""
    told = Telling()
    voice = _Voice(stage.name, params, batch, run_id, say)
    voice.started(stage)
    try:
        yield told
    except BaseException as error:
        voice.failed(error)
        raise
    voice.ended(told)


def promoted(params: Params, batch: BatchFolder, now: Champion, run_id: str, say: Callable[[str], None]) -> None:
    """COMPLETE of a promotion: the certificate and the checkpoint that went in, the champion that came out."""
    voice = _Voice(PROMOTION, params, batch, run_id, say)
    inputs = {name: lineage.read(batch, name).sha256 for name in ("certificate", "unlearned_checkpoint")}
    code = lineage.code_identity()
    facts = {"code_revision": str(code["revision"]), "source_sha256": str(code["source_sha256"]), **_signed(batch)}
    voice.tell("COMPLETE", inputs, now.sha256, facts)


@dataclass(slots=True)
class _Voice:
    asset: str
    params: Params
    batch: BatchFolder
    run_id: str
    say: Callable[[str], None]
    inputs: dict[str, str | None] = field(default_factory=dict)

    def started(self, stage: Stage) -> None:
        """What it will read, as far as that is made by now."""
        self.inputs = dict.fromkeys(stage.inputs)
        with suppress(UnlearningError):  # the stage itself says what is missing
            self.inputs |= lineage.inputs(stage, self.params, self.batch)
        self.tell("START", self.inputs, None, {})

    def ended(self, told: Telling) -> None:
        """What it became, from its record alone."""
        record = told.record
        if record is None:
            return
        facts = {
            "key": record.key,
            "params_sha256": record.params_sha256,
            "code_revision": str(record.code.get("revision")),
            "source_sha256": str(record.code.get("source_sha256")),
            "reused": told.reused,
            **(_signed(self.batch) if record.asset == "certificate" else {}),
        }
        self.tell("COMPLETE", record.inputs, record.sha256, facts)

    def failed(self, error: BaseException) -> None:
        """That it failed, and by which kind of error."""
        self.tell("FAIL", self.inputs, None, {"failure": type(error).__name__})

    def tell(self, state: str, inputs: Mapping[str, str | None], sha256: str | None, facts: Mapping[str, Any]) -> None:
        """One event, to the file and the server. Raises nothing."""
        try:
            from openlineage.client.event_v2 import RunState  # a third of a second, which no code location waits for

            from pipelines import lineage_events

            facet = lineage_events.MadeFacet(self.batch.key, self.run_id, producer=lineage_events.PRODUCER, **facts)
            event = lineage_events.event(self._making(), RunState[state], inputs, {self.asset: sha256}, facet)
            _write(file(self.batch.workspace), event)
            _send(event)
        except Exception as error:
            self.say(f"lineage of {self.asset}: {state} was not told ({type(error).__name__}); the run goes on")

    def _making(self) -> Making:
        from pipelines.lineage_events import Making

        return Making(self.params.model.name, self.params.data.name, self.asset, self.batch.key, self.run_id)


def _signed(batch: BatchFolder) -> dict[str, str]:
    """Which bundle says so; nothing where it waits for a signature."""
    found = signing.facts(batch).get("bundle.index_sha256")
    return {} if found is None else {"bundle_index_sha256": found}


def _write(path: Path, event: RunEvent) -> None:
    """One line more. What a killed process left half written stays a line of its own, which no reader takes."""
    from openlineage.client.serde import Serde

    line = Serde.to_json(event).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        end = out.seek(0, 2)
        if end:
            out.seek(end - 1)
            line = line if out.read(1) == b"\n" else b"\n" + line
        out.write(line)


def _send(event: RunEvent) -> None:
    """To the server, if one is named; one that fails is not asked again by this process."""
    settings = Settings()
    url = settings.openlineage_url
    if url is None or url in _silent:
        return
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    _silent.add(url)
    config = HttpConfig(url=url, timeout=settings.openlineage_timeout_s, retry={"total": 0, "connect": 0, "read": 0})
    HttpTransport(config).emit(event)
    _silent.discard(url)
