"""What later migrations do to the shared tables, the same in every service.

Each function is the text of one migration. Databases have been made with it: once released it never changes, and
whatever is to be different is a further function.
"""

from __future__ import annotations

from collections.abc import Iterable


def second(*, due_tables: Iterable[str] = ()) -> list[str]:
    """What the bus refused is told beside its outbox row; a group may be asked to hear again what it handled."""
    return [
        "ALTER TABLE outbox ADD COLUMN refused_at TIMESTAMP WITH TIME ZONE, ADD COLUMN refusal TEXT",
        """CREATE TABLE replay_request (
            id TEXT NOT NULL,
            handler TEXT NOT NULL,
            topic TEXT,
            partition INTEGER,
            from_offset BIGINT,
            since TIMESTAMP WITH TIME ZONE,
            asked_by TEXT NOT NULL,
            asked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            CONSTRAINT pk_replay_request PRIMARY KEY (id)
        )""",
        "CREATE INDEX ix_replay_request_asked_at_id ON replay_request (asked_at, id)",
        """CREATE TABLE replay_partition (
            replay_id TEXT NOT NULL,
            topic TEXT NOT NULL,
            partition INTEGER NOT NULL,
            from_offset BIGINT NOT NULL,
            until_offset BIGINT NOT NULL,
            is_earliest_kept BOOLEAN NOT NULL,
            begun_at TIMESTAMP WITH TIME ZONE,
            done_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_replay_partition PRIMARY KEY (replay_id, topic, partition),
            CONSTRAINT fk_replay_partition_replay_id_replay_request
                FOREIGN KEY (replay_id) REFERENCES replay_request (id) ON DELETE CASCADE
        )""",
        "CREATE INDEX ix_replay_partition_open ON replay_partition (replay_id) WHERE done_at IS NULL",
        *grants_of_second(due_tables=due_tables),
    ]


def grants_of_second(*, due_tables: Iterable[str] = ()) -> list[str]:
    """Its rights only. How often a due row has failed tells a row that keeps failing from one that is in hand."""
    return [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON replay_request, replay_partition TO perennial_app",
        "GRANT SELECT ON replay_request, replay_partition TO perennial_audit",
        *(f"GRANT SELECT (attempts) ON {table} TO perennial_finder" for table in due_tables),
    ]
