-- Calls, their legs and their events. Times are microseconds since 1970, UTC.
-- A comment that begins with "sqlite:" is SQL for SQLite: rows are kept in their key's index, not beside it.

CREATE TABLE call_record (
    id TEXT NOT NULL PRIMARY KEY,
    direction TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    answered_at BIGINT,
    ended_at BIGINT,
    number TEXT,
    trunk TEXT,
    campaign TEXT,
    flow TEXT,
    flow_version BIGINT,
    caller_hmac TEXT,
    language TEXT,
    zip_prefix TEXT,
    zip TEXT,
    data_version TEXT,
    disposition TEXT,
    ended_by TEXT,
    sip_call_id TEXT
)
-- sqlite: WITHOUT ROWID
;
CREATE INDEX call_record_by_time ON call_record (started_at, id);
CREATE INDEX call_record_by_campaign ON call_record (campaign, started_at, id) WHERE campaign IS NOT NULL;
CREATE INDEX call_record_by_disposition ON call_record (disposition, started_at, id) WHERE disposition IS NOT NULL;
CREATE INDEX call_record_open ON call_record (id) WHERE ended_at IS NULL;

CREATE TABLE leg_record (
    call_id TEXT NOT NULL,
    leg BIGINT NOT NULL,
    direction TEXT NOT NULL,
    party TEXT NOT NULL,
    target_id TEXT,
    office_id TEXT,
    number TEXT,
    trunk TEXT,
    choice TEXT,
    attempt BIGINT NOT NULL,
    caller_id_policy TEXT,
    started_at BIGINT NOT NULL,
    ringing_at BIGINT,
    answered_at BIGINT,
    ended_at BIGINT,
    disposition TEXT,
    ended_by TEXT,
    sip_status BIGINT,
    q850 BIGINT,
    phrase TEXT,
    evidence TEXT,
    confidence BIGINT,
    codec TEXT,
    packets_sent BIGINT,
    packets_received BIGINT,
    packets_lost BIGINT,
    jitter_microseconds BIGINT,
    PRIMARY KEY (call_id, leg)
)
-- sqlite: WITHOUT ROWID
;

CREATE TABLE call_event (
    call_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    leg BIGINT,
    kind TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (call_id, sequence)
)
-- sqlite: WITHOUT ROWID
;
