package derived

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

var errForeign = errors.New("a member that nobody vouches for")

// unpacking is one image being held against the root.
type unpacking struct {
	*explainer
	ctx    context.Context
	found  answer
	hasher *digest.Hasher
	linked map[uint32][]entry.Path // names of an inode whose content comes later
}

// initramfs: every file in it equals a verified file of a package. Members that
// are made for the image leave it attributed; any other member, and it is
// unexplained.
func (x *explainer) initramfs(ctx context.Context, c *diff.Change) answer {
	b, ok := x.read(ctx, c, maxImage)
	if !ok {
		return nothing
	}
	u := &unpacking{explainer: x, ctx: ctx, found: answer{level: rules.Signed}, hasher: digest.New(), linked: map[uint32][]entry.Path{}}
	if err := readImage(b, u.member); err != nil || len(u.linked) > 0 || len(u.found.sources) == 0 {
		return nothing
	}
	return u.found
}

// member judges one member.
func (u *unpacking) member(m *member, content io.Reader) error {
	if u.ctx.Err() != nil || len(u.found.sources) >= maxSources {
		return errForeign
	}
	p, err := entry.NewPath("/" + m.name)
	if err != nil || strings.Contains("/"+m.name+"/", "/../") || m.uid != 0 || m.gid != 0 {
		return errForeign
	}
	switch m.mode & cpioType {
	case cpioDir:
		if m.size != 0 || m.mode&0o022 != 0 && m.mode&0o1000 == 0 {
			return errForeign
		}
		return nil
	case cpioLink:
		return u.link(p, m, content)
	case cpioChar: // console, null: what initramfs-tools makes for a kernel without devtmpfs
		if p == "/dev/console" && m.major == 5 && m.minor == 1 || p == "/dev/null" && m.major == 1 && m.minor == 3 {
			return nil
		}
		return errForeign
	case cpioFile:
	default:
		return errForeign
	}
	paths := []entry.Path{p}
	if m.nlink > 1 {
		// Several names of one inode: the content comes with the last of them.
		u.linked[m.inode] = append(u.linked[m.inode], p)
		if m.size == 0 {
			return nil
		}
		paths = u.linked[m.inode]
		delete(u.linked, m.inode)
	}
	u.hasher.Reset(int64(m.size))
	head := make([]byte, 4)
	n, err := io.ReadFull(content, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	head = head[:n]
	u.hasher.Write(head)
	if _, err := io.Copy(u.hasher, content); err != nil {
		return err
	}
	sum := u.hasher.Sum()
	for _, p := range paths {
		if !u.file(p, m, sum, head) {
			return errForeign
		}
	}
	return nil
}

// file reports whether a file of that digest may stand at p in the image.
func (u *unpacking) file(p entry.Path, m *member, sum digest.Digest, head []byte) bool {
	for _, of := range u.originals(p) {
		e, ok := u.look(u.ctx, of)
		if !ok || e.Kind != entry.File || e.Have&entry.Content == 0 || e.Hashed != e.Size || e.Digest != sum || e.Size != int64(m.size) || uint16(m.mode&0o7000)&^e.Mode != 0 {
			continue
		}
		if u.owned(u.ctx, of) {
			u.found.sources = append(u.found.sources, of)
			return true
		}
	}
	if m.mode&0o7111 != 0 || bytes.HasPrefix(head, []byte("#!")) || bytes.HasPrefix(head, []byte("\x7fELF")) || !matchesAny(u.table.generated, p) {
		return false
	}
	u.found.level = rules.Attributed
	return true
}

// originals are the paths that a member at p may be a copy of.
func (u *unpacking) originals(p entry.Path) []entry.Path {
	out := names(p)
	for i := range u.table.copies {
		c := &u.table.copies[i]
		if !matchesAny([]pattern{c.member}, p) {
			continue
		}
		for _, of := range c.of {
			if !strings.HasSuffix(of, "/") {
				out = append(out, entry.Path(of))
				continue
			}
			// What stands behind the fixed part of the pattern.
			out = append(out, entry.Path(of+strings.TrimPrefix(string(p), c.member.literal)))
		}
	}
	return out
}

// link judges a symbolic link: the root has the same, or it leads to a verified
// file of a package, or into a folder of the image that a merged /usr has.
func (u *unpacking) link(p entry.Path, m *member, content io.Reader) error {
	if m.size == 0 || m.size > maxName {
		return errForeign
	}
	target, err := io.ReadAll(content)
	if err != nil || bytes.IndexByte(target, 0) >= 0 {
		return errForeign
	}
	to, ok := leads(p, target)
	if !ok {
		return errForeign
	}
	if alias, ok := merged(p); ok && alias == to && !strings.Contains(string(p[1:]), "/") {
		return nil
	}
	if to.Under("/proc") && matchesAny(u.table.generated, p) { // etc/mtab
		u.found.level = rules.Attributed
		return nil
	}
	for _, of := range names(p) {
		e, ok := u.world.Look(u.ctx, of)
		if !ok || e.Kind != entry.Symlink || !bytes.Equal(e.Target, target) {
			continue
		}
		if u.owned(u.ctx, of) {
			return nil
		}
	}
	for _, of := range u.originals(to) {
		if u.owned(u.ctx, of) {
			u.found.level = rules.Attributed // the root has no such link
			return nil
		}
	}
	return errForeign
}
