"""The tables that every service has beside its own: outbox, inbox, dead letters, change log, reference copies."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from libs.common.access.tenancy import FINDER, open_to_app, protect
from libs.common.persistence.base import instant, json_column, tenant_column


@dataclass(frozen=True, slots=True)
class Machinery:
    """The shared tables on one service's metadata."""

    outbox: Table
    inbox: Table
    message_failure: Table
    change_log: Table
    known_tenant: Table
    known_clock: Table
    revoked_token: Table
    idempotency_key: Table
    replay_request: Table
    replay_partition: Table


def machinery(metadata: MetaData) -> Machinery:
    """Define the shared tables once on `metadata`."""
    return Machinery(
        outbox=Table(
            "outbox",
            metadata,
            Column("position", BigInteger, Identity(always=True), primary_key=True),
            Column("id", Text, nullable=False, unique=True),
            Column("type", Text, nullable=False),
            Column("tenant", UUID(as_uuid=False), nullable=False),
            Column("aggregate_id", Text, nullable=False),
            Column("aggregate_version", Integer, nullable=False),
            instant("occurred_at"),
            Column("test_clock", Text),
            Column("traceparent", Text),
            Column("data", LargeBinary, nullable=False),
            instant("recorded_at", server_default=text("clock_timestamp()")),
            instant("published_at", nullable=True),
            instant("refused_at", nullable=True),
            Column("refusal", Text),
            Index("ix_outbox_unpublished", "position", postgresql_where=text("published_at IS NULL")),
            Index(
                "ix_outbox_published_at", "published_at", postgresql_where=text("published_at IS NOT NULL")
            ),
            Index(
                "ix_outbox_test_clock_position",
                "test_clock",
                "position",
                postgresql_where=text("test_clock IS NOT NULL"),
            ),
        ),
        inbox=Table(
            "inbox",
            metadata,
            Column("handler", Text, primary_key=True),
            Column("message_id", Text, primary_key=True),
            instant("handled_at", server_default=text("clock_timestamp()"), index=True),
        ),
        message_failure=Table(
            "message_failure",
            metadata,
            Column("handler", Text, primary_key=True),
            Column("message_id", Text, primary_key=True),
            Column("topic", Text, nullable=False),
            Column("partition", Integer, nullable=False),
            Column("offset", BigInteger, nullable=False),
            Column("key", Text, nullable=False),
            json_column("headers"),
            Column("value", LargeBinary, nullable=False),
            Column("type", Text),
            Column("tenant", Text),
            Column("test_clock", Text),
            Column("dead", Boolean, nullable=False, server_default=text("false")),
            Column("attempts", Integer, nullable=False, server_default=text("0")),
            instant("next_try_at", nullable=True),
            Column("error", Text, nullable=False),
            Column("trace_id", Text),
            instant("first_failed_at", server_default=text("clock_timestamp()")),
            instant("last_failed_at", server_default=text("clock_timestamp()")),
        ),
        change_log=Table(
            "change_log",
            metadata,
            Column("position", BigInteger, Identity(always=True), primary_key=True),
            tenant_column(),
            instant("recorded_at", server_default=text("clock_timestamp()")),
            Column("actor", Text, nullable=False),
            Column("action", Text, nullable=False),
            Column("aggregate_id", Text, nullable=False),
            Column("aggregate_version", Integer, nullable=False),
            Column("trace_id", Text),
            Index("ix_change_log_tenant_aggregate_id", "tenant", "aggregate_id"),
        ),
        known_tenant=Table(
            "known_tenant",
            metadata,
            Column("tenant", UUID(as_uuid=False), primary_key=True),
            Column("name", Text, nullable=False),
            Column("mode", Text, nullable=False),
            Column("version", Integer, nullable=False),
        ),
        known_clock=Table(
            "known_clock",
            metadata,
            tenant_column(),
            Column("id", Text, primary_key=True),
            instant("now"),
            Column("version", Integer, nullable=False),
        ),
        revoked_token=Table(
            "revoked_token",
            metadata,
            Column("token_id", Text, primary_key=True),
            instant("expires_at"),
        ),
        idempotency_key=Table(
            "idempotency_key",
            metadata,
            Column("tenant", UUID(as_uuid=False), primary_key=True),
            Column("route", Text, primary_key=True),
            Column("key", Text, primary_key=True),
            Column("fingerprint", LargeBinary, nullable=False),
            Column("status", Integer, nullable=False),
            json_column("headers"),
            Column("body", LargeBinary, nullable=False),
            instant("created_at", server_default=text("clock_timestamp()")),
            instant("expires_at", index=True),
        ),
        replay_request=Table(
            "replay_request",
            metadata,
            Column("id", Text, primary_key=True),
            Column("handler", Text, nullable=False),
            Column("topic", Text),
            Column("partition", Integer),
            Column("from_offset", BigInteger),
            instant("since", nullable=True),
            Column("asked_by", Text, nullable=False),
            instant("asked_at", server_default=text("clock_timestamp()")),
            Index("ix_replay_request_asked_at_id", "asked_at", "id"),
        ),
        replay_partition=Table(
            "replay_partition",
            metadata,
            Column("replay_id", ForeignKey("replay_request.id", ondelete="CASCADE"), primary_key=True),
            Column("topic", Text, primary_key=True),
            Column("partition", Integer, primary_key=True, autoincrement=False),
            Column("from_offset", BigInteger, nullable=False),
            Column("until_offset", BigInteger, nullable=False),
            Column("is_earliest_kept", Boolean, nullable=False),
            instant("begun_at", nullable=True),
            instant("done_at", nullable=True),
            Index("ix_replay_partition_open", "replay_id", postgresql_where=text("done_at IS NULL")),
        ),
    )


def protect_machinery() -> list[str]:
    """Grants and policies of the shared tables, for a service's first migration.

    Databases were made with it: it never changes. What came later stands in `shared_migrations`.
    """
    return [
        *open_to_app("outbox"),
        *open_to_app("inbox"),
        *open_to_app("message_failure"),
        *open_to_app("revoked_token"),
        *protect("change_log", writes="SELECT, INSERT"),
        *protect("known_tenant"),
        *protect("known_clock"),
        *protect("idempotency_key"),
        # The scheduler asks for each moved clock's rows by that clock's own time.
        f"CREATE POLICY clocks ON known_clock FOR SELECT TO {FINDER} USING (true)",
        f"GRANT SELECT (tenant, id, now) ON known_clock TO {FINDER}",
        # Housekeeping asks whose keys have expired, and then drops them as each tenant's app.
        f"CREATE POLICY expired_keys ON idempotency_key FOR SELECT TO {FINDER} USING (expires_at <= now())",
        f"GRANT SELECT (tenant, expires_at) ON idempotency_key TO {FINDER}",
        # Whoever moves a test clock asks again and again what was last said under it.
        "CREATE INDEX IF NOT EXISTS ix_outbox_test_clock_position ON outbox (test_clock, position) "
        "WHERE test_clock IS NOT NULL",
    ]
