-- When each boot of a device began, from everything that tells it; and the
-- times of presses, corrected by that.

-- +goose Up

-- A clue says what the time of day was at a moment of a boot: offset is the
-- time of day minus the monotonic time, all in milliseconds.
CREATE TABLE clues (
  stream INTEGER NOT NULL REFERENCES streams,
  boot   INTEGER NOT NULL,
  source INTEGER NOT NULL, -- of the wire, or below 0: see clues.go
  mono   INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  within INTEGER NOT NULL, -- ±
  PRIMARY KEY (stream, boot, source)
) STRICT, WITHOUT ROWID;

ALTER TABLE incidents ADD COLUMN press_boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN press_mono INTEGER NOT NULL DEFAULT 0;
-- what the device said of the time of the press
ALTER TABLE incidents ADD COLUMN told_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN told_source INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN told_uncert INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0; -- pressed_at is not what it said
ALTER TABLE incidents ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0;   -- pressed_at may become better
UPDATE incidents SET told_at = coalesce(pressed_at, 0), told_source = pressed_source, told_uncert = pressed_uncert;
CREATE INDEX incidents_by_press ON incidents (press_stream, press_boot);
CREATE INDEX incidents_in_doubt ON incidents (press_stream, press_boot) WHERE doubted;

-- Fixes whose time the device did not believe. They are dated when they are read.
CREATE TABLE undated (
  device INTEGER NOT NULL REFERENCES devices,
  stream INTEGER NOT NULL REFERENCES streams,
  boot   INTEGER NOT NULL,
  mono   INTEGER NOT NULL, -- milliseconds since the start of the boot
  event  INTEGER NOT NULL REFERENCES events,
  n      INTEGER NOT NULL, -- within the event
  said   INTEGER NOT NULL, -- the receiver's UTC
  lat_e6 INTEGER NOT NULL,
  lon_e6 INTEGER NOT NULL,
  alt    INTEGER NOT NULL,
  speed  INTEGER NOT NULL,
  course INTEGER NOT NULL,
  hdop   INTEGER NOT NULL,
  flags  INTEGER NOT NULL,
  PRIMARY KEY (device, event, n)
) STRICT, WITHOUT ROWID;
