package derived

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Bounds of a library cache and of what it leads to, in bytes.
const (
	maxCache   = 8 << 20
	maxLibrary = 256 << 20
	maxConf    = 1 << 20
)

// The cache of ldconfig, little-endian as on every machine that Debian and the
// rpm distributions ship today but s390x (sysdeps/generic/dl-cache.h of glibc):
//
//	"glibc-ld.so.cache1.1" ‖ count ‖ bytes of strings ‖ byte order ‖ 3 unused ‖ extensions ‖ 12 unused
//	count × (flags ‖ key ‖ value ‖ version of the system ‖ 64 bits of hardware)
//	strings ‖ extensions
//
// Keys, values and extensions are offsets from the beginning of this header. An
// old header and its entries of 12 bytes may stand before it.
const (
	oldMagic   = "ld.so-1.7.0"
	oldHeader  = 16
	oldEntry   = 12
	newMagic   = "glibc-ld.so.cache1.1"
	newHeader  = 48
	newEntry   = 24
	extMagic   = 0xeaa42174
	extHeader  = 8
	extSection = 16
	hwcapBit   = 1 << 62
)

var errCache = errors.New("malformed library cache")

// library is an entry of the cache.
type library struct {
	key, path string
	hwcap     bool // for a certain hardware
}

// parseCache reads a cache, all of it or nothing.
func parseCache(b []byte) ([]library, error) {
	type old struct{ key, value uint32 }
	var olds []old
	if bytes.HasPrefix(b, []byte(oldMagic)) {
		if len(b) < oldHeader {
			return nil, errCache
		}
		n := uint64(binary.LittleEndian.Uint32(b[12:]))
		end := oldHeader + n*oldEntry
		if end > uint64(len(b)) {
			return nil, errCache
		}
		for at := uint64(oldHeader); at < end; at += oldEntry {
			olds = append(olds, old{binary.LittleEndian.Uint32(b[at+4:]), binary.LittleEndian.Uint32(b[at+8:])})
		}
		if end = (end + 7) &^ 7; end > uint64(len(b)) {
			return nil, errCache
		}
		b = b[end:]
	}
	if len(b) < newHeader || string(b[:len(newMagic)]) != newMagic {
		return nil, errCache
	}
	u32 := func(at uint64) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	n, size, order, ext := uint64(u32(20)), uint64(u32(24)), b[28], uint64(u32(32))
	first := newHeader + n*newEntry // of the strings
	last := first + size
	if last > uint64(len(b)) || order != 0 && order != 2 || n == 0 || !zero(b[29:32]) || !zero(b[36:48]) {
		return nil, errCache
	}
	text := func(at uint32) (string, bool) {
		if uint64(at) < first || uint64(at) >= last {
			return "", false
		}
		end := bytes.IndexByte(b[at:last], 0)
		return string(b[at : uint64(at)+uint64(max(end, 0))]), end > 0
	}
	if !extensions(b, ext, last, text) {
		return nil, errCache
	}
	var out []library
	for i := range n {
		at := newHeader + i*newEntry
		flags, hw := u32(at), binary.LittleEndian.Uint64(b[at+16:])
		key, ok1 := text(u32(at + 4))
		value, ok2 := text(u32(at + 8))
		if !ok1 || !ok2 || flags&0xff != 3 && flags&0xff != 1 || flags&^0xffff != 0 || hw != 0 && hw&hwcapBit == 0 {
			return nil, errCache
		}
		out = append(out, library{key, value, hw != 0})
	}
	for _, o := range olds {
		key, ok1 := text(o.key)
		value, ok2 := text(o.value)
		if !ok1 || !ok2 {
			return nil, errCache
		}
		out = append(out, library{key, value, false})
	}
	return out, nil
}

// extensions checks what stands behind the strings: who made the cache, and
// names of hardware.
func extensions(b []byte, at, strings uint64, text func(uint32) (string, bool)) bool {
	size := uint64(len(b))
	if at == 0 {
		return strings == size || size-strings < 8 && zero(b[strings:])
	}
	if at < strings || at+extHeader > size || at-strings >= 8 || !zero(b[strings:at]) || binary.LittleEndian.Uint32(b[at:]) != extMagic {
		return false
	}
	n := uint64(binary.LittleEndian.Uint32(b[at+4:]))
	if n > 8 || at+extHeader+n*extSection > size {
		return false
	}
	end := at + extHeader + n*extSection
	for i := range n {
		s := b[at+extHeader+i*extSection:]
		tag, flags := binary.LittleEndian.Uint32(s), binary.LittleEndian.Uint32(s[4:])
		from, length := uint64(binary.LittleEndian.Uint32(s[8:])), uint64(binary.LittleEndian.Uint32(s[12:]))
		if from != end || from+length > size || flags != 0 || tag > 1 {
			return false
		}
		end = from + length
		if tag == 1 {
			if length%4 != 0 {
				return false
			}
			for j := from; j < end; j += 4 {
				if _, ok := text(binary.LittleEndian.Uint32(b[j:])); !ok {
					return false
				}
			}
		}
	}
	return end == size
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// libraryCache: every entry leads to a verified library in a folder that the
// loader searches, under the name that the library has.
func (x *explainer) libraryCache(ctx context.Context, c *diff.Change) answer {
	b, ok := x.read(ctx, c, maxCache)
	if !ok {
		return nothing
	}
	libs, err := parseCache(b)
	if err != nil || len(libs) > maxSources {
		return nothing
	}
	a := answer{level: rules.Signed}
	var searched []entry.Path
	for _, l := range libs {
		p, ok := clean(l.path)
		if !ok || ctx.Err() != nil {
			return nothing
		}
		dir := p.Dir()
		if at := strings.LastIndex(string(dir), "/glibc-hwcaps/"); at > 0 && l.hwcap {
			dir = dir[:at]
		}
		if !usualFolder(dir) {
			if searched == nil {
				if searched, ok = x.searchedFolders(ctx); !ok {
					return nothing
				}
			}
			if !slices.Contains(searched, dir) {
				return nothing
			}
		}
		if _, ok := x.world.Verified(ctx, p); !ok || !x.named(ctx, p, l.key) {
			return nothing
		}
		a.sources = append(a.sources, p)
	}
	return a
}

// usualFolder reports whether the loader searches dir by itself, or Debian's
// configuration of it does.
func usualFolder(dir entry.Path) bool {
	if alias, ok := merged(dir); ok && !dir.Under("/usr") {
		dir = alias
	}
	s, ok := strings.CutPrefix(string(dir), "/usr/")
	if !ok {
		return false
	}
	s = strings.TrimPrefix(s, "local/")
	first, rest, _ := strings.Cut(s, "/")
	if first == "lib32" || first == "lib64" || first == "libx32" {
		return rest == ""
	}
	return first == "lib" && (rest == "" || !strings.Contains(rest, "/") && strings.Count(rest, "-") == 2 && strings.Contains(rest, "linux"))
}

// searchedFolders gives the folders that verified configuration names.
func (x *explainer) searchedFolders(ctx context.Context) ([]entry.Path, bool) {
	files, ok := x.list(ctx, "/etc/ld.so.conf.d", 1000)
	if !ok {
		return nil, false
	}
	dirs := []entry.Path{}
	for _, f := range append(files, "/etc/ld.so.conf") {
		if f != "/etc/ld.so.conf" && !strings.HasSuffix(string(f), ".conf") {
			continue
		}
		if _, ok := x.world.Verified(ctx, f); !ok {
			return nil, false
		}
		b, ok := x.world.Reference(ctx, f, maxConf)
		if !ok {
			return nil, false
		}
		for line := range strings.Lines(string(b)) {
			line, _, _ = strings.Cut(line, "#")
			if p, ok := clean(strings.TrimRight(strings.TrimSpace(line), "/")); ok {
				dirs = append(dirs, p)
			}
		}
	}
	return dirs, true
}

// named reports whether key is the name of the library at p: that of the file,
// or the one that the file says it has.
func (x *explainer) named(ctx context.Context, p entry.Path, key string) (ok bool) {
	if key == p.Base() {
		return true
	}
	b, ok := x.world.Reference(ctx, p, maxLibrary)
	if !ok {
		return false
	}
	defer func() {
		if recover() != nil { // debug/elf reads what a stranger may have made
			ok = false
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return false
	}
	names, err := f.DynString(elf.DT_SONAME)
	return err == nil && len(names) == 1 && names[0] == key
}
