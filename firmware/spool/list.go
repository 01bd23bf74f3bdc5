package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// List writes a table of the events in a spool file to w, without changing the
// file. What can be read of a damaged file is written before the error comes,
// which may wrap [ErrInUse], [ErrFormat] or [ErrDamaged].
func List(path string, w io.Writer) error {
	if st, err := os.Stat(path); err != nil {
		return fmt.Errorf("spool: %w", err)
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("spool %s: want a file", path)
	}
	db, _, err := openFile(path, bolt.Options{ReadOnly: true, Timeout: time.Second})
	switch {
	case errors.Is(err, ErrInUse):
		return fmt.Errorf("spool %s: %w: stop the agent first", path, err)
	case err != nil:
		return fmt.Errorf("spool %s: %w", path, err)
	}
	defer db.Close()
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error { return list(tx, w) })
	})
	if err != nil {
		return fmt.Errorf("spool %s: %w", path, err)
	}
	return nil
}

func list(tx *bolt.Tx, w io.Writer) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: no bucket %q", ErrFormat, bucketMeta)
	}
	if v := string(meta.Get(keyVersion)); v != version {
		return fmt.Errorf("%w: version %q: want %q", ErrFormat, v, version)
	}
	streams, err := readStreams(meta)
	if err != nil {
		return err
	}
	if boot, ok := unpack(bucketMeta, keyBoot, meta.Get(keyBoot)); ok {
		fmt.Fprintf(w, "stream %v boot %d\n", streams[len(streams)-1], number(boot))
	} else {
		fmt.Fprintln(w, "boot damaged: wrong checksum")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush() // what could be read is shown, whatever follows
	for i, id := range streams {
		if i < len(streams)-1 {
			fmt.Fprintf(tw, "of the former stream %v:\n", id)
		} else if i > 0 {
			fmt.Fprintf(tw, "of the stream %v:\n", id)
		}
		fmt.Fprintln(tw, "lane\tseq\tbytes\tboot\tmono\ttime\tsource\tbody")
		for _, l := range wire.Lanes() {
			p := place{id, l}
			b := tx.Bucket(p.bucket())
			if b == nil {
				return fmt.Errorf("%w: no lane %v", ErrDamaged, p)
			}
			if err := b.ForEach(func(k, v []byte) error { return listRecord(tw, p, k, v) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func listRecord(w io.Writer, p place, k, v []byte) error {
	l := p.lane
	data, ok := unpack(p.bucket(), k, v)
	if !ok {
		_, err := fmt.Fprintf(w, "%v\t%d\t%d\t\t\t\t\tdamaged: wrong checksum\n", l, number(k), len(v))
		return err
	}
	e, err := wire.Peek(data)
	if err != nil {
		_, err = fmt.Fprintf(w, "%v\t%d\t%d\t\t\t\t\t%v\n", l, number(k), len(data), err)
		return err
	}
	_, err = fmt.Fprintf(w, "%v\t%d\t%d\t%d\t%v\t%s\t%v\t%v\n", l, e.Seq, len(data), e.Boot, e.Mono,
		e.Wall.Time().Format("2006-01-02T15:04:05.000Z"), e.Wall.Source, e.Body.Type())
	return err
}
