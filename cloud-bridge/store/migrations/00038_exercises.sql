-- Exercises of groups, as they were begun: which boxes were in them, and what
-- became of it stays to be told when the group and the modes have changed.

-- +goose Up

CREATE TABLE exercises (
  exercise INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id TEXT NOT NULL,
  name     TEXT NOT NULL, -- of the group, then
  by       TEXT NOT NULL,
  at       INTEGER NOT NULL,
  until    INTEGER NOT NULL
) STRICT;
CREATE TABLE exercise_boxes (
  exercise INTEGER NOT NULL REFERENCES exercises,
  device   INTEGER NOT NULL REFERENCES devices,
  rev      INTEGER NOT NULL, -- of the mode that tells it
  told_at  INTEGER,          -- it has said that it is in it
  ended_at INTEGER,          -- before until: it was ended, or another one begun
  ended_by TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (exercise, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX exercise_boxes_by_device ON exercise_boxes (device, exercise);

-- when the box itself says that it began to sound; sounded_at is when the centre had that
ALTER TABLE sounds ADD COLUMN sounded_when INTEGER;
UPDATE sounds SET sounded_when = sounded_at;
