package osupdates

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// bootHeader is how much of a kernel image is read: the setup code of x86, which
// has the version, is 64 sectors of 512 bytes at most.
const bootHeader = 64*512 + 512

// kernelVersion is what an image or a running kernel says of itself.
type kernelVersion struct {
	release string // as uname -r
	build   string // as uname -v; "" where it is not known
}

// bootVersion reads the version in the header of an x86 kernel image, by the boot
// protocol: a string "RELEASE (BUILDER) BUILD" at 0x200 plus what stands at
// 0x20e. Images for other machines have no such header.
func bootVersion(b []byte) (v kernelVersion, ok bool) {
	const header, at = 0x202, 0x20e
	if len(b) < at+2 || b[0x1fe] != 0x55 || b[0x1ff] != 0xaa || string(b[header:header+4]) != "HdrS" {
		return v, false
	}
	sectors := int(b[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	off := int(binary.LittleEndian.Uint16(b[at:]))
	if off == 0 || off >= sectors*512 || 0x200+off >= len(b) {
		return v, false
	}
	text, _, ended := bytes.Cut(b[0x200+off:min(len(b), 0x200+off+512)], []byte{0})
	if !ended {
		return v, false
	}
	return parseBanner(string(text))
}

// parseBanner reads "RELEASE (BUILDER) BUILD".
func parseBanner(text string) (v kernelVersion, ok bool) {
	v.release, text, _ = strings.Cut(text, " ")
	if !kernelRelease(v.release) {
		return kernelVersion{}, false
	}
	if i := strings.Index(text, "#"); i >= 0 {
		v.build = strings.TrimSpace(text[i:])
	}
	return v, true
}

// kernelRelease reports whether s can be the release of a kernel.
func kernelRelease(s string) bool {
	return s != "" && len(s) < 256 && s[0] >= '0' && s[0] <= '9' && strings.IndexFunc(s, func(r rune) bool {
		return r > 127 || !isAlnum(byte(r)) && !strings.ContainsRune("._-+~", r)
	}) < 0
}

// imageNames are what the names of kernel images begin with.
var imageNames = [...]string{"vmlinuz-", "vmlinux-", "kernel-", "Image-", "zImage-", "image-"}

// releaseOfName returns the release that the name of an image has.
func releaseOfName(name string) (string, bool) {
	for _, prefix := range imageNames {
		if r, ok := strings.CutPrefix(name, prefix); ok {
			for _, suffix := range [...]string{".gz", ".efi", ".signed", ".img"} {
				r = strings.TrimSuffix(r, suffix)
			}
			return r, kernelRelease(r) && !strings.HasPrefix(r, "0-rescue") && !strings.HasSuffix(r, ".old") && !strings.HasSuffix(r, ".bak")
		}
	}
	return "", false
}

// flavour is what a release has besides its version: "cloud-amd64" of
// "6.1.0-28-cloud-amd64". Kernels of another flavour are not newer ones of this.
func flavour(release string) string {
	for i := range len(release) - 1 {
		if c := release[i+1] | 0x20; (release[i] == '-' || release[i] == '+') && 'a' <= c && c <= 'z' && !strings.HasPrefix(release[i+1:], "rc") && !strings.HasPrefix(release[i:], "+bpo") {
			return release[i+1:]
		}
	}
	return ""
}
