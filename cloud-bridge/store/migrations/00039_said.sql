-- When things were said at devices that others depend on, so that they can be
-- dated anew once more is known of a device's clock.

-- +goose Up

CREATE TABLE said (
  said        INTEGER PRIMARY KEY AUTOINCREMENT,
  stream      INTEGER NOT NULL REFERENCES streams,
  boot        INTEGER NOT NULL,
  mono        INTEGER NOT NULL, -- milliseconds since the start of the boot
  told_at     INTEGER NOT NULL, -- by the device
  told_source INTEGER NOT NULL,
  told_uncert INTEGER NOT NULL,
  received    INTEGER NOT NULL,
  given       INTEGER,          -- as well as is known; NULL: nothing tells
  within      INTEGER NOT NULL, -- ±
  doubted     INTEGER NOT NULL, -- given may become better
  incident    INTEGER REFERENCES incidents, -- NULL: of none
  event       INTEGER REFERENCES events     -- of a check-in; else NULL
) STRICT;
CREATE INDEX said_by_boot ON said (stream, boot);
CREATE INDEX said_in_doubt ON said (stream, boot) WHERE doubted;

ALTER TABLE timeline ADD COLUMN said INTEGER NOT NULL DEFAULT 0;
CREATE INDEX timeline_by_said ON timeline (said) WHERE said <> 0;

-- Check-ins of a device that had no time of day.
INSERT INTO said (stream, boot, mono, told_at, told_source, told_uncert, received, given, within, doubted, event)
  SELECT e.stream, e.boot, e.mono, e.wall, e.wall_source, 0, c.received, NULL, 0, 1, c.event
  FROM check_ins c JOIN events e ON e.event = c.event WHERE e.wall_source = 0;

-- Until when a boot began at the latest has the clock's drift in it now: it does
-- not move as the boot lasts.
UPDATE clues SET offset = offset + abs(mono) / 10000 WHERE source = -2;
