// Package diskfault is the rig of the disk that fails: strace makes the k-th
// system call of a kind that a device or the centre makes fail with EIO or
// ENOSPC, while people press. What a lamp, a log or an acknowledgement promised
// must be there after a start without faults, and every process must come back.
//
// It cuts no power and damages no file; packages powercut and damage do.
package diskfault
