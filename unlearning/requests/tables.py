"""The ledger's tables, for SQLite and PostgreSQL alike. Events and approvals can be added, never changed or removed."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from unlearning.requests import states

VERSION = 2  # of these tables; 1 had no tasks

METADATA = MetaData()


def _one_of(column: str, names: Collection[str]) -> CheckConstraint:
    quoted = ", ".join(f"'{name}'" for name in sorted(names))
    return CheckConstraint(f"{column} IN ({quoted})")


LEDGER = Table("ledger", METADATA, Column("version", Integer, nullable=False))

REQUESTS = Table(
    "requests",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("controller_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("digest", Text, nullable=False),  # sha256 of the body
    Column("body", Text, nullable=False),  # canonical JSON
    Column("goal", Text, nullable=False),
    Column("dataset", Text),
    Column("source", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", Text, nullable=False),
    Column("due_rule", Text, nullable=False),
    Column("due_inputs", Text, nullable=False),  # JSON: what the due date was computed from
    Column("extended", Text),  # the reason code of the one extension
    Column("alarm", Float, nullable=False),  # the highest that rang: a share of the legal time
    Column("alarm_at", Text),  # when the next one rings
    UniqueConstraint("controller_id", "request_id"),
    _one_of("state", states.OF_A_REQUEST),
    sqlite_autoincrement=True,
)
Index("requests_by_id", REQUESTS.c.request_id)
Index("requests_by_state", REQUESTS.c.state, REQUESTS.c.seq)
Index("requests_by_alarm", REQUESTS.c.alarm_at)

BATCHES = Table(
    "batches",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("dataset", Text),
    Column("goal", Text, nullable=False),
    Column("sealed_at", Text, nullable=False),
    Column("cut_off", Text),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("request_seq", Integer, ForeignKey("requests.seq"), nullable=False),
    Column("model", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("batch", Text, ForeignKey("batches.key"), nullable=False),
    Column("state", Text, nullable=False),
    UniqueConstraint("request_seq", "model", "attempt"),
    _one_of("state", states.OF_A_TASK),
    sqlite_autoincrement=True,
)
Index("tasks_by_batch", TASKS.c.batch, TASKS.c.state)
_LIVE = text("state NOT IN ('requeued', 'rolled_back')")
# No double effect: the database itself refuses a request in two live tasks of one model.
Index("one_live_task", TASKS.c.request_seq, TASKS.c.model, unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("request_seq", Integer, ForeignKey("requests.seq"), nullable=False),
    Column("task_seq", Integer, ForeignKey("tasks.seq")),
    Column("kind", Text, nullable=False),  # `state`: a transition; else a note, and `old` and `new` are the same
    Column("at", Text, nullable=False),
    Column("old", Text),
    Column("new", Text, nullable=False),
    Column("batch", Text),
    Column("reason", Text, nullable=False),  # a code, never a sentence about somebody
    _one_of("kind", ("state", "alarm", "extension", "approval", "conflict")),
    sqlite_autoincrement=True,
)
Index("events_by_request", EVENTS.c.request_seq, EVENTS.c.seq)

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("request_seq", Integer, ForeignKey("requests.seq"), nullable=False),
    Column("what", Text, nullable=False),
    Column("digest", Text, nullable=False),  # sha256 of the proposal
    Column("role", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("request_seq", "what", "digest"),
    sqlite_autoincrement=True,
)

LINES = Table(
    "lines",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("registered_at", Text, nullable=False),
)


def _append_only(table: Table) -> None:
    name = table.name
    for verb, done in (("UPDATE", "changed"), ("DELETE", "removed")):
        trigger = f"CREATE TRIGGER {name}_never_{done} BEFORE {verb} ON {name}"
        stop = f"{trigger} BEGIN SELECT RAISE(ABORT, '{name} are never {done}'); END"
        event.listen(table, "after_create", DDL(stop).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
    function = (
        f"CREATE OR REPLACE FUNCTION {name}_stay() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{name} are never changed or removed'; END $$"
    )
    trigger = (
        f"CREATE TRIGGER {name}_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_stay()"
    )
    for statement in (function, trigger):
        event.listen(table, "after_create", DDL(statement).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]


for _table in (EVENTS, APPROVALS):
    _append_only(_table)
