-- The newest commissioning report of a device, as its summary told.

-- +goose Up

CREATE TABLE commissioned (
	device      INTEGER PRIMARY KEY REFERENCES devices (device),
	stream      INTEGER NOT NULL, -- of the event, and its number there: what is older changes nothing
	seq         INTEGER NOT NULL,
	received_at INTEGER NOT NULL,
	verdict     TEXT NOT NULL,    -- a word of the wire
	passed      INTEGER NOT NULL, -- checks
	failed      INTEGER NOT NULL,
	skipped     INTEGER NOT NULL,
	absent      INTEGER NOT NULL,
	problems    TEXT NOT NULL,    -- ids of the checks that failed, as a JSON list
	report      BLOB NOT NULL,    -- SHA-256 of the report
	by_whom     TEXT NOT NULL,
	self_test   INTEGER NOT NULL,
	firmware    TEXT NOT NULL
) STRICT;
