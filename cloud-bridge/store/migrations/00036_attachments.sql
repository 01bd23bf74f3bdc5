-- A file belongs to each incident that an event of its device names it for: the
-- same bytes may be sent for two.

-- +goose Up

CREATE TABLE attachment_names (
  incident INTEGER NOT NULL REFERENCES incidents,
  device   INTEGER NOT NULL REFERENCES devices,
  id       BLOB NOT NULL, -- the first 16 bytes of attachments.whole, which may be yet to come
  PRIMARY KEY (incident, device, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_names_by_file ON attachment_names (id, device);
INSERT INTO attachment_names (incident, device, id)
  SELECT t.incident, t.device, substr(t.whole, 1, 16) FROM attachments t JOIN incidents i ON i.incident = t.incident;
