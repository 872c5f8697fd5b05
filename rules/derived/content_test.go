package derived_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/scanner/entry"
)

// cacheOf writes a library cache in the new format, from pairs of key and path.
func cacheOf(pairs ...string) string {
	const header, each = 48, 24
	n := len(pairs) / 2
	var text []byte
	put := func(s string) uint32 {
		at := header + each*n + len(text)
		text = append(append(text, s...), 0)
		return uint32(at)
	}
	le := binary.LittleEndian
	var entries []byte
	for i := range n {
		entries = le.AppendUint32(entries, 0x0303)
		entries = le.AppendUint32(entries, put(pairs[2*i]))
		entries = le.AppendUint32(entries, put(pairs[2*i+1]))
		entries = append(entries, make([]byte, 12)...)
	}
	out := []byte("glibc-ld.so.cache1.1")
	out = le.AppendUint32(out, uint32(n))
	out = le.AppendUint32(out, uint32(len(text)))
	out = append(out, 2, 0, 0, 0)
	ext := (header + len(entries) + len(text) + 3) &^ 3
	out = le.AppendUint32(out, uint32(ext))
	out = append(out, make([]byte, 12)...)
	out = append(append(out, entries...), text...)
	out = append(out, make([]byte, ext-len(out))...)
	out = le.AppendUint32(out, 0xeaa42174)
	out = le.AppendUint32(out, 1)
	for _, v := range []uint32{0, 0, uint32(ext + 24), 8} {
		out = le.AppendUint32(out, v)
	}
	return string(out) + "ldconfig"
}

// compat puts an old header with the same entries before it.
func compat(cache string, n int) string {
	le := binary.LittleEndian
	out := append([]byte("ld.so-1.7.0"), 0)
	out = le.AppendUint32(out, uint32(n))
	for i := range n {
		at := 48 + 24*i
		out = append(out, cache[at:at+12]...)
	}
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	return string(out) + cache
}

func TestLibraryCache(t *testing.T) {
	const dir = "/lib/x86_64-linux-gnu/"
	good := cacheOf("liba.so.1", dir+"liba.so.1", "libb.so.2", "/usr/lib/libb.so.2")
	edit := func(at int, b byte) string {
		s := []byte(good)
		s[at] = b
		return string(s)
	}
	tests := map[string]struct{ text, want string }{
		"as ldconfig writes":     {good, rules.Signed},
		"both formats":           {compat(good, 2), rules.Signed},
		"unchanged, no package":  {cacheOf("liba.so.1", dir+"liba.so.1", "libl.so", "/usr/local/lib/libl.so"), rules.Signed},
		"planted":                {cacheOf("liba.so.1", dir+"liba.so.1", "libc.so.6", dir+"libc.so.6"), ""},
		"elsewhere":              {cacheOf("liba.so.1", "/tmp/liba.so.1"), ""},
		"private folder":         {cacheOf("liba.so.1", "/usr/lib/app/liba.so.1"), ""},
		"configured folder":      {cacheOf("liba.so.1", dir+"liba.so.1", "libo.so", "/opt/o/libo.so"), rules.Signed},
		"another library's name": {cacheOf("libb.so.2", dir+"liba.so.1"), ""},
		"missing":                {cacheOf("libn.so", dir+"libn.so"), ""},
		"climbs":                 {cacheOf("liba.so.1", dir+"../x86_64-linux-gnu/liba.so.1"), ""},
		"only others'":           {cacheOf("libb.so.2", "/usr/lib/libb.so.2"), ""},
		"empty":                  {cacheOf(), ""},
		"more behind it":         {good + "x", ""},
		"cut":                    {good[:len(good)-1], ""},
		"count":                  {edit(23, 0xff), ""},
		"flags":                  {edit(50, 1), ""},
		"other byte order":       {edit(28, 3), ""},
		"key outside":            {edit(55, 0x7f), ""},
		"extension outside":      {edit(35, 0x7f), ""},
	}
	for name, tt := range tests {
		w := world{
			"/etc/ld.so.cache":                    {content: tt.text},
			"/usr/lib/x86_64-linux-gnu/liba.so.1": {target: "liba.so.1.0"}, "/usr/lib/x86_64-linux-gnu/liba.so.1.0": {owner: "liba"},
			"/usr/lib/libb.so.2":                  {owner: "libb"},
			"/usr/local/lib/libl.so":              {},
			"/usr/lib/x86_64-linux-gnu/libc.so.6": {owner: "libc6", changed: true},
			"/usr/lib/app/liba.so.1":              {owner: "app"},
			"/tmp/liba.so.1":                      {},
			"/opt/o/libo.so":                      {},
			"/etc/ld.so.conf":                     {content: "include /etc/ld.so.conf.d/*.conf\n"},
			"/etc/ld.so.conf.d/o.conf":            {content: "# here\n/opt/o\n"},
			"/etc/ld.so.conf.d/evil":              {content: "/usr/lib/app\n"},
		}
		if got := level(listing{w}, w.change("/etc/ld.so.cache"), upgrade("/usr/lib/x86_64-linux-gnu/liba.so.1")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	for i := range len(good) { // no cut is read as a shorter cache
		w := world{"/etc/ld.so.cache": {content: good[:i]}, "/usr/lib/x86_64-linux-gnu/liba.so.1": {owner: "a"}, "/usr/lib/libb.so.2": {owner: "b"}}
		if got := level(w, w.change("/etc/ld.so.cache"), all()); got != "" {
			t.Fatalf("cut at %d: got %q", i, got)
		}
	}
}

func TestRealLibraryCache(t *testing.T) {
	c := realChange(t, "/etc/ld.so.cache")
	if got := level(disk{}, c, all()); got != rules.Signed {
		t.Errorf("got %q", got)
	}
}

const (
	caBundle = entry.Path("/etc/ssl/certs/ca-certificates.crt")
	caConf   = entry.Path("/etc/ca-certificates.conf")
	caDir    = entry.Path("/usr/share/ca-certificates/")
)

func certWorld(bundle string) world {
	return world{
		caBundle:                                  {content: bundle},
		caConf:                                    {content: "# chosen\n\nmozilla/A.crt\n!mozilla/B.crt\nmozilla/C (x).crt\nmozilla/gone.crt\n"},
		caDir + "mozilla/A.crt":                   {content: "PEM A\n", owner: "ca-certificates"},
		caDir + "mozilla/B.crt":                   {content: "PEM B\n", owner: "ca-certificates"},
		caDir + "mozilla/C (x).crt":               {content: "PEM C", owner: "ca-certificates"},
		caDir + "mozilla/D.crt":                   {content: "PEM D\n", owner: "ca-certificates"},
		"/usr/local/share/ca-certificates/l.crt":  {content: "PEM L\n"},
		"/usr/local/share/ca-certificates/m.crt":  {content: "PEM M"},
		"/usr/local/share/ca-certificates/README": {content: "words\n"},
	}
}

func TestBundle(t *testing.T) {
	const packaged = "PEM A\nPEM C\n"
	tests := map[string]struct {
		bundle string
		edit   func(w world)
		want   string
	}{
		"packaged alone":       {packaged, nil, rules.Signed},
		"with local ones":      {packaged + "PEM M\nPEM L\n", nil, rules.Signed},
		"one too many":         {packaged + "PEM L\nPEM L\n", nil, ""},
		"a stranger's":         {packaged + "PEM X\n", nil, ""},
		"a stranger's first":   {"PEM X\n" + packaged, nil, ""},
		"deselected":           {"PEM A\nPEM B\nPEM C\n", nil, ""},
		"words behind":         {packaged + "words\n", nil, ""},
		"one byte":             {"PEM A\nPEM c\n", nil, ""},
		"one missing":          {"PEM A\n", nil, ""},
		"empty":                {"", nil, ""},
		"local one changed":    {packaged + "PEM L\n", func(w world) { w["/usr/local/share/ca-certificates/l.crt"] = object{content: "PEM L\n", changed: true} }, ""},
		"source changed":       {packaged, func(w world) { w[caDir+"mozilla/A.crt"] = object{content: "PEM A\n", owner: "p", changed: true} }, ""},
		"source of no package": {packaged, func(w world) { w[caDir+"mozilla/A.crt"] = object{content: "PEM A\n"} }, ""},
		"a link to another package's": {packaged, func(w world) {
			w["/usr/share/doc/test.crt"] = object{content: "PEM A\n", owner: "doc"}
			w[caDir+"mozilla/A.crt"] = object{target: "/usr/share/doc/test.crt"}
		}, ""},
		"another selection": {packaged, func(w world) { o := w[caConf]; o.changed = true; w[caConf] = o }, rules.Attributed},
		"selection climbs":  {packaged, func(w world) { w[caConf] = object{content: "../../../tmp/A.crt\n"} }, ""},
	}
	for name, tt := range tests {
		w := certWorld(tt.bundle)
		if tt.edit != nil {
			tt.edit(w)
		}
		if got := level(listing{w}, w.change(caBundle), upgrade(caDir+"mozilla/A.crt")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	w := certWorld(packaged + "PEM L\n")
	if got := level(w, w.change(caBundle), all()); got != "" {
		t.Errorf("local ones, and nobody lists them: got %q", got)
	}
	if got := level(w, w.change(caConf), all()); got != rules.Attributed {
		t.Errorf("selection: got %q", got)
	}
	w[caConf] = object{content: "mozilla/D.crt\nmozilla/E.crt\n"}
	w[caDir+"mozilla/E.crt"] = object{content: "evil"}
	if got := level(w, w.change(caConf), all()); got != "" {
		t.Errorf("selection of what no package holds: got %q", got)
	}
}

func TestCertificateLinks(t *testing.T) {
	const certs = entry.Path("/etc/ssl/certs/")
	tests := []struct {
		name   entry.Path
		target string
		want   string
	}{
		{"A.pem", string(caDir) + "mozilla/A.crt", rules.Signed},
		{"C_=x=.pem", string(caDir) + "mozilla/C (x).crt", rules.Signed},
		{"l.pem", "/usr/local/share/ca-certificates/l.crt", rules.Signed},
		{"B.pem", string(caDir) + "mozilla/B.crt", ""},
		{"D.pem", string(caDir) + "mozilla/D.crt", ""},
		{"A.pem", "/tmp/A.crt", ""},
		{"x.pem", string(caDir) + "mozilla/A.crt", ""},
		{"A.pem", string(caDir) + "../../../tmp/A.crt", ""},
		{"01234567.0", "A.pem", rules.Signed},
		{"01234567.0", "B.pem", ""},
		{"01234567.0", "/tmp/A.pem", ""},
		{"01234567.0", string(caDir) + "mozilla/A.crt", ""},
		{"012345.0", "A.pem", ""},
	}
	for _, tt := range tests {
		w := certWorld("")
		w["/tmp/A.crt"] = object{content: "PEM A\n"}
		w[certs+"A.pem"] = object{target: string(caDir) + "mozilla/A.crt"}
		w[certs+"B.pem"] = object{target: string(caDir) + "mozilla/B.crt"}
		w[certs+tt.name] = object{target: tt.target}
		if got := level(w, w.change(certs+tt.name), upgrade(caDir+"mozilla/A.crt")); got != tt.want {
			t.Errorf("%s → %s: got %q, want %q", tt.name, tt.target, got, tt.want)
		}
	}
}

func TestRealCertificates(t *testing.T) {
	links, _ := filepath.Glob("/etc/ssl/certs/*.[p0]*")
	n := 0
	for _, l := range links {
		if target, err := os.Readlink(l); err != nil || strings.HasPrefix(target, "/") && !strings.Contains(target, "ca-certificates") {
			continue
		}
		if got := level(disk{}, realChange(t, entry.Path(l)), all()); got == rules.Signed {
			n++
		}
	}
	if n < 100 {
		t.Skipf("SKIPPED: %d links of the CA store are explained on this machine", n)
	}
	if got := level(disk{}, realChange(t, caBundle), all()); got != rules.Signed {
		t.Errorf("bundle: got %q", got)
	}
}

const record = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\n\n" +
	"/usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n/usr/bin/gawk\n10\n\n\n"

func altWorld() world {
	return world{
		"/var/lib/dpkg/alternatives/awk": {content: record},
		"/usr/bin/awk":                   {target: "/etc/alternatives/awk"},
		"/etc/alternatives/awk":          {target: "/usr/bin/gawk"},
		"/etc/alternatives/awk.1.gz":     {target: "/usr/share/man/man1/mawk.1.gz"},
		"/usr/bin/mawk":                  {owner: "mawk"},
		"/usr/bin/gawk":                  {owner: "gawk"},
		"/usr/share/man/man1/mawk.1.gz":  {owner: "mawk"},
		"/usr/share/man/man1/awk.1.gz":   {target: "/etc/alternatives/awk.1.gz"},
		"/usr/bin/evil":                  {},
	}
}

func TestAlternatives(t *testing.T) {
	const (
		rec  = entry.Path("/var/lib/dpkg/alternatives/awk")
		link = entry.Path("/etc/alternatives/awk")
		bin  = entry.Path("/usr/bin/awk")
	)
	set := func(p entry.Path, o object) func(world) { return func(w world) { w[p] = o } }
	tests := map[string]struct {
		path entry.Path
		edit func(world)
		want string
	}{
		"link":                       {link, nil, rules.Signed},
		"not the highest":            {link, set(link, object{target: "/usr/bin/mawk"}), ""},
		"leads elsewhere":            {link, set(link, object{target: "/usr/bin/evil"}), ""},
		"target changed":             {link, set("/usr/bin/gawk", object{owner: "gawk", changed: true}), ""},
		"target of no package":       {link, set("/usr/bin/gawk", object{}), ""},
		"record changed":             {link, set(rec, object{content: record, changed: true}), rules.Attributed},
		"manual":                     {link, set(rec, object{content: strings.Replace(record, "auto", "manual", 1)}), ""},
		"no such slave target":       {"/etc/alternatives/awk.1.gz", nil, ""},
		"no record":                  {"/etc/alternatives/nosuch", set("/etc/alternatives/nosuch", object{target: "/usr/bin/gawk"}), ""},
		"two records":                {link, set("/var/lib/dpkg/alternatives/bwk", object{content: strings.ReplaceAll(record, "awk.1.gz", "awk")}), ""},
		"record":                     {rec, nil, rules.Attributed},
		"record with a stranger":     {rec, set(rec, object{content: strings.ReplaceAll(record, "/usr/bin/gawk", "/usr/bin/evil")}), ""},
		"record of another link":     {rec, set(rec, object{content: strings.ReplaceAll(record, "/usr/bin/awk", "/usr/bin/gawk")}), ""},
		"record cut":                 {rec, set(rec, object{content: record[:len(record)-2]}), ""},
		"master":                     {bin, nil, rules.Signed},
		"master to another":          {bin, set(bin, object{target: "/etc/alternatives/awk.1.gz"}), ""},
		"master, chosen is not best": {bin, set(link, object{target: "/usr/bin/mawk"}), ""},
	}
	for name, tt := range tests {
		w := altWorld()
		if tt.edit != nil {
			tt.edit(w)
		}
		if got := level(listing{w}, w.change(tt.path), upgrade("/usr/bin/gawk")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	w := altWorld()
	if got := level(w, w.change(link), upgrade("/usr/bin/gawk")); got != rules.Signed {
		t.Errorf("without a list: got %q", got)
	}
	if got := level(listing{w}, w.change(link), upgrade("/usr/bin/other")); got != "" {
		t.Errorf("another package: got %q", got)
	}
	c := w.change(bin) // a program gives way to a link
	c.Old.Kind, c.Attrs = entry.File, entry.Type
	if got := level(listing{w}, c, upgrade("/usr/bin/gawk")); got != "" {
		t.Errorf("was a program: got %q", got)
	}
	if got := level(listing{w}, w.change(bin), upgrade("/usr/bin/gawk", bin)); got != "" {
		t.Errorf("a package holds it: got %q", got)
	}
}

func TestRealAlternatives(t *testing.T) {
	links, _ := filepath.Glob("/etc/alternatives/*")
	n := 0
	for _, l := range links {
		if level(disk{}, realChange(t, entry.Path(l)), all()) == rules.Signed {
			n++
		}
	}
	t.Logf("%d of %d explained", n, len(links))
	if n == 0 {
		t.Skip("SKIPPED: no alternatives on this machine")
	}
	if n*10 < len(links)*9 {
		t.Errorf("%d of %d", n, len(links))
	}
}

// pycOf writes a .pyc of flags 0 or of a hash.
func pycOf(flags, a, b uint32) string {
	out := []byte{0xa7, 0x0d, '\r', '\n'}
	for _, v := range []uint32{flags, a, b} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return string(out) + "\xe3code"
}

func TestBytecode(t *testing.T) {
	const p = entry.Path("/usr/lib/python3/dist-packages/m/__pycache__/a.b.cpython-311.opt-1.pyc")
	tests := map[string]struct{ text, owner, want string }{
		"matches":       {pycOf(0, 1000, 4), "python3-m", rules.Attributed},
		"time":          {pycOf(0, 1001, 4), "python3-m", ""},
		"size":          {pycOf(0, 1000, 5), "python3-m", ""},
		"flags":         {pycOf(4, 1000, 4), "python3-m", ""},
		"another hash":  {pycOf(1, 1000, 4), "python3-m", ""},
		"no package":    {pycOf(0, 1000, 4), "", ""},
		"no code":       {pycOf(0, 1000, 4)[:16], "python3-m", ""},
		"magic":         {"xxxx" + pycOf(0, 1000, 4)[4:], "python3-m", ""},
		"not a program": {pycOf(0, 1000, 4)[:16] + "#!/bin/sh", "python3-m", ""},
	}
	for name, tt := range tests {
		w := world{p: {content: tt.text}, "/usr/lib/python3/dist-packages/m/a.b.py": {content: "pass", mtime: 1000, owner: tt.owner}}
		if got := level(w, w.change(p), upgrade("/usr/lib/python3/dist-packages/m/a.b.py")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Python's own compiler makes the hashes.
func TestHashedBytecode(t *testing.T) {
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("SKIPPED: no python3")
	}
	dir := t.TempDir()
	const text = "print('a source of some length')\n"
	if err := os.WriteFile(filepath.Join(dir, "a.py"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"checked-hash", "unchecked-hash"} {
		cmd := exec.Command(python, "-m", "compileall", "-q", "-f", "--invalidation-mode", mode, dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		made, _ := filepath.Glob(dir + "/__pycache__/*.pyc")
		if len(made) != 1 {
			t.Fatalf("%v", made)
		}
		b, err := os.ReadFile(made[0])
		if err != nil {
			t.Fatal(err)
		}
		p := entry.Path("/usr/lib/x/__pycache__/" + filepath.Base(made[0]))
		w := world{p: {content: string(b)}, "/usr/lib/x/a.py": {content: text, owner: "x"}}
		if got := level(w, w.change(p), upgrade("/usr/lib/x/a.py")); got != rules.Attributed {
			t.Errorf("%s: got %q", mode, got)
		}
		w["/usr/lib/x/a.py"] = object{content: text + "#", owner: "x"}
		if got := level(w, w.change(p), upgrade("/usr/lib/x/a.py")); got != "" {
			t.Errorf("%s, another source: got %q", mode, got)
		}
	}
}

// part is a member of an initramfs: mode, name, content.
type part struct {
	mode          uint32
	name, content string
	nlink         uint32
}

func cpioOf(parts ...part) string {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for _, p := range append(parts, part{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 7, p.mode, 0, 0, max(p.nlink, 1), 0, len(p.content), 0, 0, 0, 0, len(p.name)+1, 0)
		b.WriteString(p.name + "\x00")
		pad()
		b.WriteString(p.content)
		pad()
	}
	return b.String()
}

// packed runs a packer of the system.
func packed(t *testing.T, text string, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

const (
	asFile = 0o100644
	asProg = 0o100755
	asDir  = 0o040755
	asLink = 0o120777
)

var honest = []part{
	{asDir, ".", "", 0}, {asLink, "bin", "usr/bin", 0}, {asDir, "usr/bin", "", 0},
	{asProg, "init", "#!/bin/sh\ninit\n", 0},
	{asProg, "usr/bin/busybox", "\x7fELF busybox", 0},
	{asFile, "usr/lib/modules/6.1/kernel/a.ko", "\x7fELF module", 0},
}

func imageWorld(image string) world {
	return world{
		"/boot/initrd.img-6.1":             {content: image},
		"/usr/share/initramfs-tools/init":  {content: "#!/bin/sh\ninit\n", owner: "initramfs-tools-core"},
		"/usr/bin/busybox":                 {content: "\x7fELF busybox", owner: "busybox", mode: 0o755},
		"/usr/bin/bad":                     {content: "\x7fELF bad", owner: "bad", changed: true},
		"/usr/bin/own":                     {content: "\x7fELF own"},
		"/usr/lib/modules/6.1/kernel/a.ko": {content: "\x7fELF module", owner: "linux-image"},
		"/usr/lib/libx.so.1":               {target: "libx.so.1.0"},
		"/usr/lib/libx.so.1.0":             {content: "\x7fELF x", owner: "libx"},
	}
}

func TestInitramfs(t *testing.T) {
	with := func(more ...part) string { return cpioOf(append(honest[:len(honest):len(honest)], more...)...) }
	good := with()
	const gap = "\x00\x00\x00\x00"
	tests := map[string]struct{ image, want string }{
		"all owned":            {good, rules.Signed},
		"two archives":         {cpioOf(part{asDir, "kernel", "", 0}) + gap + good + gap, rules.Signed},
		"through a link":       {with(part{asFile, "usr/lib/libx.so.1", "\x7fELF x", 0}, part{asFile, "lib/libx.so.1.0", "\x7fELF x", 0}), rules.Signed},
		"hard links":           {with(part{asProg, "usr/bin/busybox", "", 2}, part{asProg, "bin/busybox", "\x7fELF busybox", 2}), rules.Signed},
		"the root's link":      {with(part{asLink, "usr/lib/libx.so.1", "libx.so.1.0", 0}), rules.Signed},
		"a link of the image":  {with(part{asLink, "usr/bin/sh", "busybox", 0}), rules.Attributed},
		"generated":            {with(part{asFile, "conf/arch.conf", "DPKG_ARCH=amd64\n", 0}), rules.Attributed},
		"generated, a script":  {with(part{asFile, "conf/arch.conf", "#!/bin/sh\n", 0}), ""},
		"generated, executes":  {with(part{asProg, "conf/arch.conf", "DPKG_ARCH=amd64\n", 0}), ""},
		"generated, a program": {with(part{asFile, "conf/x", "\x7fELF", 0}), ""},
		"foreign program":      {with(part{asProg, "usr/bin/evil", "\x7fELF", 0}), ""},
		"foreign data":         {with(part{asFile, "etc/evil", "x", 0}), ""},
		"changed program":      {with(part{asProg, "usr/bin/bad", "\x7fELF bad", 0}), ""},
		"program of nobody's":  {with(part{asProg, "usr/bin/own", "\x7fELF own", 0}), ""},
		"one byte":             {strings.Replace(good, "ELF busybox", "ELF busyboX", 1), ""},
		"setuid":               {with(part{0o104755, "usr/bin/busybox", "\x7fELF busybox", 0}), ""},
		"mounts":               {with(part{asLink, "etc/mtab", "/proc/mounts", 0}), rules.Attributed},
		"link into proc":       {with(part{asLink, "usr/bin/sh", "/proc/1/exe", 0}), ""},
		"link to a stranger":   {with(part{asLink, "usr/bin/sh", "/tmp/sh", 0}), ""},
		"device":               {with(part{0o060600, "dev/sda", "", 0}), ""},
		"climbs":               {with(part{asProg, "../usr/bin/busybox", "\x7fELF busybox", 0}), ""},
		"no content comes":     {with(part{asProg, "usr/bin/busybox", "", 2}), ""},
		"nothing in it":        {cpioOf(part{asDir, "x", "", 0}), ""},
		"empty":                {"", ""},
		"bytes behind":         {good + "evil", ""},
		"archive behind":       {good + cpioOf(part{asProg, "init", "evil", 0}), ""},
		"zeros alone":          {strings.Repeat(gap, 10), ""},
	}
	for name, tt := range tests {
		w := imageWorld(tt.image)
		if got := level(w, w.change("/boot/initrd.img-6.1"), upgrade("/usr/lib/modules/6.1/kernel/a.ko")); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	early := cpioOf(part{asFile, "kernel/x86/microcode/GenuineIntel.bin", "microcode", 0}) + gap
	for _, p := range [][]string{{"gzip"}, {"zstd", "-q"}, {"xz", "--check=crc32"}, {"lz4", "-l"}, {"lz4"}} {
		w := imageWorld(packed(t, good, p[0], append(p[1:], "-c")...))
		if got := level(w, w.change("/boot/initrd.img-6.1"), all()); got != rules.Signed {
			t.Errorf("%v: got %q", p, got)
		}
		w = imageWorld(early + packed(t, good, p[0], append(p[1:], "-c")...))
		if got := level(w, w.change("/boot/initrd.img-6.1"), all()); got != rules.Attributed {
			t.Errorf("%v behind microcode: got %q", p, got)
		}
		evil := with(part{asProg, "usr/bin/evil", "\x7fELF", 0})
		w = imageWorld(early + packed(t, evil, p[0], append(p[1:], "-c")...))
		if got := level(w, w.change("/boot/initrd.img-6.1"), all()); got != "" {
			t.Errorf("%v with a stranger: got %q", p, got)
		}
		// The kernel unpacks what stands behind the packed archive too, and the last
		// file of a name wins.
		behind := cpioOf(part{asProg, "init", "evil", 0})
		for what, more := range map[string]string{"an archive": behind, "an archive, aligned": strings.Repeat(gap, 3) + behind, "a packed archive": packed(t, behind, p[0], append(p[1:], "-c")...),
			"an archive packed otherwise": packed(t, behind, "gzip", "-c"), "bytes": "evil", "an archive behind zeros and packed": strings.Repeat(gap, 128) + packed(t, behind, p[0], append(p[1:], "-c")...)} {
			w = imageWorld(packed(t, good, p[0], append(p[1:], "-c")...) + more)
			if got := level(w, w.change("/boot/initrd.img-6.1"), all()); got != "" {
				t.Errorf("%v with %s behind: got %q", p, what, got)
			}
		}
	}
	for i := range len(good) {
		w := imageWorld(good[:i])
		if got := level(w, w.change("/boot/initrd.img-6.1"), all()); got != "" {
			t.Fatalf("cut at %d: got %q", i, got)
		}
	}
}

// Whatever stands in a derived file, it is answered, twice the same, and nothing
// is explained by less than what the seed needs.
func FuzzContent(f *testing.F) {
	paths := []entry.Path{"/etc/ld.so.cache", caBundle, caConf, "/var/lib/dpkg/alternatives/awk", "/usr/lib/modules/6.1/modules.dep",
		"/boot/initrd.img-6.1", "/usr/lib/x/__pycache__/a.cpython-311.pyc"}
	cache := cacheOf("libx.so.1", "/usr/lib/libx.so.1")
	seeds := [][]string{{cache, compat(cache, 1)}, {"PEM A\nPEM C\nPEM L\n"}, {"mozilla/A.crt\n!x\n"}, {record}, {"kernel/a.ko: kernel/a.ko\n"},
		{cpioOf(honest...), "\x02\x21\x4c\x18\x00", "\x1f\x8b\x08"}, {pycOf(0, 1, 2), pycOf(3, 1, 2)}}
	for i, s := range seeds {
		for _, text := range s {
			f.Add(uint8(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		p := paths[int(which)%len(paths)]
		w := imageWorld("")
		maps.Copy(w, certWorld(""))
		maps.Copy(w, altWorld())
		w["/usr/lib/x/a.py"] = object{content: "pass", owner: "x"}
		w[p] = object{content: string(text), changed: true}
		switch got := level(listing{w}, w.change(p), all()); got {
		case "", rules.Signed, rules.Attributed:
		default:
			t.Errorf("got %q", got)
		}
		// Where everything has changed nothing is a reference: no file is explained.
		for q, o := range w {
			o.changed = true
			w[q] = o
		}
		if got := level(listing{w}, w.change(p), all()); got != "" && p != caConf {
			t.Errorf("nothing is verified: got %q", got)
		}
	})
}

// Rows that are asked often cost little: a change of no row must not read.
func TestNoRowReadsNothing(t *testing.T) {
	x := derived.New(disk{}, []derived.Transaction{all()})
	c := &diff.Change{Kind: diff.Changed, Path: "/usr/bin/" + entry.Path(strings.Repeat("a/", 2000)) + "b", New: (object{content: "x"}).entry()}
	c.Old = c.New
	if n := testing.AllocsPerRun(100, func() { x.Explain(t.Context(), c) }); n > 5 {
		t.Errorf("%v allocations", n)
	}
}
