//go:build !linux

package store

// diskState is not known here.
func diskState(string) (free uint64, readOnly, known bool) { return 0, false, false }
