-- Which devices can be heard, and incidents that no device is behind.

-- +goose NO TRANSACTION
-- +goose Up
PRAGMA foreign_keys = OFF;

CREATE TABLE incidents_new (
  incident        INTEGER PRIMARY KEY AUTOINCREMENT,
  device          INTEGER REFERENCES devices, -- NULL: of the whole district
  alarm           BLOB NOT NULL,
  rev             INTEGER NOT NULL,
  state           TEXT NOT NULL,
  kind            TEXT NOT NULL,
  silent          INTEGER NOT NULL,
  drill           INTEGER NOT NULL,
  priority        INTEGER NOT NULL,
  presses         INTEGER NOT NULL,
  -- the first press known, which is event (press_stream, press_seq)
  press_stream    INTEGER NOT NULL,
  press_seq       INTEGER NOT NULL,
  pressed_at      INTEGER,
  pressed_source  INTEGER NOT NULL,
  pressed_uncert  INTEGER NOT NULL,
  received_at     INTEGER NOT NULL,
  lat             REAL,
  lon             REAL,
  position_source TEXT,
  position_age    INTEGER,
  officer         TEXT NOT NULL,
  acknowledged_by TEXT,
  acknowledged_at INTEGER,
  dispatched_unit TEXT,
  dispatched_by   TEXT,
  dispatched_at   INTEGER,
  closed_code     TEXT,
  closed_by       TEXT,
  closed_note     TEXT,
  closed_at       INTEGER,
  cleared_by      TEXT,
  cleared_at      INTEGER,
  shown_rev       INTEGER,
  shown_state     TEXT,
  shown_at        INTEGER
) STRICT;
INSERT INTO incidents_new SELECT * FROM incidents;
DROP TABLE incidents;
ALTER TABLE incidents_new RENAME TO incidents;
CREATE INDEX incidents_by_alarm ON incidents (device, alarm);
CREATE INDEX incidents_by_state ON incidents (state, priority, received_at);
CREATE INDEX incidents_standing ON incidents (kind, device) WHERE state <> 'closed';

ALTER TABLE devices ADD COLUMN alive_at INTEGER; -- of the youngest sign of life
ALTER TABLE devices ADD COLUMN link TEXT NOT NULL DEFAULT 'never';
ALTER TABLE devices ADD COLUMN link_since INTEGER;
-- which start of it is live, and which was before that one
ALTER TABLE devices ADD COLUMN run_stream BLOB;
ALTER TABLE devices ADD COLUMN run_boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN before_stream BLOB;
ALTER TABLE devices ADD COLUMN before_boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN returns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN returned_at INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET alive_at = heard_at;

PRAGMA foreign_keys = ON;
