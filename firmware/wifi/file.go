package wifi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts a state where other processes read it. A reader finds the old one or
// the new one; it outlives no power cut, and need not.
func Write(path string, s State) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("wireless state: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("wireless state: %w", err)
	}
	return nil
}

// Read returns what Write has put there, or nil where nothing is yet.
func Read(path string) (*State, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wireless state: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("wireless state: %s: %w", path, err)
	}
	return s, nil
}
