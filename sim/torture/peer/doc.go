// Package peer has two rigs around one harness: the shipping spool and uplink,
// the shipping ingest and store, a real broker, and between device and broker a
// proxy of ours that speaks MQTT and can misbehave in every way that a broker or
// a link is known to. All of it runs in one bubble of fake time.
//
// The first rig lets the proxy misbehave at random, the second keeps the link
// down for three days and then lets it come and go a thousand times. Lamps and
// buttons are not in it: packages kill and powercut press those.
package peer
