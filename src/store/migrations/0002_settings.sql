-- Values that this installation keeps for itself, such as the key of the callers' pseudonyms.

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
