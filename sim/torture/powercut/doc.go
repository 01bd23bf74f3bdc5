// Package powercut has disks whose power can be cut while programs write to
// them, for the rigs in this folder that cut the spool and the agent off. [Ext4]
// is a real ext4 on a loop device, shut down as a whole: what its journal and
// its writeback do not have by then is gone. [Flash] is a file system of our own
// over FUSE that does worse: what was not synced gets there in part, in another
// order, and torn; on request it loses whole pages of flash around a torn write.
// One can lie on the other.
//
// It needs root and the kernel's parts, and says which is missing. It does not
// model a disk that lies about a flush, wears out or flips bits at rest. A cut of
// an [Ext4] alone loses what the kernel held, not what the disk's own cache did.
package powercut
