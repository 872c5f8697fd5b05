package corpus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// poolSize is the size of the random bytes that all contents are cut from.
const poolSize = 16 << 20

func pool(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1<<63))
	b := make([]byte, poolSize)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rnd.Uint64())
	}
	return b
}

// task is a directory that exists and waits for its files.
type task struct {
	dirPlan
	dir *handle
}

// handle is an open directory shared by its children's creation and its
// writer. It is closed by the last user.
type handle struct {
	fd   int
	refs int // guarded by tree.mu
}

// tree is the state of one write.
type tree struct {
	spec Spec
	pool []byte
	mu   sync.Mutex
	sum  Totals // guarded by mu
	err  error  // the first one; guarded by mu
}

// write makes directories in plan order and fills them on all cores. A chain
// of directories may be deeper than any path the kernel takes, so everything
// is relative to a descriptor.
func write(ctx context.Context, dir string, s Spec) (Totals, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := &tree{spec: s, pool: pool(s.Seed)}
	tasks := make(chan task, 64)
	var wg sync.WaitGroup
	for range min(4, runtime.NumCPU()) {
		wg.Go(func() {
			for k := range tasks {
				if err := t.fill(ctx, k); err != nil {
					t.fail(err)
					stop() // the rest of the queue is only let go
				}
			}
		})
	}
	if err := t.makeDirs(ctx, dir, tasks); err != nil {
		t.fail(err)
	}
	close(tasks)
	wg.Wait()
	if t.err == nil {
		t.err = ctx.Err()
	}
	return t.sum, t.err
}

func (t *tree) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

// makeDirs opens parents anew by their short path below the top, except in a
// chain, where the parent is always the directory made last.
func (t *tree) makeDirs(ctx context.Context, top string, tasks chan<- task) error {
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", top, err)
	}
	root := &handle{fd: fd, refs: 1}
	last := root
	defer func() { t.release(root) }()
	paths := []string{"."}
	for d := range plan(t.spec) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at, name := last.fd, d.name
		if t.spec.Kind != Deep {
			at, name = root.fd, paths[d.parent]+"/"+d.name
			paths = append(paths, name)
		}
		h, err := makeDir(at, name)
		if err != nil {
			return err
		}
		if t.spec.Kind == Deep {
			h.refs++ // the next level is made in it
			if last != root {
				t.release(last)
			}
			last = h
		}
		tasks <- task{d, h}
	}
	if last != root {
		t.release(last)
	}
	return nil
}

func makeDir(at int, name string) (*handle, error) {
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return nil, fmt.Errorf("make directory %q: %w", name, err)
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", name, err)
	}
	return &handle{fd: fd, refs: 1}, nil
}

func (t *tree) release(h *handle) {
	t.mu.Lock()
	h.refs--
	last := h.refs == 0
	t.mu.Unlock()
	if last {
		// A directory opened for reading has nothing to lose on close.
		_ = unix.Close(h.fd)
	}
}

// fill writes the files of one directory and lets go of it.
func (t *tree) fill(ctx context.Context, k task) error {
	defer t.release(k.dir)
	rnd := stream(t.spec.Seed, k.index)
	sum := Totals{Dirs: 1}
	var f filePlan
	for i := range k.files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.next(t.spec, rnd, i)
		if err := t.file(ctx, k.dir.fd, f, uint64(k.first+i)); err != nil {
			return fmt.Errorf("write %q in %q: %w", f.name, k.name, err)
		}
		sum.Files++
		sum.Bytes += f.size
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.add(sum)
	return nil
}

func (t *tree) file(ctx context.Context, dir int, f filePlan, number uint64) (err error) {
	fd, err := unix.Openat(dir, string(f.name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if !t.spec.Kind.sized() {
		return writeAll(fd, t.pool[f.offset:f.offset+int(f.size)])
	}
	// Each stretch starts with its own number, so that no two are equal and
	// no file system can store them once.
	for left, n := f.size, uint64(0); left > 0; n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var head [16]byte
		binary.LittleEndian.PutUint64(head[:], number)
		binary.LittleEndian.PutUint64(head[8:], n)
		h := head[:min(left, int64(len(head)))]
		body := t.pool[:min(left-int64(len(h)), poolSize-int64(len(head)))]
		if err := errors.Join(writeAll(fd, h), writeAll(fd, body)); err != nil {
			return err
		}
		left -= int64(len(h) + len(body))
	}
	return nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
