package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/fengsui/fengsui/firmware/wire"
)

// List writes a table of the events in a spool file to w, without changing the
// file. It fails when an agent has the file open.
func List(path string, w io.Writer) (err error) {
	if st, err := os.Stat(path); err != nil {
		return fmt.Errorf("spool: %w", err)
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("spool %s: want a file", path)
	}
	defer func() {
		if r := recover(); r != nil { // bbolt panics on some damaged files
			err = fmt.Errorf("spool %s: %w: %v", path, ErrFormat, r)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("spool %s: in use: stop the agent first", path)
	case err != nil:
		return fmt.Errorf("spool %s: %w: %w", path, ErrFormat, err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil || string(meta.Get(keyVersion)) != version {
			return fmt.Errorf("spool %s: %w", path, ErrFormat)
		}
		fmt.Fprintf(w, "stream %x boot %d\n", meta.Get(keyStream), number(meta.Get(keyBoot)))
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "lane\tseq\tbytes\tboot\tmono\ttime\tsource\tbody")
		for _, l := range wire.Lanes() {
			b := tx.Bucket(laneBucket(l))
			if b == nil {
				return fmt.Errorf("spool %s: %w: no lane %v", path, ErrFormat, l)
			}
			if err := b.ForEach(func(k, v []byte) error { return listRecord(tw, l, k, v) }); err != nil {
				return err
			}
		}
		return tw.Flush()
	})
}

func listRecord(w io.Writer, l wire.Lane, k, v []byte) error {
	data, ok := checked(k, v)
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
