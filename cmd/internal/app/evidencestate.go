package app

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/report"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// openQuietly opens a file of the scanning host for reading, without following
// a link, without blocking, and without setting its access time where that is
// allowed.
func openQuietly(name string) (*os.File, error) {
	const flags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	f, err := os.OpenFile(name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		f, err = os.OpenFile(name, flags, 0)
	}
	return f, err
}

// stored saves what intact itself knows: reports, what waits, the baseline and
// all statements, each with its signature, what hooks kept, and the public keys.
func (v *evidence) stored() error {
	for _, part := range []func() error{v.keptReports, v.keptPending, v.keptBaseline, v.keptStatements, v.keptByHooks} {
		if err := part(); err != nil {
			return err
		}
	}
	for _, from := range []string{v.store.DelegationPath(), v.store.WindowsPath()} {
		if _, err := os.Lstat(from); err == nil {
			if err := v.copied(filepath.Base(from), from); err != nil {
				return err
			}
		}
	}
	return v.copied("keys/"+ownSigners, v.keyFile(ownSigners))
}

func (v *evidence) keptReports() error {
	list, err := v.archive().List()
	if err != nil {
		return v.gap("reports", "%v", err)
	}
	if n := v.o.Reports; n > 0 {
		list = list[max(0, len(list)-n):]
	}
	for _, r := range list {
		name := "reports/" + filepath.Base(r.Path)
		if err := v.copied(name, r.Path); err != nil {
			return err
		}
		if err := v.copied(name+".sig", r.Path+".sig"); err != nil {
			return err
		}
	}
	return nil
}

// keptPending saves the set that the newest report names which names one. Its
// name is its BLAKE3: the MANIFEST has that too.
func (v *evidence) keptPending() error {
	list, err := v.archive().List()
	if err != nil {
		return nil // told of by keptReports
	}
	for i := len(list) - 1; i >= 0; i-- {
		_, t, err := list[i].Ends()
		if err != nil || t.Pending == "" {
			continue
		}
		sum, err := digest.Parse(t.Pending)
		if err != nil {
			return v.gap("pending", "%v", err)
		}
		return v.copied("pending/"+sum.String(), filepath.Join(v.store.Dir(), "pending", sum.String()))
	}
	return nil
}

// keptBaseline exports the newest generation. A size stands before the content
// of a member, so the export is made twice: once to count. A generation that
// cannot be opened is saved as the file that it is.
func (v *evidence) keptBaseline() error {
	const name = "baseline.jsonl"
	g, err := v.gen, v.genErr
	if errors.Is(err, baseline.ErrNoBaseline) {
		return v.line("note %s: %s", name, report.Prose(err.Error()))
	}
	if err != nil {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if err := v.gap(name, "%v", err); err != nil {
			return err
		}
		if n, err := v.store.Latest(); err == nil && n > 0 {
			file := fmt.Sprintf("%010d.db", n)
			return v.copied("baseline/"+file, filepath.Join(v.store.Dir(), "baseline", file))
		}
		return nil
	}
	var n counter
	if err := g.Export(v.ctx, &n); err != nil {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		return v.gap(name, "%v", err)
	}
	in, out := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				out.CloseWithError(fmt.Errorf("internal error: %v", p))
			}
		}()
		out.CloseWithError(g.Export(v.ctx, out))
	}()
	err = v.file(&tar.Header{Name: name, Mode: 0o600, Size: int64(n), ModTime: g.Statement().Created}, in)
	in.Close()
	<-done // it uses g
	return err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

func (v *evidence) keptStatements() error {
	dir := filepath.Join(v.store.Dir(), "baseline")
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return v.gap("statements", "%v", err)
	}
	for _, e := range list {
		if n := e.Name(); strings.HasSuffix(n, ".statement") || strings.HasSuffix(n, ".statement.sig") {
			if err := v.copied("statements/"+n, filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptByHooks saves what the hooks of package managers saw, and what was recorded
// of packages: each file as it is. What is no file there is told of.
func (v *evidence) keptByHooks() error {
	for _, sub := range []string{baseline.InboxDir, baseline.PackagesDir, baseline.IndexesDir} {
		d, err := v.openKept(sub)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			if err := v.gap(sub, "%v", err); err != nil {
				return err
			}
			continue
		}
		var fault error
		err = d.each(func(name string) bool {
			fault = v.keptFile(d, name, sub+"/"+name)
			return fault == nil
		})
		d.Close()
		if fault != nil {
			return fault
		}
		if err != nil {
			if err := v.gap(sub, "%v", err); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxKeptFile bounds one file of a hook that is saved, in bytes: no manifest is
// longer.
const maxKeptFile = manifest.MaxSize

// keptFile saves one file of a folder that others may have written to.
func (v *evidence) keptFile(d *keptDir, name, member string) error {
	in, err := d.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return v.gap(member, "%v", err)
	}
	defer in.Close()
	st, err := in.Stat()
	switch {
	case err != nil:
		return v.gap(member, "%v", err)
	case st.Size() > maxKeptFile:
		return v.gap(member, "%d bytes, more than any that a hook writes", st.Size())
	}
	h := &tar.Header{Name: member, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime()}
	content, err := v.judged(in, h)
	if content == nil || err != nil {
		return err
	}
	return v.file(h, content)
}

// manifestHead is the beginning of the MANIFEST. It is made last: it has the
// counts.
func (v *evidence) manifestHead(key seal.Signer) []byte {
	var b bytes.Buffer
	word := func(name, value string) { fmt.Fprintf(&b, "%s: %s\n", name, value) }
	word("format", "intact.evidence/1")
	host, err := v.store.HostID()
	if err != nil {
		host = "unknown: " + report.Prose(err.Error())
	}
	word("host", host)
	word("hostname", report.Escape(hostName()))
	word("root", report.Escape(v.root.HostPath()))
	if at := boot(); at.ID != "" {
		word("boot", report.Escape(at.ID))
	}
	word("started", v.started.UTC().Format("2006-01-02T15:04:05.000000000Z"))
	word("finished", v.env.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"))
	word("user", report.Escape(v.approver()))
	word("tool", report.Escape(v.env.Version))
	word("tool-digest", v.toolDigest().Named())
	quoted := make([]string, len(v.env.Args))
	for i, a := range v.env.Args {
		quoted[i] = report.ShellQuote(a)
	}
	word("command", strings.Join(quoted, " "))
	if key != nil {
		word("signed", key.Key().Fingerprint+" in "+EvidenceNamespace)
	} else {
		word("signed", "no")
	}
	if v.o.Findings {
		word("report", report.Escape(filepath.Base(v.report.Path)))
	}
	for _, r := range v.remarked {
		word("note", report.Prose(r))
	}
	word("members", fmt.Sprint(v.members))
	word("gaps", fmt.Sprint(v.gaps))
	b.WriteString("\n# TYPE SHA256 BLAKE3 SIZE NAME, names escaped; gap NAME: WHY; skip NAME: WHAT\n")
	return b.Bytes()
}
