-- The counter is the truth about offsets: a publisher's row lock makes them gap-free in commit order, and it
-- outlives retention. Counters and offsets are updated all the time, in place: the room left in their pages
-- keeps those updates off the indexes.
CREATE TABLE bus_partition (
    topic text NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    next bigint NOT NULL DEFAULT 0 CHECK (next >= 0),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE bus_record (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    value bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition, "offset")
) WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000);

-- The offset is that of the next record to be handled. No row: the group has never owned that partition.
CREATE TABLE bus_offset (
    "group" text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL CHECK ("offset" >= 0),
    PRIMARY KEY ("group", topic, partition)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
