// Package gaps holds the centre's gap report to a count outside it: a real
// agent on a full, then a damaged spool, a broker, the centre's ingest, store
// and API, in a bubble of fake time. The judges are the numbers that the
// device's own file has given out, the rows that the database holds, and the
// fixes that were put in. It tests no power cut and no bad link; other rigs do.
package gaps
