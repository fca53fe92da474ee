-- The directory as its compact table: one text per file of it, and the edition all of them belong to.

CREATE TABLE directory_edition (
    edition BIGINT NOT NULL PRIMARY KEY,
    imported_at BIGINT NOT NULL
);
CREATE TABLE directory_part (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL
);
