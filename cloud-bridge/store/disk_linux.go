package store

import "syscall"

// diskState returns how many bytes are free for data on a folder's file
// system (statfs(2)), and whether that is mounted read-only.
func diskState(dir string) (free uint64, readOnly, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false, false
	}
	const mountedReadOnly = 1 // ST_RDONLY
	return st.Bavail * uint64(st.Bsize), st.Flags&mountedReadOnly != 0, true
}
