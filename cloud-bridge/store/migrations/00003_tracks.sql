-- A track is read from what the device signed: a batch of fixes is one row that
-- says when they were, and not a row for each of them.

-- +goose Up

-- Events with fixes whose times the device believed.
CREATE TABLE tracks (
  device INTEGER NOT NULL REFERENCES devices,
  last   INTEGER NOT NULL, -- of those times
  first  INTEGER NOT NULL,
  event  INTEGER NOT NULL REFERENCES events,
  PRIMARY KEY (device, last, event)
) STRICT, WITHOUT ROWID;
INSERT INTO tracks (device, last, first, event) SELECT device, max(at), min(at), event FROM fixes GROUP BY device, event;
DROP TABLE fixes;
