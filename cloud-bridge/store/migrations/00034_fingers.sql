-- What happened at readers: see FingerEvents.

-- +goose Up

CREATE INDEX events_of_fingers ON events (device, event) WHERE type IN (18, 19, 24); -- sign_refused, fault, finger_changed
