package virtboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	boards "github.com/fengsui/fengsui/boards/image"
)

// A Disk is a card of the virtual board: a file, and in front of it the write
// cache of a card, whose content a power cut takes away. A machine reaches it
// over the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md), fixed newstyle.
type Disk struct {
	file *os.File
	size int64

	mu      sync.Mutex
	cache   map[int64]*[block]byte // written, not flushed; by number
	blocked chan struct{}          // closed when the card answers again; nil: it does
	lies    bool                   // it says that it has flushed, and has not
	conns   sync.WaitGroup
}

const block = 4096

// OpenDisk opens a card.
func OpenDisk(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("card: %w", err), f.Close())
	}
	return &Disk{file: f, size: st.Size() / block * block, cache: make(map[int64]*[block]byte)}, nil
}

// WriteCard makes a card of an image. One that is there keeps what its device
// has stored: only the boot partition and the roots are written.
func WriteCard(image, path string) error {
	most := int64(math.MaxInt64)
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	case err == nil:
		most = boards.PermStart
	}
	if err != nil {
		return fmt.Errorf("card: %w", err)
	}
	if err := errors.Join(copySparse(out, image, most), out.Close()); err != nil {
		return fmt.Errorf("card: %w", err)
	}
	return nil
}

// copySparse copies what is in a file's extents below a limit; the rest of a new
// file stays a hole.
func copySparse(out *os.File, from string, most int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if most > st.Size() {
		most = st.Size()
		if err := out.Truncate(most); err != nil {
			return err
		}
	}
	for at := int64(0); at < most; {
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= most {
			return nil // no data behind at
		}
		if err != nil {
			return err
		}
		if at, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE); err != nil {
			return err
		}
		at = min(at, most)
		if _, err := io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, at-data)); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file; no machine may use the disk.
func (d *Disk) Close() error {
	d.conns.Wait()
	return d.file.Close()
}

// Block lets the card answer nothing any more, as a card does that hangs, until
// Release.
func (d *Disk) Block() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocked == nil {
		d.blocked = make(chan struct{})
	}
}

// Release lets a card that was blocked answer, what it was asked meanwhile first.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocked != nil {
		close(d.blocked)
		d.blocked = nil
	}
}

// Lie lets the card say that it has flushed when it has not, as some cards do.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = true
}

// pass returns when the card answers.
func (d *Disk) pass() {
	d.mu.Lock()
	blocked := d.blocked
	d.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
}

// Drop loses what was written and not flushed, as a power cut does, and returns
// how many bytes that were. No machine may use the disk. A card that was blocked
// is not any more.
func (d *Disk) Drop() int {
	d.Release()
	d.conns.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.cache) * block
	clear(d.cache)
	return n
}

// ReadAt reads what a machine would.
func (d *Disk) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > d.size {
		return 0, io.EOF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, err := d.file.ReadAt(b, at); err != nil {
		return n, err
	}
	for n := at / block; n*block < at+int64(len(b)); n++ {
		if c := d.cache[n]; c != nil {
			if off := n*block - at; off >= 0 {
				copy(b[off:], c[:])
			} else {
				copy(b, c[-off:])
			}
		}
	}
	return len(b), nil
}

// WriteAt writes to the cache.
func (d *Disk) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > d.size {
		return 0, io.ErrShortWrite
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for done := 0; done < len(b); {
		n, off := (at+int64(done))/block, (at+int64(done))%block
		c := d.cache[n]
		if c == nil {
			c = new([block]byte)
			if _, err := d.file.ReadAt(c[:], n*block); err != nil {
				return done, err
			}
			d.cache[n] = c
		}
		done += copy(c[off:], b[done:])
	}
	return len(b), nil
}

// Flush makes all that was written so far outlive a power cut.
func (d *Disk) Flush() error { return d.through(0, d.size) }

// through makes what was written to the blocks of a range outlive a power cut.
func (d *Disk) through(at, length int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lies {
		return nil
	}
	for n, c := range d.cache {
		if (n+1)*block <= at || n*block >= at+length {
			continue
		}
		if _, err := d.file.WriteAt(c[:], n*block); err != nil {
			return err
		}
		delete(d.cache, n)
	}
	return nil
}

// serve accepts machines until the listener is closed.
func (d *Disk) serve(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		d.conns.Go(func() {
			defer c.Close()
			_ = d.talk(c) // it ends with the machine
		})
	}
}

// Numbers of the protocol.
const (
	nbdMagic, nbdOption = 0x4e42444d41474943, 0x49484156454f5054
	nbdReply            = 0x3e889045565a9
	nbdRequest, nbdDone = 0x25609513, 0x67446698

	nbdFixed, nbdNoZeroes = 1, 2 // handshake flags

	optExportName, optAbort, optInfo, optGo = 1, 2, 6, 7

	repAck, repInfo   = 1, 3
	repErrUnsupported = 1<<31 + 1

	// The export has flags, takes flush, and writes through where asked (FUA).
	nbdFlags = 1 | 1<<2 | 1<<3

	cmdRead, cmdWrite, cmdDisconnect, cmdFlush = 0, 1, 2, 3
	cmdFUA                                     = 1

	nbdEIO, nbdEINVAL = 5, 22
)

var be = binary.BigEndian

// talk speaks with one machine until it disconnects.
func (d *Disk) talk(c net.Conn) error {
	hello := be.AppendUint64(nil, nbdMagic)
	hello = be.AppendUint64(hello, nbdOption)
	if _, err := c.Write(be.AppendUint16(hello, nbdFixed|nbdNoZeroes)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	if err := d.negotiate(c, be.Uint32(flags[:])&nbdNoZeroes != 0); err != nil {
		return err
	}
	for {
		var h [28]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		fua, command, cookie := be.Uint16(h[4:])&cmdFUA != 0, be.Uint16(h[6:]), h[8:16]
		at, n := int64(be.Uint64(h[16:])), be.Uint32(h[24:])
		if be.Uint32(h[:]) != nbdRequest || n > 64<<20 {
			return fmt.Errorf("nbd: request %x", h)
		}
		answer := append(be.AppendUint32(nil, nbdDone), 0, 0, 0, 0)
		answer = append(answer, cookie...)
		fail := func(code uint32) { be.PutUint32(answer[4:], code) }
		d.pass()
		switch command {
		case cmdDisconnect:
			return nil
		case cmdRead:
			b := make([]byte, n)
			if _, err := d.ReadAt(b, at); err != nil {
				fail(nbdEIO)
			} else {
				answer = append(answer, b...)
			}
		case cmdWrite:
			b := make([]byte, n)
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
			_, err := d.WriteAt(b, at)
			if err == nil && fua {
				err = d.through(at, int64(n))
			}
			if err != nil {
				fail(nbdEIO)
			}
		case cmdFlush:
			if err := d.Flush(); err != nil {
				fail(nbdEIO)
			}
		default:
			fail(nbdEINVAL)
		}
		if _, err := c.Write(answer); err != nil {
			return err
		}
	}
}

// negotiate answers options until the machine has chosen the export; there is
// one, whatever its name.
func (d *Disk) negotiate(c net.Conn, noZeroes bool) error {
	export := be.AppendUint16(be.AppendUint64(nil, uint64(d.size)), nbdFlags)
	for {
		var h [16]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		option, n := be.Uint32(h[8:]), be.Uint32(h[12:])
		if be.Uint64(h[:]) != nbdOption || n > 1<<16 {
			return fmt.Errorf("nbd: option %x", h)
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return err
		}
		reply := func(kind uint32, data []byte) error {
			b := be.AppendUint32(be.AppendUint64(nil, nbdReply), option)
			b = be.AppendUint32(be.AppendUint32(b, kind), uint32(len(data)))
			_, err := c.Write(append(b, data...))
			return err
		}
		var err error
		switch option {
		case optExportName:
			if !noZeroes {
				export = append(export, make([]byte, 124)...)
			}
			_, err = c.Write(export)
			return err
		case optInfo, optGo:
			if err = reply(repInfo, append([]byte{0, 0}, export...)); err == nil { // NBD_INFO_EXPORT
				err = reply(repAck, nil)
			}
			if err == nil && option == optGo {
				return nil
			}
		case optAbort:
			return errors.Join(reply(repAck, nil), net.ErrClosed)
		default:
			err = reply(repErrUnsupported, nil)
		}
		if err != nil {
			return err
		}
	}
}
