-- Which plan of rounds was in force when, and what the audit record says of the
-- visits that were missed.

-- +goose Up

-- Each plan that was loaded and says something else than the one before. It is
-- in force from at until the next one is.
CREATE TABLE plans (
  rev  INTEGER PRIMARY KEY, -- of the document
  at   INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
INSERT INTO plans (rev, at, body) SELECT rev, at, body FROM documents WHERE name = 'roster';

-- what the record says last of the visit: "missed", or what a check-in made of
-- it that came later
ALTER TABLE missed ADD COLUMN state TEXT NOT NULL DEFAULT 'missed';

-- One row: up to when visits were looked at, at least.
CREATE TABLE rounds_looked (at INTEGER NOT NULL) STRICT;
