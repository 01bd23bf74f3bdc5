// Package fingerprint drives the fingerprint sensors of the ZFM, R30x and R503
// family over a serial port: it verifies the password, reads the sensor's
// parameters, waits for fingers, and has the sensor search its own library.
//
// [Sensor] is the protocol, one instruction a method. [Reader] is the loop of a
// device: one [Event] for each finger that is laid.
//
// What it does not do: it opens no port, it decides nothing about people (a
// slot is not an officer), and no template or image ever crosses the wire. The
// last is no promise but a construction: one function writes to the port, it
// sends only instructions on a short list, and what moves templates or images
// is not on the list (see [Opcode.Allowed]).
//
// How far an answer can be trusted: the line is a plain UART without keys, so
// whoever holds the wire can answer "slot 1". Against accidents there is more:
// an answer counts only if it has the right sum, address and length, if it
// comes after its question and within the timeout, and, for a match, if it was
// the only answer. After any failed exchange the driver gets in step with the
// sensor again before it asks anything else, so that a late answer is never
// taken for that to a later question.
package fingerprint
