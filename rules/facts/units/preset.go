package units

import (
	"path"
	"slices"
	"strings"

	"intact/scanner/entry"
)

// preset is one line of a preset file (systemd.preset(5)).
type preset struct{ verb, pattern string }

type presets []preset

// presets reads what the distribution wants to be enabled. Files apply in the
// order of their names, of one name the folder that counts first has it; the
// first line that fits decides.
func (r *reader) presets() (out presets) {
	files := map[string]entry.Path{}
	done := map[entry.Path]bool{}
	for _, dir := range presetFolders {
		at, _, exists, err := r.root.Resolve(dir)
		if err != nil || !exists || done[at] {
			continue
		}
		done[at] = true
		r.list(dir, func(name string) {
			if _, ok := files[name]; !ok && strings.HasSuffix(name, ".preset") {
				files[name] = dir.Join([]byte(name))
			}
		})
	}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b, _ := r.read(files[n])
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0][0] == '#' || f[0][0] == ';' {
				continue
			}
			switch f[0] {
			case "enable", "disable", "ignore":
				out = append(out, preset{f[0], f[1]})
			}
		}
	}
	return out
}

// of says what the presets want of a unit. systemd enables what no line names;
// "" tells that apart.
func (p presets) of(name string) string {
	for _, x := range p {
		if ok, err := path.Match(x.pattern, name); ok && err == nil {
			return x.verb
		}
	}
	return ""
}
