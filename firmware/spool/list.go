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
	stream, ok := unpack(bucketMeta, keyStream, meta.Get(keyStream))
	boot, ok2 := unpack(bucketMeta, keyBoot, meta.Get(keyBoot))
	if ok && ok2 {
		fmt.Fprintf(w, "stream %x boot %d\n", stream, number(boot))
	} else {
		fmt.Fprintln(w, "stream or boot damaged: wrong checksum")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush() // what could be read is shown, whatever follows
	fmt.Fprintln(tw, "lane\tseq\tbytes\tboot\tmono\ttime\tsource\tbody")
	for _, l := range wire.Lanes() {
		b := tx.Bucket(laneBucket(l))
		if b == nil {
			return fmt.Errorf("%w: no lane %v", ErrDamaged, l)
		}
		if err := b.ForEach(func(k, v []byte) error { return listRecord(tw, l, k, v) }); err != nil {
			return err
		}
	}
	return nil
}

func listRecord(w io.Writer, l wire.Lane, k, v []byte) error {
	data, ok := unpack(laneBucket(l), k, v)
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
