package policy

import (
	"testing"

	"intact/scanner/entry"
)

func TestHot(t *testing.T) {
	both := func(base, present string) *Effective {
		t.Helper()
		var ps [2]*Policy
		for i, text := range []string{base, present} {
			p, err := Parse("p.yaml", []byte("version: 1\n"+text))
			if err != nil {
				t.Fatal(err)
			}
			ps[i] = p.ExpandHomes([]entry.Path{"/home/ann"})
		}
		e, err := Union(ps[0], ps[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const old = `paths:
  - {path: /etc, attributes: config, hot: true}
  - {path: /etc/cold, attributes: config}
  - {path: /etc/cold/hot/file, attributes: config, hot: true}
  - {path: /usr, attributes: binary}
  - {path: "/usr/lib*/security", attributes: binary, hot: true}
  - {path: ~/.ssh, attributes: config, hot: true}
exclude: [/etc/out, /etc/in]
`
	const now = `paths:
  - {path: /etc, attributes: config}
  - {path: /srv, attributes: config, hot: true}
exclude: [/etc/passwd]
`
	e := both(old, now)
	for p, want := range map[entry.Path][2]bool{ // hot itself, watched as a directory
		"/":                          {false, true},
		"/etc":                       {true, true},
		"/etc/passwd":                {true, true}, // the present one hides nothing
		"/etc/out":                   {false, false},
		"/etc/out/deep":              {false, false},
		"/etc/cold":                  {false, true},
		"/etc/cold/x":                {false, false},
		"/etc/cold/hot":              {false, true},
		"/etc/cold/hot/file":         {true, true},
		"/usr":                       {false, true},
		"/usr/bin":                   {false, false},
		"/usr/lib64":                 {false, true},
		"/usr/lib64/x":               {false, false},
		"/usr/lib64/security/pam.so": {true, true},
		"/home":                      {false, true},
		"/home/ann":                  {false, true},
		"/home/ann/.ssh":             {true, true},
		"/home/ann/x":                {false, false},
		"/home/bob":                  {false, false},
		"/srv":                       {true, true}, // wider works at once
		"/var":                       {false, false},
	} {
		start := e.Start()
		s := &start
		for _, c := range p.Components() {
			if s != nil {
				s = s.Enter([]byte(c))
			}
		}
		if got := [2]bool{e.Decide(p).Hot, s != nil && s.Hot()}; got != want {
			t.Errorf("%s: hot and watched are %v, want %v", p, got, want)
		}
	}
}
