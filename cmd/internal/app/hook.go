package app

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"intact/report"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/transaction"
)

// What a hook may take. A package manager waits for it.
const (
	preLimit  = 10 * time.Minute
	postLimit = time.Minute
	hookGrace = 5 * time.Second // to say that the time is over
)

// unsignedLocal is the problem of a package that dpkg was given by hand and
// nobody vouches for.
const unsignedLocal = "unsigned local package"

// HookOptions say whose hook it is.
type HookOptions struct {
	Manager string // transaction.Apt or transaction.Dpkg
	Lists   string // apt's folder of lists
}

// hook is one call by a package manager.
type hook struct {
	*session
	o   HookOptions
	ctx context.Context // of the hook
	t   transaction.Transaction

	states     []pkgdb.DpkgState // see installed
	statesRead bool
}

// HookPre notes what a package manager is about to do, with the manifests of the
// packages that it unpacks and the lists of files that go. Whatever happens it ends
// with 0: a hook that fails aborts the upgrade.
func HookPre(ctx context.Context, e *Env, o HookOptions) Outcome {
	return failOpen(ctx, e, preLimit, func(ctx context.Context) error {
		var told *deb.Hook
		var bad error
		if o.Manager == transaction.Apt {
			told, bad = deb.ReadHook(e.Stdin)
			// apt must not find its pipe broken.
			_, _ = io.Copy(io.Discard, io.LimitReader(e.Stdin, deb.MaxHook))
		}
		return withHook(ctx, e, o, func(h *hook) error { return h.pre(ctx, told, bad) })
	})
}

// HookPost closes what HookPre began and reports what the transaction changed.
// It ends with 0 like that.
func HookPost(ctx context.Context, e *Env, o HookOptions) Outcome {
	return failOpen(ctx, e, postLimit, func(ctx context.Context) error {
		return withHook(ctx, e, o, func(h *hook) error { return h.post(ctx) })
	})
}

// failOpen runs the work of a hook and turns whatever comes of it into a line on
// stderr. What hangs is left behind: the process ends.
func failOpen(ctx context.Context, e *Env, limit time.Duration, run func(context.Context) error) Outcome {
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
			}
		}()
		done <- run(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(hookGrace):
			err = fmt.Errorf("gave up: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		e.warn("%s%v", transaction.Uncaptured, err)
	}
	return Done()
}

// withHook opens the state folder for a hook. One without a host has no baseline
// to explain changes of, and none is made.
func withHook(ctx context.Context, e *Env, o HookOptions, run func(*hook) error) error {
	s, trustErr, err := openDistrusting(e)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.store.Host(); err != nil {
		return err
	}
	h := &hook{session: s, o: o, ctx: ctx}
	h.t = transaction.Transaction{Began: e.Now().UTC().Truncate(time.Second), Manager: o.Manager}
	if err := cmp.Or(s.cfgErr, trustErr); err != nil {
		h.t.Problems = append(h.t.Problems, cut(err.Error()))
	}
	return run(h)
}

// cut shortens a text to what a transaction holds.
func cut(s string) string { return s[:min(len(s), 4<<10)] }

func uncaptured(why error) string { return cut(transaction.Uncaptured + why.Error()) }

func (h *hook) pre(ctx context.Context, told *deb.Hook, bad error) error {
	h.t.Command = ""
	if bad != nil {
		h.t.Problems = append(h.t.Problems, uncaptured(bad))
		return errors.Join(bad, h.putTransaction(&h.t))
	}
	var files []string
	if told != nil {
		h.t.Command, h.t.Unchecked = cut(told.Settings["commandline::asstring"]), told.Unchecked()
		files = h.actions(told.Actions)
	} else {
		action := os.Getenv("DPKG_HOOK_ACTION")
		if !dpkgActs(action) {
			return nil
		}
		before, told := len(h.t.Problems), false
		if files, told = h.dpkgArguments(action); told || len(files) == 0 && len(h.t.Problems) == before {
			return nil
		}
	}
	// First without what takes time: a hook that is killed leaves its trace.
	first := h.putFirst()
	if told != nil {
		h.keepLists(told.Actions)
	}
	err := h.capture(ctx, files)
	return errors.Join(first, err, h.putTransaction(&h.t))
}

// putFirst writes the transaction before anything is known of its packages. One
// that cannot be written as it is leaves its trace too.
func (h *hook) putFirst() error {
	err := h.putTransaction(&h.t)
	if !errors.Is(err, transaction.ErrMalformed) {
		return err
	}
	short := transaction.Transaction{Name: h.t.Name, Began: h.t.Began, Manager: h.t.Manager, Problems: []string{uncaptured(err)}}
	return errors.Join(err, h.putTransaction(&short))
}

// actions notes what apt is about to do. Of a package that is unpacked, that it
// will be configured too says nothing more.
func (h *hook) actions(list []deb.Action) (files []string) {
	type key struct{ name, arch string }
	unpacked := map[key]bool{}
	for _, a := range list {
		if a.Do == deb.Unpack {
			unpacked[key{a.Package, a.NewArch}] = true
		}
	}
	for _, a := range list {
		if a.Do == deb.Configure && unpacked[key{a.Package, a.NewArch}] {
			continue
		}
		p := transaction.Package{Name: a.Package, Arch: cmp.Or(a.NewArch, a.OldArch), Old: a.Old, New: a.New, Action: transaction.Action(a.Do), Level: manifest.None}
		if !p.Fits() {
			h.problem("%sof apt: %q %q", transaction.Uncaptured, a.Package, cmp.Or(a.New, a.Old))
			continue
		}
		file := ""
		if a.Do == deb.Unpack {
			file = a.File
			p.Problem = transaction.Uncaptured + "the hook did not finish"
		}
		h.t.Packages, files = append(h.t.Packages, p), append(files, file)
	}
	return files
}

// keepLists keeps the lists of files that go.
func (h *hook) keepLists(list []deb.Action) {
	type key struct{ name, arch string }
	arches := map[key]string{}
	for _, a := range list {
		if a.Old != "" && a.Do != deb.Configure {
			arches[key{a.Package, cmp.Or(a.NewArch, a.OldArch)}] = a.OldArch
		}
	}
	for i := range h.t.Packages {
		p := &h.t.Packages[i]
		if arch, ok := arches[key{p.Name, p.Arch}]; ok && p.Action != transaction.Configure {
			h.listOf(p, arch)
		}
	}
}

// listOf keeps the list of files that a package has now.
func (h *hook) listOf(p *transaction.Package, arch string) {
	l, err := h.keepList(p.Name, arch)
	if err != nil {
		h.problem("%slist of files of %s: %v", transaction.Uncaptured, p.Name, err)
		h.env.warn("%s: %slist of files: %v", p.Name, transaction.Uncaptured, err)
	} else if l != nil {
		p.List = l.Digest()
	}
}

// capture records the packages in files, beside h.t.Packages: "" has none. For
// dpkg the packages come of what is recorded.
func (h *hook) capture(ctx context.Context, files []string) error {
	at, names := map[string][]int{}, []string{}
	for i, f := range files {
		if f != "" && at[f] == nil {
			names = append(names, f)
		}
		at[f] = append(at[f], i)
	}
	var err error
	if len(names) > 0 {
		err = h.record(ctx, names, func(name string, p deb.Recorded, stored string, err error) {
			for _, i := range at[name] {
				h.captured(i, p.Head, stored, err)
			}
		})
	}
	if err != nil {
		for i := range h.t.Packages {
			if p := &h.t.Packages[i]; p.Manifest == "" && p.Action == transaction.Unpack {
				p.Problem = h.short(uncaptured(err))
			}
		}
	}
	return err
}

// short cuts the problem of one of very many packages: all together must fit.
func (h *hook) short(s string) string {
	if len(h.t.Packages) > 1000 {
		return s[:min(len(s), 128)]
	}
	return s
}

// record verifies packages and keeps their manifests.
func (h *hook) record(ctx context.Context, names []string, kept func(name string, p deb.Recorded, stored string, err error)) error {
	if h.cfgErr != nil {
		return h.cfgErr // the keys that are pinned are not known
	}
	ring, err := h.keyring()
	if err != nil {
		return err
	}
	r, err := h.newRecorder()
	if err != nil {
		return err
	}
	defer r.dir.Close()
	dir, err := openAptLists(h.o.Lists)
	if err != nil {
		dir = embed.FS{} // no lists: nobody vouches, which is no reason to keep nothing
		if !errors.Is(err, fs.ErrNotExist) {
			h.problem("lists of apt: %v", err)
		}
	}
	r.lists = deb.Lists{Dir: dir, Ring: ring, Now: h.env.Now()}
	problems, err := r.lists.Record(ctx, names, openPackage, h.store.Dir(), func(name string, p deb.Recorded) error {
		stored, err := "", p.Err
		if err == nil {
			stored, _, err = r.store(p)
		}
		kept(name, p, stored, err)
		return nil
	})
	for _, p := range problems[:min(len(problems), 20)] {
		h.problem("%v", p)
	}
	for _, p := range r.forged {
		h.env.warn("a manifest of %s was kept already that said something else: somebody forged that, and it is replaced", p)
		h.problem("a manifest of %s was kept already that said something else: somebody forged that, and it is replaced", p)
	}
	return err
}

// captured notes what became of the manifest of package i. A manifest of another
// package than apt says is not taken for it.
func (h *hook) captured(i int, head *manifest.Head, stored string, err error) {
	p := &h.t.Packages[i]
	if err == nil && h.o.Manager == transaction.Dpkg {
		named := *p
		named.Name, named.New, named.Arch = head.Package, head.Version, head.Architecture
		if named.Old = h.installedVersion(named.Name, named.Arch); named.Fits() {
			if *p = named; p.Old != "" {
				h.listOf(p, p.Arch)
			}
		}
	}
	if err == nil && (head.Package != p.Name || head.Version != p.New || head.Architecture != p.Arch) {
		err = fmt.Errorf("the archive is %q %q %q", head.Package, head.Version, head.Architecture)
	}
	if err != nil {
		p.Problem = h.short(uncaptured(err))
		h.env.warn("%s: %s", p.Name, p.Problem)
		return
	}
	p.Manifest, p.Level, p.Problem = stored, head.Level, ""
	if h.o.Manager == transaction.Dpkg && p.Level != manifest.Signed {
		p.Problem = unsignedLocal
	}
}

// line prints one line about a transaction.
func (h *hook) line(format string, args ...any) {
	fmt.Fprintf(h.env.Stderr, "intact: %s\n", report.Prose(strings.TrimSpace(fmt.Sprintf(format, args...))))
}
