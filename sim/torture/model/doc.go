// Package model is a rig: the real spool, the real contract and the real store
// of the centre, with a link between them that loses, repeats and reorders, are
// held against a plain model in memory over many random histories of append,
// delivery, answer, crash and restart of either side, and cards that go back in
// time.
//
// It runs no broker, no uplink and no ingest: packages peer and kill do.
package model
