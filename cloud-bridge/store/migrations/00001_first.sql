-- Times are Unix milliseconds. Numbers of streams, devices, … are this
-- database's own; what the wire calls them is in the columns named id.

-- +goose Up
CREATE TABLE devices (
  device        INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE,
  kind          TEXT NOT NULL,
  name          TEXT NOT NULL,
  key           BLOB NOT NULL,
  lat           REAL,
  lon           REAL,
  heard_at      INTEGER,
  firmware      TEXT NOT NULL DEFAULT '',
  -- from the newest heartbeat, which is event (health_stream, health_seq)
  health_stream INTEGER NOT NULL DEFAULT 0,
  health_seq    INTEGER NOT NULL DEFAULT 0,
  queue_alarm   INTEGER,
  queue_duty    INTEGER,
  queue_track   INTEGER,
  gps           TEXT NOT NULL DEFAULT '',
  -- from the newest sign-on or sign-off
  duty_stream   INTEGER NOT NULL DEFAULT 0,
  duty_seq      INTEGER NOT NULL DEFAULT 0,
  officer       TEXT NOT NULL DEFAULT '',
  -- the latest fix, in the units of the wire
  fix_at        INTEGER,
  fix_lat_e6    INTEGER,
  fix_lon_e6    INTEGER,
  fix_alt       INTEGER,
  fix_speed     INTEGER,
  fix_course    INTEGER,
  fix_hdop      INTEGER,
  fix_flags     INTEGER
) STRICT;

CREATE TABLE streams (
  stream INTEGER PRIMARY KEY,
  device INTEGER NOT NULL REFERENCES devices,
  id     BLOB NOT NULL,
  UNIQUE (device, id)
) STRICT;

CREATE TABLE lanes (
  stream  INTEGER NOT NULL REFERENCES streams,
  lane    INTEGER NOT NULL,
  up_to   INTEGER NOT NULL,
  highest INTEGER NOT NULL,
  PRIMARY KEY (stream, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  event       INTEGER PRIMARY KEY,
  device      INTEGER NOT NULL REFERENCES devices,
  stream      INTEGER NOT NULL REFERENCES streams,
  lane        INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  boot        INTEGER NOT NULL,
  mono        INTEGER NOT NULL,
  wall        INTEGER NOT NULL,
  wall_source INTEGER NOT NULL,
  type        INTEGER NOT NULL,
  alarm       BLOB,
  received_at INTEGER NOT NULL,
  prev        BLOB NOT NULL,
  hash        BLOB NOT NULL,
  message     BLOB NOT NULL, -- what the device signed
  UNIQUE (device, stream, lane, seq)
) STRICT;
CREATE INDEX events_by_device ON events (device, event);
CREATE INDEX events_by_alarm ON events (device, alarm) WHERE alarm IS NOT NULL;

-- Other events that came under a number that was taken.
CREATE TABLE twice (
  device      INTEGER NOT NULL REFERENCES devices,
  stream      INTEGER NOT NULL REFERENCES streams,
  lane        INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  hash        BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  message     BLOB NOT NULL,
  PRIMARY KEY (stream, lane, seq, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
  gap      INTEGER PRIMARY KEY,
  stream   INTEGER NOT NULL REFERENCES streams,
  lane     INTEGER NOT NULL,
  from_seq INTEGER NOT NULL,
  to_seq   INTEGER NOT NULL,
  why      TEXT NOT NULL,
  UNIQUE (stream, lane, from_seq, why)
) STRICT;

CREATE TABLE fixes (
  device INTEGER NOT NULL REFERENCES devices,
  at     INTEGER NOT NULL, -- the receiver's UTC
  event  INTEGER NOT NULL REFERENCES events,
  n      INTEGER NOT NULL, -- within the event
  lat_e6 INTEGER NOT NULL,
  lon_e6 INTEGER NOT NULL,
  alt    INTEGER NOT NULL,
  speed  INTEGER NOT NULL,
  course INTEGER NOT NULL,
  hdop   INTEGER NOT NULL,
  flags  INTEGER NOT NULL,
  PRIMARY KEY (device, at, event, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE faults (
  device INTEGER NOT NULL REFERENCES devices,
  code   TEXT NOT NULL,
  stream INTEGER NOT NULL, -- the newest event about it
  seq    INTEGER NOT NULL,
  active INTEGER NOT NULL,
  detail TEXT NOT NULL,
  since  INTEGER NOT NULL,
  PRIMARY KEY (device, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE incidents (
  incident        INTEGER PRIMARY KEY AUTOINCREMENT,
  device          INTEGER NOT NULL REFERENCES devices,
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
CREATE INDEX incidents_by_alarm ON incidents (device, alarm);
CREATE INDEX incidents_by_state ON incidents (state, priority, received_at);

CREATE TABLE timeline (
  entry    INTEGER PRIMARY KEY,
  incident INTEGER NOT NULL REFERENCES incidents,
  at       INTEGER NOT NULL,
  what     TEXT NOT NULL,
  by       TEXT NOT NULL,
  detail   TEXT NOT NULL
) STRICT;
CREATE INDEX timeline_by_incident ON timeline (incident, entry);

-- The newest notice of each incident that its device has not answered.
CREATE TABLE notices (
  incident INTEGER PRIMARY KEY REFERENCES incidents,
  device   INTEGER NOT NULL REFERENCES devices,
  alarm    BLOB NOT NULL,
  rev      INTEGER NOT NULL,
  state    INTEGER NOT NULL,
  unit     TEXT NOT NULL,
  since    INTEGER NOT NULL
) STRICT;

CREATE TABLE refused (
  refused INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  topic   TEXT NOT NULL,
  reason  TEXT NOT NULL,
  detail  TEXT NOT NULL,
  size    INTEGER NOT NULL
) STRICT;

CREATE TABLE refused_counts (
  reason TEXT PRIMARY KEY,
  n      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
