-- Campaigns as JSON documents; their shape is the campaign room's.

CREATE TABLE campaign (
    id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);
