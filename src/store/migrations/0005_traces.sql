-- SIP messages of calls, without secrets, in a compact form. They go sooner than the records.

CREATE TABLE call_trace (
    call_id TEXT NOT NULL PRIMARY KEY,
    kept_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    trace BYTEA NOT NULL
);
CREATE INDEX call_trace_by_time ON call_trace (kept_at, bytes);
