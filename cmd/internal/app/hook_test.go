package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/transaction"
)

// Whatever becomes of the work of a hook, it ends with 0 and one message.
func TestFailOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(context.Context) error
		took time.Duration
		want string
	}{
		{"done", func(context.Context) error { return nil }, 0, ""},
		{"error", func(context.Context) error { return fmt.Errorf("no \x1b[1m") }, 0, `provenance not captured: no \x1b[1m`},
		{"panic", func(context.Context) error { panic("bad") }, 0, "provenance not captured: internal error: bad"},
		{"slow", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, time.Minute, "provenance not captured: context deadline exceeded"},
		{"hangs", func(context.Context) error { time.Sleep(time.Hour); return nil }, time.Minute + hookGrace, "provenance not captured: gave up: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var errs bytes.Buffer
				start := time.Now()
				o := failOpen(t.Context(), &Env{Now: time.Now, Stderr: &errs}, time.Minute, tt.run)
				if o.Exit() != 0 || time.Since(start) != tt.took || !strings.Contains(errs.String(), tt.want) || tt.want == "" && errs.Len() > 0 {
					t.Errorf("exit %d after %v: %q", o.Exit(), time.Since(start), errs.String())
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// hookCheck is a check with a baseline in a state folder of its own.
func hookCheck(t *testing.T) *check {
	t.Helper()
	c := benchCheck(t, t.TempDir())
	t.Cleanup(func() {
		c.paper.abort()
		c.gen.Close()
		c.close()
	})
	return c
}

const removal = "VERSION 3\n\nnone-such 1 all none > - - none **REMOVE**\n"

// A hook that finds the lock held leaves the transaction closed, for the next
// check, and no report.
func TestHookPostLocked(t *testing.T) {
	c := hookCheck(t)
	e := *c.env
	e.Stdin = strings.NewReader(removal)
	var errs bytes.Buffer
	e.Stderr = &errs
	o := HookOptions{Manager: transaction.Apt, Lists: "none"}
	if got := HookPre(t.Context(), &e, o); got.Exit() != 0 || errs.Len() > 0 {
		t.Fatalf("pre: exit %d, %q", got.Exit(), errs.String())
	}
	if err := c.acquire("test"); err != nil {
		t.Fatal(err)
	}
	if got := HookPost(t.Context(), &e, o); got.Exit() != 0 || !strings.HasPrefix(errs.String(), "intact: 1 package removed: ") || !strings.HasSuffix(errs.String(), ": the next check looks at it\n") {
		t.Errorf("post: exit %d, %q", got.Exit(), errs.String())
	}
	list, problems, err := c.transactions()
	if err != nil || len(problems) > 0 || len(list) != 1 || list[0].Ended.IsZero() || len(list[0].Packages) != 1 || list[0].Packages[0].Name != "none-such" {
		t.Errorf("got %+v, %v, %v", list, problems, err)
	}
}

// An inbox that cannot be written is a line on stderr.
func TestHookUnwritableInbox(t *testing.T) {
	c := hookCheck(t)
	if err := errors.Join(os.RemoveAll(c.inbox()), os.WriteFile(c.inbox(), []byte("no folder"), 0o600)); err != nil {
		t.Fatal(err)
	}
	e := *c.env
	for _, do := range []func(context.Context, *Env, HookOptions) Outcome{HookPre, HookPost} {
		var errs bytes.Buffer
		e.Stdin, e.Stderr = strings.NewReader(removal), &errs
		if got := do(t.Context(), &e, HookOptions{Manager: transaction.Apt, Lists: "none"}); got.Exit() != 0 || !strings.Contains(errs.String(), "provenance not captured: ") {
			t.Errorf("exit %d, %q", got.Exit(), errs.String())
		}
	}
}

// Of what ended long ago the newest are kept, and all that is open or young.
func TestPruneInbox(t *testing.T) {
	c := hookCheck(t)
	st := *c.gen.Statement()
	old := st.Created.Add(-48 * time.Hour).UTC().Truncate(time.Second)
	var names []string
	for i := range keptTransactions + 30 {
		x := transaction.Transaction{Manager: transaction.Apt, Began: old.Add(time.Duration(i) * time.Second), Ended: old.Add(time.Duration(i) * time.Second)}
		if i == 7 {
			x.Ended = time.Time{} // still open
		}
		if err := c.putTransaction(&x); err != nil {
			t.Fatal(err)
		}
		names = append(names, x.Name)
	}
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(c.inbox(), name))
		return err == nil
	}
	c.pruneInbox() // of the first baseline: there is none before it
	for _, n := range names {
		if !there(n) {
			t.Fatalf("%s went although no baseline is newer than it", n)
		}
	}
	c.pruneBefore(old.Add(20 * time.Second))
	for i, n := range names {
		if want := i >= 20 || i == 7; there(n) != want {
			t.Errorf("transaction %d is there: %v, want %v", i, !want, want)
		}
	}
	c.pruneBefore(st.Created)
	for i, n := range names {
		if want := i == 7 || i >= 30; there(n) != want {
			t.Errorf("transaction %d is there: %v, want %v", i, !want, want)
		}
	}
}

// What is of the future keeps nothing from going, hides nothing, and goes a day after
// it was written; what cannot be read goes after a week.
func TestPruneFuture(t *testing.T) {
	c := hookCheck(t)
	now := time.Now().UTC().Truncate(time.Second)
	past := now.AddDate(-1, 0, 0)
	put := func(began, ended time.Time, ago time.Duration) string {
		x := transaction.Transaction{Manager: transaction.Apt, Began: began, Ended: ended}
		if err := c.putTransaction(&x); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(c.inbox(), x.Name)
		if err := os.Chtimes(at, now.Add(-ago), now.Add(-ago)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	var ahead, old, stay []string
	for i := range keptTransactions + 10 {
		ahead = append(ahead, put(now.AddDate(50, 0, i), time.Time{}, 48*time.Hour))
		old = append(old, put(past.Add(time.Duration(i)*time.Second), past.Add(time.Hour), 300*24*time.Hour))
	}
	ahead = append(ahead, put(now.AddDate(50, 0, 0), time.Time{}, -48*time.Hour)) // written in the future too
	stay = append(stay, put(now.AddDate(50, 0, 0), time.Time{}, time.Hour), put(now, now, time.Hour))
	gone := old[:11] // with the one of now, those beyond keptTransactions
	broken := put(past.AddDate(-1, 0, 0), past, 8*24*time.Hour)
	young := put(past.AddDate(-1, 0, 1), past, 6*24*time.Hour)
	for _, name := range []string{broken, young} {
		b, err := os.ReadFile(name)
		st, err2 := os.Stat(name)
		if err := errors.Join(err, err2, os.WriteFile(name, append(b, "x"...), 0o600), os.Chtimes(name, st.ModTime(), st.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	c.pruneBefore(now.AddDate(0, 0, -1))
	for _, tt := range []struct {
		what  string
		names []string
		want  bool
	}{{"ahead", ahead, false}, {"old", gone, false}, {"newer", old[11:], true}, {"stay", append(stay, young), true}, {"broken", []string{broken}, false}} {
		for i, name := range tt.names {
			if _, err := os.Stat(name); (err == nil) != tt.want {
				t.Errorf("%s %d is there: %v, want %v", tt.what, i, err == nil, tt.want)
			}
		}
	}
}

// A list that cannot be read is waited for by nobody while a lock is held: what was
// touched is collected before.
func TestHookPostTouchedFirst(t *testing.T) {
	c := hookCheck(t)
	l, err := transaction.NewFileList(strings.NewReader("/etc/hostname\n"))
	x := transaction.Transaction{Manager: transaction.Apt, Began: time.Now().UTC().Truncate(time.Second), Packages: []transaction.Package{
		{Name: "a", Arch: "all", Old: "1", Action: transaction.Remove, Level: "none", List: l.Digest()}}}
	if err := errors.Join(err, c.putTransaction(&x), unix.Mkfifo(filepath.Join(c.inbox(), l.Digest().String()), 0o600), c.acquire("test")); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	e := *c.env
	e.Stderr = &errs
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	HookPost(ctx, &e, HookOptions{Manager: transaction.Apt})
	fault, lock := strings.Index(errs.String(), "not a regular file"), strings.Index(errs.String(), "in use by")
	if fault < 0 || lock < fault || ctx.Err() != nil {
		t.Errorf("got %q", errs.String())
	}
}

// What cannot be written of one package does not cost the others their trace, and a
// transaction that cannot be written at all leaves one that says so.
func TestHookUnfit(t *testing.T) {
	c := hookCheck(t)
	h := &hook{session: c.session, ctx: t.Context()}
	h.t = transaction.Transaction{Began: time.Now().UTC().Truncate(time.Second), Manager: transaction.Apt}
	files := h.actions([]deb.Action{
		{Package: strings.Repeat("x", 2000), Do: deb.Unpack, New: "1", NewArch: "all", File: "/a"},
		{Package: "good", Do: deb.Unpack, New: "1", NewArch: "all", File: "/b"},
		{Package: "\u202e", Do: deb.Remove, Old: "1", OldArch: "all"},
	})
	if len(files) != 1 || files[0] != "/b" || len(h.t.Packages) != 1 || h.t.Packages[0].Name != "good" || len(h.t.Problems) != 2 {
		t.Errorf("got %q, %+v", files, h.t)
	}
	if err := h.putFirst(); err != nil {
		t.Error(err)
	}
	h.t.Name, h.t.Command = "", strings.Repeat("x", 1<<20)
	if err := h.putFirst(); !errors.Is(err, transaction.ErrMalformed) {
		t.Error(err)
	}
	list, problems, err := c.transactions()
	if err != nil || len(problems) > 0 || len(list) != 2 {
		t.Fatalf("%+v, %q, %v", list, problems, err)
	}
	for _, x := range list {
		if x.Name == h.t.Name && (len(x.Problems) != 1 || !strings.HasPrefix(x.Problems[0], transaction.Uncaptured)) {
			t.Errorf("got %+v", x)
		}
	}
}

func TestReadCall(t *testing.T) {
	for line, want := range map[string]dpkgCall{
		"dpkg -i a.deb":                       {names: []string{"a.deb"}},
		"dpkg --root=/x -iG --log=/y a b":     {names: []string{"a", "b"}},
		"dpkg -R --unpack dir":                {names: []string{"dir"}, recursive: true},
		"dpkg -iR dir":                        {names: []string{"dir"}, recursive: true},
		"dpkg --recursive -i dir":             {names: []string{"dir"}, recursive: true},
		"dpkg --purge --pending":              {pending: true},
		"dpkg -Pa":                            {pending: true},
		"dpkg -i -- -a.deb --b":               {names: []string{"-a.deb", "--b"}},
		"dpkg -i a -b.deb --c":                {names: []string{"a", "-b.deb", "--c"}},
		"dpkg --log /dev/null -i a.deb":       {names: []string{"/dev/null", "-i", "a.deb"}},
		"dpkg":                                {},
		"dpkg -":                              {},
		"dpkg  --status-fd 8 --remove x:i386": {names: []string{"8", "--remove", "x:i386"}},
	} {
		want.pid = 7
		if got := readCall(7, strings.Split(line, " ")); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: got %+v", line, *got)
		}
	}
	readCall(7, nil)
}

// BenchmarkHookPost is the hook behind an upgrade that changed each of 2,000 files,
// all in one directory, which comes in parts: under two seconds is the goal.
func BenchmarkHookPost(b *testing.B) {
	const n = 2000
	dir, err := filepath.EvalSymlinks(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	var list strings.Builder
	write := func(round int) {
		for i := range n {
			name := fmt.Sprintf("%s/f%04d", dir, i)
			if round == 0 {
				fmt.Fprintln(&list, name)
			}
			if err := os.WriteFile(name, fmt.Appendf(nil, "version %d of %d", round, i), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	write(0)
	c := benchCheck(b, dir)
	c.paper.abort()
	defer c.close()
	defer c.gen.Close()
	files, err := transaction.NewFileList(strings.NewReader(list.String()))
	if err == nil {
		err = os.MkdirAll(c.inbox(), 0o700)
	}
	if err == nil {
		err = putFile(filepath.Join(c.inbox(), files.Digest().String()), files.Text(), 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	e, round := *c.env, 0
	for b.Loop() {
		b.StopTimer()
		round++
		write(round)
		t := transaction.Transaction{Manager: transaction.Apt, Began: time.Now().UTC().Truncate(time.Second)}
		t.Packages = []transaction.Package{{Name: "big", Arch: "all", Old: "1", New: "2", Action: transaction.Unpack, Level: "none", List: files.Digest()}}
		if err := c.putTransaction(&t); err != nil {
			b.Fatal(err)
		}
		var errs bytes.Buffer
		e.Stderr = &errs
		b.StartTimer()
		HookPost(b.Context(), &e, HookOptions{Manager: transaction.Apt})
		if !strings.Contains(errs.String(), "1 package upgraded, 2000 files: ") {
			b.Fatal(errs.String())
		}
	}
}
