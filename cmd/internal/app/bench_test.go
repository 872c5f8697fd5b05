package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/expect"
	"intact/scanner/entry"
)

// benchChanges is how many files differ, 25 in a directory.
const benchChanges = 20_000

// spooled fills a spool with files whose content, times and inode are other
// ones, and with what that does to their directories.
func spooled(b testing.TB, c *check, n int) *diff.Spool {
	b.Helper()
	spool := diff.NewSpool(c.tempDir(), 2, 16<<20)
	set := c.scope.eff.Sets()[0]
	for i := range n {
		old := &entry.Entry{Name: fmt.Appendf(nil, "file-%06d.conf", i), Kind: entry.File, Mode: 0o644, Nlink: 1, Size: int64(i + 1), Hashed: int64(i + 1),
			Inode: uint64(1000 + i), Device: 2049, Mtime: entry.Time{Sec: 1_700_000_000 + int64(i), Nsec: 5}, Ctime: entry.Time{Sec: 1_700_000_000 + int64(i), Nsec: 7}}
		old.Have = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Mtime | entry.Ctime | entry.Inode | entry.Device | entry.Nlink | entry.Content
		old.Digest[0], old.Digest[5] = byte(i), byte(i>>8)
		now := *old
		now.Digest[9], now.Mtime.Sec, now.Ctime.Sec = 1, old.Mtime.Sec+9, old.Ctime.Sec+9
		ch := &diff.Change{Kind: diff.Changed, Path: entry.Path(fmt.Sprintf("/srv/www/site-%04d/%s", i/25, old.Name)),
			Attrs: entry.Content | entry.Mtime | entry.Ctime, Old: old, New: &now, OldSet: set, NewSet: set}
		if err := spool.Add(i%2, ch); err != nil {
			b.Fatal(err)
		}
	}
	return spool
}

// benchCheck opens a check of an empty tree in a state folder of its own.
func benchCheck(b testing.TB, dir string) *check {
	b.Helper()
	env := &Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: os.Stderr, Version: "test", Now: time.Now,
		Config: dir + "/intact.yaml", State: dir + "/state", Root: "/", Facts: Nowhere()}
	if _, err := os.Stat(env.State); err != nil {
		if err := os.WriteFile(env.Config, []byte("version: 1\npaths:\n  - {path: "+dir+", attributes: all}\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		if _, err := Init(context.Background(), env, InitOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	s, err := open(env)
	if err != nil {
		b.Fatal(err)
	}
	c := &check{session: s, gaps: &gapList{}, sets: map[string]bool{"integrity": true, "mounts": true, "policy": true}, failOn: rules.Low}
	if err := c.open(context.Background()); err != nil {
		b.Fatal(err)
	}
	if c.paper, err = c.begin(context.Background(), report.KindCheck, report.ScopeFull, false); err != nil {
		b.Fatal(err)
	}
	c.paper.baseline(c.gen.Statement(), c.by)
	if err := c.paper.w.Header(c.paper.head); err != nil {
		b.Fatal(err)
	}
	if c.quick, err = c.newQuick(); err != nil {
		b.Fatal(err)
	}
	return c
}

// cpu is the processor time of the process so far.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkChanged is all that comes behind the scan of a check that finds
// many changes, from the spool to the text: the second such check, whose
// changes wait already.
func BenchmarkChanged(b *testing.B) {
	dir := b.TempDir()
	ctx := context.Background()
	run := func() time.Duration {
		c := benchCheck(b, dir)
		defer c.close()
		defer c.gen.Close()
		defer c.paper.abort()
		spool := spooled(b, c, benchChanges)
		defer spool.Close()
		start := cpu()
		b.StartTimer()
		defer b.StopTimer()
		var err error
		if c.result, err = spool.Finish(ctx, nil); err == nil {
			defer collectLess()()
			err = c.judge(ctx)
		}
		if err == nil {
			err = c.keepAges()
		}
		if err == nil {
			err = c.finish(b.Context())
		}
		if got := c.paper.w.Tally().Total(); err != nil || got != benchChanges {
			b.Fatalf("%d findings, %v", got, err)
		}
		return cpu() - start
	}
	run()
	b.ResetTimer()
	b.StartTimer()
	b.ReportAllocs()
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		used += run()
		b.StartTimer()
	}
	n := float64(b.N) * benchChanges
	b.ReportMetric(float64(used.Microseconds())/n, "cpu-µs/change")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "µs/change")
}

// BenchmarkExplained is a check of as many changes as BenchmarkJudge's fivefold,
// each of which the last of some manifests accounts for.
func BenchmarkExplained(b *testing.B) {
	const n = 5 * benchChanges
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("manifests=%v", on), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := benchCheck(b, b.TempDir())
				spool := spooled(b, c, n)
				var err error
				if c.result, err = spool.Finish(context.Background(), nil); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if on {
					c.explain = &explaining{contents: &contents{}, by: []rules.Explainer{expect.New([]expect.Source{{Manifest: wholeManifest(b, c)}}, nil)}}
				}
				if err = c.judge(context.Background()); err == nil {
					err = c.finish(b.Context())
				}
				if got := c.paper.w.Tally().Explained; err != nil || (got == n) != on {
					b.Fatalf("%d explained, %v", got, err)
				}
				b.StopTimer()
				spool.Close()
				c.paper.abort()
				c.gen.Close()
				c.close()
				b.StartTimer()
			}
		})
	}
}

// wholeManifest says of each change of c what it brought.
func wholeManifest(b testing.TB, c *check) *expect.Manifest {
	b.Helper()
	var text bytes.Buffer
	w, err := expect.NewWriter(&text, expect.Header{Label: "all"})
	for ch, cerr := range c.result.Changes() {
		if err == nil {
			err = cerr
		}
		if err == nil {
			e := ch.New
			err = w.Add(&expect.Line{Path: ch.Path, Kind: e.Kind, Mode: e.Mode, Size: e.Size, BLAKE3: e.Digest, Known: true})
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	m, err := expect.Parse("all", text.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	return m
}
