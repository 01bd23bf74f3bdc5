// Package wire is the contract between a Fengsui device and the centre: the
// messages, their bytes, their signatures and the MQTT topics they travel on.
//
// A message is a CBOR map with unsigned integer keys (RFC 8949, core
// deterministic encoding, section 4.2.1) inside a tagged COSE_Sign1 envelope
// (RFC 9052, section 4.2) signed with Ed25519 (algorithm EdDSA, -8, RFC 9053,
// section 2.2). There are three kinds, told apart by COSE's external_aad, so
// that a signature over one kind never verifies as another:
//
//	kind   signed by   external_aad     topic
//	event  the device  "fs/v1/event"    fs/v1/<device>/up/alarm|duty|track
//	hello  the device  "fs/v1/hello"    fs/v1/<device>/up/hello
//	down   the centre  "fs/v1/down"     fs/v1/<device>/down
//
// Two more kinds go other ways: a [GroupAlarm] from device to device on the
// local network ("fs/v1/group"), and [SMSAlarm] and [SMSAnswer], which are
// bytes in an SMS and no CBOR.
//
// The same contract is written as a CDDL schema (RFC 8610) in fengsui.cddl,
// and as test vectors in testdata/vectors that another implementation can use.
//
// # Delivery
//
// A device numbers the events of each lane from 1, without holes, within a
// stream: the life of one spool. It publishes them with QoS 1, in order, and
// publishes them again until an [Ack] from the centre covers them; a PUBACK
// means nothing. The centre sends an Ack only after its own database commit.
// An Ack is cumulative: "every event of this device, stream and lane up to and
// including this number is committed here, or will never come". The device
// deletes an event for no other reason.
//
// At each connect, and when Acks stall, a device sends a [Hello] that names
// the oldest and the next number of each lane. The centre answers with an Ack
// over all lanes, and from the oldest number it learns what will never come
// (a centre that starts with an empty database would otherwise wait for ever).
//
// A [Notice] tells a device what became of an alarm. It is a level, not an
// edge: the centre repeats the newest one until an event with a [NoticeShown]
// body of the same or a later revision is committed.
//
// So are a [Sound] (answered by [Sounded]), an [Assignment] (by [UnitAnswer])
// and a [Mode] (by [ModeSet]). The times that they name are of the centre's
// clock, as their own CentreTime is: see [Down.Left].
//
// # Growth
//
// An unknown body type is kept as [UnknownBody], an unknown map key in the
// Extra member of what it stands in, and both are written out again unchanged;
// neither is an error. A known key never changes its meaning.
//
// This package does no I/O, keeps no state, and knows neither the spool nor
// the database.
package wire
