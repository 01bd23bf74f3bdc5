-- What the probe of whether anything can be written writes.

-- +goose Up
CREATE TABLE probe (
  probe INTEGER PRIMARY KEY CHECK (probe = 1),
  at    INTEGER NOT NULL
) STRICT;
