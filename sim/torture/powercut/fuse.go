//go:build linux

package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FlashOptions say what kind of a disk a Flash is.
type FlashOptions struct {
	Seed uint64
	// Page is how many bytes, from a multiple of it on, are garbage when a sector
	// among them is torn, synced or not: a page of flash may be larger than a
	// database's. 0: a sector is always as before or as after.
	Page int64
}

// A Flash is a disk with a volatile cache: when its power is cut, writes that
// were not synced are there or not, in any order, torn between sectors. Names in
// its one folder are durable when the folder was synced, and files when they
// were; a file system that does more than POSIX asks for hides faults. Its methods but Dir are for one goroutine, which must
// not touch the files itself: it serves them.
type Flash struct {
	mount string
	opt   FlashOptions
	serve *fuse.Server

	mu    sync.Mutex
	rng   *rand.Rand
	root  folder
	left  int           // changes until the power goes
	gone  chan struct{} // closed when it went
	tally Tally
}

// NewFlash mounts an empty disk in a folder. The error may be
// [errors.ErrUnsupported]: not root, or no FUSE.
func NewFlash(dir string, opt FlashOptions) (*Flash, error) {
	d := &Flash{
		mount: filepath.Join(dir, "flash"), opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 2)),
		root: folder{now: make(map[string]*file), disk: make(map[string]*file)},
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("flash: not root: %w", errors.ErrUnsupported)
	}
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		return nil, fmt.Errorf("flash: %w", err)
	}
	if err := d.start(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	return d, nil
}

// start mounts what the disk holds.
func (d *Flash) start() error {
	d.mu.Lock()
	d.left, d.gone = -1, make(chan struct{})
	root := &flashFolder{disk: d}
	d.mu.Unlock()
	serve, err := fs.Mount(d.mount, root, &fs.Options{
		MountOptions: fuse.MountOptions{Name: "flash", FsName: "flash", DirectMountStrict: true, DisableXAttrs: true},
		OnAdd: func(ctx context.Context) {
			for name, f := range d.root.now {
				node := root.NewPersistentInode(ctx, &flashFile{disk: d, file: f}, fs.StableAttr{Mode: fuse.S_IFREG})
				root.AddChild(name, node, true)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("flash: mount: %w", err)
	}
	d.serve = serve
	return nil
}

// Dir returns where the disk is mounted.
func (d *Flash) Dir() string { return d.mount }

// CutAfter cuts the power at the n-th change from now, in the midst of it, and
// returns a channel that is closed then: from there on everything fails with
// EIO.
func (d *Flash) CutAfter(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
	return d.gone
}

// Cut cuts the power now.
func (d *Flash) Cut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
	return nil
}

// cut wants mu.
func (d *Flash) cut() {
	if d.left != 0 {
		d.left = 0
		close(d.gone)
	}
}

// Restore brings the power back, with what the cut has left. Programs that had
// files open must have ended.
func (d *Flash) Restore() error {
	if err := d.Close(); err != nil {
		return err
	}
	d.mu.Lock()
	d.root.tear(d.rng)
	for _, f := range d.root.disk {
		f.tear(d.rng, d.opt.Page, &d.tally)
	}
	d.mu.Unlock()
	return d.start()
}

// Tally returns what the cuts so far did.
func (d *Flash) Tally() Tally {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tally
}

// Close unmounts the disk.
func (d *Flash) Close() error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		err := d.serve.Unmount()
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) { // busy as in Ext4.Restore
			return fmt.Errorf("flash: unmount: %w", err)
		}
	}
}

// do makes a change, if there is power. The change that the cut comes in was
// begun, so that some of it may be there, and is never confirmed.
func (d *Flash) do(begin, confirm func()) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return syscall.EIO
	}
	if begin != nil {
		begin()
	}
	if d.left == 1 {
		d.cut()
		return syscall.EIO
	}
	d.left--
	if confirm != nil {
		confirm()
	}
	return 0
}

// look reads, if there is power.
func (d *Flash) look(f func()) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return syscall.EIO
	}
	f()
	return 0
}

// A flashFolder is the root of a Flash.
type flashFolder struct {
	fs.Inode
	disk *Flash
}

// Create makes a file.
func (n *flashFolder) Create(ctx context.Context, name string, _, mode uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f := &file{mode: mode & 0o777}
	if errno := n.disk.do(func() { n.disk.root.change(naming{name: name, file: f}) }, nil); errno != 0 {
		return nil, nil, 0, errno
	}
	return n.NewPersistentInode(ctx, &flashFile{disk: n.disk, file: f}, fs.StableAttr{Mode: fuse.S_IFREG}), nil, 0, 0
}

// Unlink removes a name.
func (n *flashFolder) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.do(func() { n.disk.root.change(naming{gone: name}) }, nil)
}

// Rename renames a file, over another perhaps.
func (n *flashFolder) Rename(_ context.Context, name string, _ fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	return n.disk.do(func() {
		n.disk.root.change(naming{gone: name, name: to, file: n.disk.root.now[name]})
	}, nil)
}

// Fsync makes the names durable.
func (n *flashFolder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.do(nil, n.disk.root.sync)
}

// Statfs says that there is room.
func (n *flashFolder) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{Blocks: 1 << 18, Bfree: 1 << 17, Bavail: 1 << 17, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return 0
}

// A flashFile is a file of a Flash.
type flashFile struct {
	fs.Inode
	disk *Flash
	file *file
}

// Open opens the file; pages that the kernel has stay, since nobody else
// changes them.
func (n *flashFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, n.disk.look(func() {})
}

// Getattr tells size and mode.
func (n *flashFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.disk.look(func() {
		out.Mode, out.Size, out.Blksize = fuse.S_IFREG|n.file.mode, uint64(len(n.file.now)), 4096
		out.Blocks = (out.Size + sector - 1) / sector
	})
}

// Setattr changes size and mode.
func (n *flashFile) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	errno := n.disk.do(func() {
		if size, ok := in.GetSize(); ok {
			n.file.change(change{at: int64(size)})
		}
		if mode, ok := in.GetMode(); ok {
			n.file.mode = mode & 0o777
		}
	}, nil)
	if errno != 0 {
		return errno
	}
	return n.Getattr(ctx, h, out)
}

// Read reads.
func (n *flashFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	k := 0
	errno := n.disk.look(func() {
		if off < int64(len(n.file.now)) {
			k = copy(dest, n.file.now[off:])
		}
	})
	return fuse.ReadResultData(dest[:k]), errno
}

// Write writes to the cache.
func (n *flashFile) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	errno := n.disk.do(func() { n.file.change(change{off, append([]byte{}, data...)}) }, nil)
	return uint32(len(data)), errno
}

// Fsync makes the content durable.
func (n *flashFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.do(nil, n.file.sync)
}

// Allocate sets blocks aside, which all are already.
func (n *flashFile) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	const keepSize = 1
	if mode != keepSize {
		return syscall.EOPNOTSUPP
	}
	return n.disk.look(func() {})
}
