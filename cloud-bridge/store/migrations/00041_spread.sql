-- How sure a learned place of an incident is.

-- +goose Up

ALTER TABLE incidents ADD COLUMN position_spread INTEGER; -- metres; 0: not measured
