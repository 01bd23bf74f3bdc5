-- What is missing of each lane is kept as it becomes known, so that a report
-- reads the holes and not every event.

-- +goose Up

-- Runs of numbers up to known that are not stored.
CREATE TABLE holes (
  stream   INTEGER NOT NULL REFERENCES streams,
  lane     INTEGER NOT NULL,
  from_seq INTEGER NOT NULL,
  to_seq   INTEGER NOT NULL,
  since    INTEGER NOT NULL, -- when the centre first knew
  PRIMARY KEY (stream, lane, from_seq)
) STRICT, WITHOUT ROWID;

-- Events whose hash chain does not join them to the one before.
CREATE TABLE breaks (
  stream INTEGER NOT NULL REFERENCES streams,
  lane   INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  since  INTEGER NOT NULL,
  PRIMARY KEY (stream, lane, seq)
) STRICT, WITHOUT ROWID;

-- What devices said that they gave up.
CREATE TABLE dropped (
  stream   INTEGER NOT NULL REFERENCES streams,
  lane     INTEGER NOT NULL,
  from_seq INTEGER NOT NULL,
  to_seq   INTEGER NOT NULL,
  why      INTEGER NOT NULL,
  events   INTEGER NOT NULL,
  fixes    INTEGER NOT NULL,
  first_at INTEGER NOT NULL, -- 0: not told
  last_at  INTEGER NOT NULL,
  since    INTEGER NOT NULL, -- when the centre was first told
  PRIMARY KEY (stream, lane, from_seq, to_seq, why)
) STRICT, WITHOUT ROWID;

-- Why a stream began, from its first event of that kind.
CREATE TABLE starts (
  stream      INTEGER PRIMARY KEY REFERENCES streams,
  seq         INTEGER NOT NULL,
  previous    BLOB NOT NULL,
  why         INTEGER NOT NULL,
  alarm       INTEGER NOT NULL, -- events saved, by lane
  duty        INTEGER NOT NULL,
  track       INTEGER NOT NULL,
  detail      TEXT NOT NULL,
  wall        INTEGER NOT NULL,
  wall_source INTEGER NOT NULL,
  wall_uncert INTEGER NOT NULL,
  received_at INTEGER NOT NULL
) STRICT;

ALTER TABLE streams ADD COLUMN heard_at INTEGER; -- first
UPDATE streams SET heard_at = (SELECT min(e.received_at) FROM events e WHERE e.device = streams.device AND e.stream = streams.stream);

-- the latest moment of the device's clock that a hello named; NULL before the first
ALTER TABLE streams ADD COLUMN said_boot INTEGER;
ALTER TABLE streams ADD COLUMN said_mono INTEGER;

ALTER TABLE lanes ADD COLUMN hash BLOB;                             -- of the event that up_to names; NULL when none is stored there
ALTER TABLE lanes ADD COLUMN known INTEGER NOT NULL DEFAULT 0;      -- each number up to here is stored or in a hole
ALTER TABLE lanes ADD COLUMN told INTEGER NOT NULL DEFAULT 0;       -- the highest number that the device has given an event
ALTER TABLE lanes ADD COLUMN oldest INTEGER NOT NULL DEFAULT 1;     -- the device holds nothing below
ALTER TABLE lanes ADD COLUMN dropped_to INTEGER NOT NULL DEFAULT 0; -- the highest number of the ranges that the device gave up as a whole
ALTER TABLE lanes ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0; -- arrivals that were stored already
UPDATE lanes SET hash = (SELECT e.hash FROM streams s JOIN events e ON e.device = s.device AND e.stream = s.stream
  WHERE s.stream = lanes.stream AND e.lane = lanes.lane AND e.seq = lanes.up_to);
UPDATE lanes SET known = max(up_to, highest), told = max(up_to, highest), oldest =
  coalesce((SELECT max(to_seq) FROM gaps g WHERE g.stream = lanes.stream AND g.lane = lanes.lane AND g.why = 'the device no longer holds them'), 0) + 1;

INSERT INTO holes (stream, lane, from_seq, to_seq, since)
  SELECT g.stream, g.lane, g.from_seq, g.to_seq, coalesce(s.heard_at, 0) FROM gaps g JOIN streams s ON s.stream = g.stream
  WHERE g.why = 'the device no longer holds them';
INSERT INTO holes (stream, lane, from_seq, to_seq, since)
  SELECT stream, lane, before + 1, seq - 1, received_at FROM (
    SELECT l.stream, l.lane, e.seq, e.received_at, lag(e.seq, 1, l.up_to) OVER (PARTITION BY l.stream, l.lane ORDER BY e.seq) AS before
    FROM streams s JOIN lanes l ON l.stream = s.stream AND l.highest > l.up_to
    JOIN events e ON e.device = s.device AND e.stream = l.stream AND e.lane = l.lane AND e.seq > l.up_to)
  WHERE seq > before + 1;
INSERT INTO breaks (stream, lane, seq, since)
  SELECT g.stream, g.lane, g.from_seq, coalesce(s.heard_at, 0) FROM gaps g JOIN streams s ON s.stream = g.stream WHERE g.why = 'hash chain broken';
DROP TABLE gaps;
