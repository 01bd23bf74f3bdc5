-- What a unit does may be said by its own people, and come late.

-- +goose Up

ALTER TABLE unit_states ADD COLUMN told INTEGER; -- when the centre had it
ALTER TABLE unit_states ADD COLUMN screen TEXT NOT NULL DEFAULT 'desk';
UPDATE unit_states SET told = at;
