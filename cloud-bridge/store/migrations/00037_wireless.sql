-- The wireless network of a device, as its last heartbeat said; NULL: it has none.

-- +goose Up

ALTER TABLE devices ADD COLUMN wifi TEXT; -- joined, away, refused …
ALTER TABLE devices ADD COLUMN wifi_ssid TEXT;
ALTER TABLE devices ADD COLUMN wifi_dbm INTEGER;
