// Package drain measures what a device does with a long backlog, in benchmarks
// with real processes: how fast 100,000 full batches of a track reach the
// centre's database, what is lost and what comes twice when each side is killed
// meanwhile, and how long a press takes that is made in between.
//
// Each figure stands beside one of the same run. For the rate and for the kills
// that is a mosquitto bridge whose two brokers save on every change; the
// benchmarks are skipped, saying so, where there is no mosquitto. For a press it
// is the same press with nothing else to send. `make bench` runs them all; the
// package has no other code.
package drain
