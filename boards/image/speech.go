package image

import (
	"context"
	"path/filepath"

	"github.com/fengsui/fengsui/boards/speech"
)

// speechDir is where an image keeps what is said; the firmware looks there.
const speechDir = "/etc/fengsui/speech"

// speech makes the sound files, if any are wanted. It returns where they are to
// be in the image, and where they are in dir.
func (o Options) speech(ctx context.Context, dir string) (map[string]string, error) {
	if !o.Speech {
		return make(map[string]string), nil
	}
	dir = filepath.Join(dir, "speech")
	files, err := speech.Make(ctx, dir)
	if err != nil {
		return nil, err
	}
	at := make(map[string]string, len(files))
	for _, f := range files {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return nil, err
		}
		at[speechDir+"/"+filepath.ToSlash(rel)] = f
	}
	return at, nil
}
