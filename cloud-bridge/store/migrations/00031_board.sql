-- What a device says of its board: why it last started, and its sensors.

-- +goose Up

ALTER TABLE devices ADD COLUMN started TEXT NOT NULL DEFAULT '';
-- a word of the wire; '' when it has said none

ALTER TABLE devices ADD COLUMN started_at INTEGER;
-- when that word was received

ALTER TABLE devices ADD COLUMN temperature INTEGER;
-- tenths of a degree Celsius, of the last heartbeat; NULL when that said nothing

ALTER TABLE devices ADD COLUMN supply INTEGER;
-- bits of the wire, of the last heartbeat; NULL when that said nothing
