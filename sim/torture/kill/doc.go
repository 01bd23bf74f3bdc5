// Package kill is the rig of SIGKILL: devices and the centre are killed at
// random moments while people press buttons and a dispatcher closes incidents.
// Everything that runs is the shipping code in processes of its own; who judges
// is the ledger of what was pressed and seen, and package witness.
//
// It cuts no power: what a process has written is there after its death, synced
// or not. Package powercut does that.
package kill
