-- The way of an incident: units, approvals, escalation; who did what, chained;
-- the grid, the groups, the roster; what the centre tells its devices.

-- +goose Up

ALTER TABLE incidents ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN tier TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN cell TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN village TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN township TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN district TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN work TEXT NOT NULL DEFAULT ''; -- JSON: see work in incidentrow.go
UPDATE incidents SET owner = coalesce(acknowledged_by, '');
UPDATE incidents SET work = json_object('units', json_array(json_object('name', dispatched_unit, 'by', dispatched_by,
    'at', strftime('%Y-%m-%dT%H:%M:%fZ', dispatched_at / 1000.0, 'unixepoch'), 'reached', 'sent')),
    'first_sent', strftime('%Y-%m-%dT%H:%M:%fZ', dispatched_at / 1000.0, 'unixepoch'))
  WHERE dispatched_at IS NOT NULL;
CREATE INDEX incidents_by_time ON incidents (received_at);

ALTER TABLE timeline ADD COLUMN given INTEGER; -- when it was said at a device; NULL: at
ALTER TABLE timeline ADD COLUMN screen TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN place TEXT NOT NULL DEFAULT '';

CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  given   INTEGER NOT NULL, -- 0: at
  who     TEXT NOT NULL,
  screen  TEXT NOT NULL,
  place   TEXT NOT NULL,
  what    TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail  TEXT NOT NULL,
  before  BLOB NOT NULL,
  hash    BLOB NOT NULL
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, seq);
-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit record is never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit record is never deleted'); END;
-- +goose StatementEnd

-- Documents that people load as a whole: "grid", "roster".
CREATE TABLE documents (
  name TEXT PRIMARY KEY,
  rev  INTEGER NOT NULL,
  at   INTEGER NOT NULL,
  by   TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;

-- What the desk has set of a unit.
CREATE TABLE unit_states (
  device INTEGER PRIMARY KEY REFERENCES devices,
  state  TEXT NOT NULL,
  reason TEXT NOT NULL,
  by     TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;

-- What a unit's device is to be told of an incident; answered is the highest
-- rev that it has answered.
CREATE TABLE assignments (
  incident INTEGER NOT NULL REFERENCES incidents,
  device   INTEGER NOT NULL REFERENCES devices,
  rev      INTEGER NOT NULL,
  answered INTEGER NOT NULL DEFAULT 0,
  state    INTEGER NOT NULL,
  note     TEXT NOT NULL,
  given    INTEGER NOT NULL,
  said     BLOB NOT NULL, -- hash of what rev says
  since    INTEGER NOT NULL,
  PRIMARY KEY (incident, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX assignments_open ON assignments (device) WHERE answered < rev;

CREATE TABLE groups (
  id        TEXT PRIMARY KEY,
  name      TEXT NOT NULL,
  automatic INTEGER NOT NULL, -- a press sounds the others at once
  seconds   INTEGER NOT NULL  -- how long they sound
) STRICT;
CREATE TABLE members (
  device   INTEGER PRIMARY KEY REFERENCES devices, -- of one group at most
  group_id TEXT NOT NULL REFERENCES groups ON DELETE CASCADE
) STRICT;
CREATE INDEX members_by_group ON members (group_id);

-- What a box is to sound for another one's alarm.
CREATE TABLE sounds (
  incident  INTEGER NOT NULL REFERENCES incidents,
  device    INTEGER NOT NULL REFERENCES devices,
  rev       INTEGER NOT NULL,
  answered  INTEGER NOT NULL DEFAULT 0,
  on_       INTEGER NOT NULL,
  until     INTEGER NOT NULL,
  asked_at  INTEGER NOT NULL, -- when it was first to sound
  sounded_at INTEGER,         -- first, at the centre
  stopped_at INTEGER,
  why       TEXT NOT NULL DEFAULT '', -- it cannot
  PRIMARY KEY (incident, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX sounds_open ON sounds (device) WHERE answered < rev;

CREATE TABLE modes (
  device   INTEGER PRIMARY KEY REFERENCES devices,
  rev      INTEGER NOT NULL,
  answered INTEGER NOT NULL DEFAULT 0,
  drill    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  by       TEXT NOT NULL,
  at       INTEGER NOT NULL
) STRICT;

CREATE TABLE check_ins (
  event    INTEGER PRIMARY KEY REFERENCES events,
  device   INTEGER NOT NULL REFERENCES devices,
  at       INTEGER NOT NULL, -- when, as the centre knew it when it came
  received INTEGER NOT NULL,
  officer  TEXT NOT NULL,
  button   TEXT NOT NULL,
  drill    INTEGER NOT NULL,
  lat      REAL,
  lon      REAL
) STRICT;
CREATE INDEX check_ins_by_time ON check_ins (at);

-- Events that belong to an incident beside those of its alarm.
CREATE TABLE incident_events (
  incident INTEGER NOT NULL REFERENCES incidents,
  event    INTEGER NOT NULL REFERENCES events,
  PRIMARY KEY (incident, event)
) STRICT, WITHOUT ROWID;

-- Files of units: the parts stay in the events that brought them.
CREATE TABLE attachments (
  attachment INTEGER PRIMARY KEY,
  device     INTEGER NOT NULL REFERENCES devices,
  whole      BLOB NOT NULL,
  size       INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  mime       TEXT NOT NULL,
  incident   INTEGER NOT NULL, -- 0: of none
  state      TEXT NOT NULL,    -- "coming", "whole", "damaged"
  at         INTEGER NOT NULL,
  UNIQUE (device, whole)
) STRICT;
CREATE INDEX attachments_by_incident ON attachments (incident);
CREATE TABLE attachment_parts (
  attachment INTEGER NOT NULL REFERENCES attachments,
  part       INTEGER NOT NULL,
  event      INTEGER NOT NULL REFERENCES events,
  PRIMARY KEY (attachment, part)
) STRICT, WITHOUT ROWID;

-- Since when devices could not be heard, and until when.
CREATE TABLE outages (
  device INTEGER NOT NULL REFERENCES devices,
  from_  INTEGER NOT NULL,
  to_    INTEGER, -- NULL: still
  PRIMARY KEY (device, from_)
) STRICT, WITHOUT ROWID;

-- Points of guard rounds that nobody came by in time.
CREATE TABLE missed (
  round TEXT NOT NULL,
  due   INTEGER NOT NULL,
  point TEXT NOT NULL,
  at    INTEGER NOT NULL, -- when the centre said so
  PRIMARY KEY (round, due, point)
) STRICT, WITHOUT ROWID;
