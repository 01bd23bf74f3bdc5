-- What a box says of having sounded may come before the alarm that it sounded
-- for: it is found when that comes.

-- +goose Up
CREATE INDEX events_sounded ON events (alarm) WHERE type = 26;
