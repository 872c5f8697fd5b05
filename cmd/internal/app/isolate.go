package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// A file system that can hang is scanned by a child process that holds no lock
// and no descriptor of the state folder: a process with a thread in
// uninterruptible sleep can neither exit nor release what it holds. The child
// gets a job as JSON on stdin and answers with frames on stdout:
//
//	uvarint length ‖ kind ‖ body
const (
	frameBlock = 'b' // uvarint len(key) ‖ key ‖ packed value
	frameSelf  = 's' // the same, for the mount point's own entry
	frameGap   = 'g' // JSON of a scanner.Gap with the path in base64
	frameAlive = 'a' // something was read since the last frame
	frameDone  = 'd'

	maxIsolatedFrame = 64 << 20
)

// job tells the child what to scan. Policies are canonical texts, paths are
// base64: they may be any bytes.
type job struct {
	Root, Mount   []byte
	Base, Present []byte
	State         []byte
	Homes         [][]byte
	Aliases       [][2][]byte
	Workers       int
	MaxRate       int64
}

// isolated returns the function that scans a mount in a child.
func (s *session) isolated(c *scope, opt scanner.Options) func(context.Context, scanner.Isolated, int, scanner.Sink) (*entry.Entry, error) {
	timeout := s.env.Abandoned
	if timeout == 0 {
		timeout = time.Minute
	}
	return func(ctx context.Context, m scanner.Isolated, w int, sink scanner.Sink) (*entry.Entry, error) {
		j := job{Root: []byte(s.root.HostPath()), Mount: []byte(m.Path), Base: c.base.Canonical(), Workers: 2, MaxRate: opt.MaxRate}
		if c.present != nil && c.present != c.base {
			j.Present = c.present.Canonical()
		}
		state, err := stateExclude(s)
		if err != nil {
			return nil, err
		}
		j.State = []byte(state)
		for _, h := range s.users.homes {
			j.Homes = append(j.Homes, []byte(h))
		}
		for _, a := range c.all {
			j.Aliases = append(j.Aliases, [2][]byte{[]byte(a.From), []byte(a.To)})
		}
		b, err := json.Marshal(j)
		if err != nil {
			return nil, err
		}
		return supervise(ctx, b, timeout, &unframer{sets: c.eff.Sets(), w: w, sink: sink})
	}
}

// supervise runs the child until it is done, silent for too long, or ctx ends.
// It never waits for a child that was given up.
func supervise(ctx context.Context, job []byte, timeout time.Duration, u *unframer) (*entry.Entry, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"intact", "scan-mount"}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(job), w
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	w.Close()
	go func() {
		// Reaps the child whenever it ends, if it ever does.
		_ = cmd.Wait()
	}()
	type frame struct {
		b   []byte
		err error
	}
	frames := make(chan frame)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer r.Close()
		in := bufio.NewReaderSize(r, 256<<10)
		for {
			b, err := readIsolated(in)
			select {
			case frames <- frame{b, err}:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	// An endless tree answers all the time: it must end too.
	whole := time.NewTimer(60 * timeout)
	defer whole.Stop()
	for {
		timer.Reset(timeout)
		select {
		case f := <-frames:
			if f.err != nil {
				return nil, fmt.Errorf("the process that scanned it ended early: %w", f.err)
			}
			done, err := u.take(f.b)
			if done || err != nil {
				return u.self, err
			}
		case <-timer.C:
			_ = cmd.Process.Kill() // it may not die: see above
			return nil, fmt.Errorf("no answer for %s", timeout)
		case <-whole.C:
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("not done after %s", 60*timeout)
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			return nil, context.Cause(ctx)
		}
	}
}

func readIsolated(in *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	if n == 0 || n > maxIsolatedFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}

// unframer delivers the child's frames to the parent's sink.
type unframer struct {
	sets entry.Sets
	w    int
	sink scanner.Sink
	self *entry.Entry
}

func (u *unframer) take(b []byte) (done bool, err error) {
	kind, b := b[0], b[1:]
	switch kind {
	case frameDone:
		return true, nil
	case frameAlive:
		return false, nil
	case frameGap:
		var g isolatedGap
		if err := json.Unmarshal(b, &g); err != nil {
			return false, err
		}
		g.Gap.Path = entry.Path(g.Where)
		return false, u.sink.Gap(u.w, g.Gap)
	case frameBlock, frameSelf:
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return false, errors.New("malformed frame")
		}
		p, part, err := entry.ParseKey(b[k : k+int(n)])
		if err != nil {
			return false, err
		}
		blk, err := entry.Packed(b[k+int(n):]).Unpack(p, part, u.sets)
		if err != nil {
			return false, err
		}
		if kind == frameSelf {
			if len(blk.Entries) == 1 {
				u.self = blk.Entries[0].Clone()
			}
			return false, nil
		}
		return false, u.sink.Dir(u.w, blk)
	}
	return false, fmt.Errorf("unknown frame %q", kind)
}

type isolatedGap struct {
	scanner.Gap
	Where []byte
}

// framer is the child's sink.
type framer struct {
	mount entry.Path
	sets  entry.Sets

	mu  sync.Mutex
	out *bufio.Writer // guarded by mu
	err error         // guarded by mu
}

func (f *framer) send(kind byte, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	var head [binary.MaxVarintLen64 + 1]byte
	n := binary.PutUvarint(head[:], uint64(len(body)+1))
	head[n] = kind
	_, err := f.out.Write(head[:n+1])
	_, err2 := f.out.Write(body)
	f.err = errors.Join(err, err2, f.out.Flush())
	return f.err
}

// Dir implements scanner.Sink. Directories above the mount are not its
// business, but the mount point's own entry is.
func (f *framer) Dir(_ int, b *entry.Block) error {
	kind := byte(frameBlock)
	if !b.Dir.Under(f.mount) {
		if b.Dir != f.mount.Dir() || len(b.Entries) == 0 {
			return nil
		}
		kind = frameSelf
		for i := range b.Entries {
			if string(b.Entries[i].Name) == f.mount.Base() {
				b = &entry.Block{Dir: b.Dir, Entries: b.Entries[i : i+1]}
				break
			}
		}
	}
	key := entry.PartKey(b.Dir, b.Part)
	body := append(binary.AppendUvarint(nil, uint64(len(key))), key...)
	body = append(body, packedOf(b, f.sets)...)
	return f.send(kind, body)
}

func packedOf(b *entry.Block, sets entry.Sets) entry.Packed {
	p, _ := b.Pack(nil, nil, sets)
	return p
}

// Gap implements scanner.Sink.
func (f *framer) Gap(_ int, g scanner.Gap) error {
	b, err := json.Marshal(isolatedGap{g, []byte(g.Path)})
	if err != nil {
		return err
	}
	return f.send(frameGap, b)
}

// ScanMount is the child of a scan: it scans one mount that can hang and
// writes what it finds to stdout.
func ScanMount(ctx context.Context, e *Env) (Outcome, error) {
	var j job
	in := json.NewDecoder(io.LimitReader(e.Stdin, 256<<20))
	if err := in.Decode(&j); err != nil {
		return Outcome{}, usageError("scan-mount is started by a scan only: %w", err)
	}
	eff, err := j.effective()
	if err != nil {
		return Outcome{}, err
	}
	root, err := dirfd.Open(string(j.Root))
	if err != nil {
		return Outcome{}, err
	}
	defer root.Close()
	f := &framer{mount: entry.Path(j.Mount), sets: eff.Sets(), out: bufio.NewWriter(e.Stdout)}
	opt := scanner.Options{Workers: j.Workers, MaxRate: j.MaxRate, Limit: []entry.Path{f.mount}, Enter: f.mount, Own: ownFiles(entry.Path(j.State)), Progress: new(scanner.Progress)}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go f.alive(ctx, opt.Progress)
	if _, err := scanner.Run(ctx, root, eff, opt, nil, f); err != nil {
		return Outcome{}, err
	}
	return Done(), f.send(frameDone, nil)
}

// alive tells the parent once a second that reading goes on, if it does.
func (f *framer) alive(ctx context.Context, p *scanner.Progress) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := p.Bytes.Load(); now != last {
				last = now
				// An error shows at the next frame that carries something.
				_ = f.send(frameAlive, nil)
			}
		}
	}
}

// effective puts the policies of the job in force, as the parent did.
func (j *job) effective() (*policy.Effective, error) {
	var homes []entry.Path
	for _, h := range j.Homes {
		homes = append(homes, entry.Path(h))
	}
	base, err := policy.ParseCanonical(j.Base)
	if err != nil {
		return nil, err
	}
	b := base.ExpandHomes(homes)
	p := b
	if j.Present != nil {
		present, err := policy.ParseCanonical(j.Present)
		if err != nil {
			return nil, err
		}
		p = present.ExpandHomes(homes)
	}
	var aliases []policy.Alias
	for _, a := range j.Aliases {
		aliases = append(aliases, policy.Alias{From: entry.Path(a[0]), To: entry.Path(a[1])})
	}
	return policy.Union(b, p, aliases)
}
