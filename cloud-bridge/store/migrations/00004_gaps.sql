-- The hash of the event that up_to names; NULL when none is stored there.

-- +goose Up
ALTER TABLE lanes ADD COLUMN hash BLOB;
UPDATE lanes SET hash = (SELECT e.hash FROM streams s JOIN events e ON e.device = s.device AND e.stream = s.stream
  WHERE s.stream = lanes.stream AND e.lane = lanes.lane AND e.seq = lanes.up_to);
