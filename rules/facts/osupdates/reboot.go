package osupdates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/scanner/entry"
)

// maxImages bounds the kernel images that are looked at.
const maxImages = 256

// Reboot says whether the newest installed kernel runs.
type Reboot struct {
	Running      string `cel:"running"` // release of the running kernel, as uname -r
	RunningBuild string `cel:"running_build"`
	RunningKnown bool   `cel:"running_known"` // of an image never
	// Newest is the release of the newest kernel image below /boot of the running
	// one's flavour, by its header where it has one and else by its name. Where no
	// image is of that flavour, of any.
	Newest      string `cel:"newest"`
	NewestBuild string `cel:"newest_build"` // as uname -v would have it; "" where the image does not say
	NewestKnown bool   `cel:"newest_known"`
	Image       string `cel:"image"` // it, absolute inside the root
	Packaged    string `cel:"packaged"`
	// PackagedKnown says that a kernel of that flavour is installed as a package;
	// Packaged is the release of the newest one.
	PackagedKnown bool     `cel:"packaged_known"`
	Flag          bool     `cel:"flag"`       // a package asked for it: /run/reboot-required
	FlagKnown     bool     `cel:"flag_known"` // of an image never. That there is no flag says little: a hook must be there to set it
	Packages      []string `cel:"packages"`   // that asked
	Needed        bool     `cel:"needed"`
	NeededKnown   bool     `cel:"needed_known"` // false where no kernel is installed to compare with, as where the hypervisor brings it
	Why           []string `cel:"why"`
}

// NeedsReboot compares the running kernel with those that are installed. Its
// answer has one row.
func NeedsReboot(ctx context.Context, on facts.Host) facts.Answer[Reboot] {
	h := &host{Host: on}
	var r Reboot
	if on.Live {
		h.running(&r)
		h.flags(&r)
	}
	h.newest(ctx, &r)
	h.packaged(ctx, &r)
	r.conclude()
	return answer(&h.problems, []Reboot{r}, "/boot, /proc/sys/kernel and /run/reboot-required")
}

// running reads what the kernel says of itself.
func (h *host) running(r *Reboot) {
	release, err := h.proc().Release()
	if err != nil {
		h.add(err)
		return
	}
	r.Running, r.RunningKnown = release, true
	if f, err := h.Root.OpenFile("/proc/sys/kernel/version"); err == nil {
		b, err := io.ReadAll(io.LimitReader(f, 512))
		f.Close()
		if err == nil {
			r.RunningBuild = strings.TrimSpace(string(b))
		}
	}
}

// proc is the proc(5) of a live host.
func (h *host) proc() facts.Proc {
	return facts.Proc{Dir: filepath.Join(h.Root.HostPath(), "proc")}
}

// flags reads what hooks of packages left.
func (h *host) flags(r *Reboot) {
	r.FlagKnown = true
	for _, p := range []entry.Path{"/run/reboot-required", "/var/run/reboot-required"} {
		f, err := h.Root.OpenFile(p)
		if err == nil {
			f.Close()
			r.Flag = true
			break
		}
		if !gone(err) {
			h.add(err)
			r.FlagKnown = false
		}
	}
	if b, ok := h.read("/run/reboot-required.pkgs", maxConfig); ok {
		for name := range strings.Lines(string(b)) {
			if name = strings.TrimSpace(name); name != "" && len(r.Packages) < maxImages {
				r.Packages = append(r.Packages, name)
			}
		}
	}
}

// newest looks for the newest image.
func (h *host) newest(ctx context.Context, r *Reboot) {
	looked, same := 0, false
	for _, name := range h.list("/boot", maxFiles, false) {
		named, ok := releaseOfName(name)
		if !ok {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			h.add(err)
			return
		}
		if looked++; looked > maxImages {
			h.add(fmt.Errorf("%w: over %d kernel images in /boot", errTooMany, maxImages))
			return
		}
		p := entry.Path("/boot").Join([]byte(name))
		v, ok := h.image(p, named)
		if !ok {
			continue
		}
		fits := r.RunningKnown && flavour(v.release) == flavour(r.Running)
		if !r.NewestKnown || fits && !same || fits == same && deb.Compare(v.release, r.Newest) > 0 {
			r.Newest, r.NewestBuild, r.NewestKnown, r.Image = v.release, v.build, true, string(p)
		}
		same = same || fits
	}
}

// image says of which version an image is.
func (h *host) image(p entry.Path, named string) (kernelVersion, bool) {
	f, err := h.Root.OpenFile(p)
	if gone(err) {
		return kernelVersion{}, false
	}
	if err != nil {
		h.add(err)
		return kernelVersion{}, false
	}
	defer f.Close()
	b := make([]byte, bootHeader)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		h.add(err)
		return kernelVersion{}, false
	}
	if v, ok := bootVersion(b[:n]); ok {
		return v, true
	}
	return kernelVersion{release: named}, true
}

// packaged looks for the newest kernel among the packages: linux-image-RELEASE
// of dpkg, kernel-core or kernel-default of rpm.
func (h *host) packaged(ctx context.Context, r *Reboot) {
	pkgs, _ := h.packages(ctx)
	for _, p := range pkgs {
		release := ""
		switch rest, image := strings.CutPrefix(p.Name, "linux-image-"); {
		case p.Kind == "dpkg" && image && (p.Status == "installed" || p.Status == pkgdb.Held):
			release = strings.TrimPrefix(rest, "unsigned-")
		case p.Kind == "rpm" && (p.Name == "kernel-core" || p.Name == "kernel-default"):
			release = p.Version + "." + p.Arch
			if p.Name == "kernel-default" {
				release = p.Version + "-default"
			}
		}
		if !kernelRelease(release) || r.RunningKnown && flavour(release) != flavour(r.Running) {
			continue
		}
		if !r.PackagedKnown || deb.Compare(release, r.Packaged) > 0 {
			r.Packaged, r.PackagedKnown = release, true
		}
	}
}

// conclude says whether it is needed, and why.
func (r *Reboot) conclude() {
	if r.Flag {
		r.Why = append(r.Why, "a package asked for it")
	}
	if r.RunningKnown && r.NewestKnown {
		switch c := deb.Compare(r.Newest, r.Running); {
		case c > 0:
			r.Why = append(r.Why, "a newer kernel is installed")
		case c == 0 && r.NewestBuild != "" && r.RunningBuild != "" && r.NewestBuild != r.RunningBuild:
			r.Why = append(r.Why, "the installed kernel of the running release is another build")
		}
	}
	if r.RunningKnown && r.PackagedKnown && deb.Compare(r.Packaged, r.Running) > 0 && deb.Compare(r.Packaged, r.Newest) > 0 {
		r.Why = append(r.Why, "a newer kernel is installed as a package")
	}
	r.Needed = len(r.Why) > 0
	r.NeededKnown = r.Needed || r.RunningKnown && r.NewestKnown
}
