-- Accounts of the centre's people and programs, their sessions and tokens. No
-- password and no secret is kept, only what they are checked against.

-- +goose Up
CREATE TABLE accounts (
  account     INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT NOT NULL UNIQUE,
  role        TEXT NOT NULL,
  scope       TEXT NOT NULL,  -- JSON array of the grid's nodes
  password    TEXT NOT NULL,  -- argon2id in PHC's format; empty: none
  must_change INTEGER NOT NULL,
  until       INTEGER,
  issuer      TEXT NOT NULL,
  subject     TEXT NOT NULL,
  disabled    INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  made_at     INTEGER NOT NULL,
  changed_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_by_subject ON accounts (issuer, subject) WHERE issuer <> '';

CREATE TABLE account_tokens (
  token   INTEGER PRIMARY KEY AUTOINCREMENT,
  account INTEGER NOT NULL REFERENCES accounts,
  label   TEXT NOT NULL,
  role    TEXT NOT NULL,
  digest  BLOB NOT NULL UNIQUE,
  made_at INTEGER NOT NULL,
  ends_at INTEGER,
  revoked INTEGER NOT NULL
) STRICT;

CREATE TABLE account_sessions (
  session INTEGER PRIMARY KEY AUTOINCREMENT,
  account INTEGER NOT NULL REFERENCES accounts,
  epoch   INTEGER NOT NULL,
  digest  BLOB NOT NULL UNIQUE,
  made_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  ends_at INTEGER NOT NULL,
  address TEXT NOT NULL,
  agent   TEXT NOT NULL
) STRICT;

-- One row: how often accounts and tokens were changed.
CREATE TABLE account_book (rev INTEGER NOT NULL) STRICT;
INSERT INTO account_book VALUES (0);
