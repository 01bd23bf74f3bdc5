-- Alarms that came by SMS, beside the events of them or before those.

-- +goose Up

-- A message of each press, as the device signed it.
CREATE TABLE texts (
  text        INTEGER PRIMARY KEY,
  device      INTEGER NOT NULL REFERENCES devices,
  alarm       BLOB NOT NULL,
  press       INTEGER NOT NULL,
  stream      BLOB NOT NULL, -- with seq: the event of the press
  seq         INTEGER NOT NULL,
  received_at INTEGER NOT NULL, -- first
  sender      TEXT NOT NULL,    -- its number, as the network gave it: where the answer goes
  route       TEXT NOT NULL,    -- modem or webhook
  message     BLOB NOT NULL,
  times       INTEGER NOT NULL DEFAULT 1, -- that it came
  UNIQUE (device, alarm, press, stream, seq)
) STRICT;

-- the cellular network, as the last heartbeat said; NULL: no modem that works
ALTER TABLE devices ADD COLUMN cell_operator TEXT;
ALTER TABLE devices ADD COLUMN cell_rat TEXT;
ALTER TABLE devices ADD COLUMN cell_dbm INTEGER;

ALTER TABLE incidents ADD COLUMN sms_at INTEGER; -- NULL: nothing of it came by SMS
-- the press by whose SMS the incident knows when, where and what; 0: by an event
ALTER TABLE incidents ADD COLUMN press_sms INTEGER NOT NULL DEFAULT 0;
