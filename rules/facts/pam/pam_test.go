package pam

import (
	"context"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts/facttest"
)

func stackOf(t testing.TB, a Answers, name string) Stack {
	t.Helper()
	i := slices.IndexFunc(a.Stacks.Rows, func(s Stack) bool { return s.Service == name })
	if i < 0 {
		t.Fatalf("no stack %q", name)
	}
	return a.Stacks.Rows[i]
}

// Stacks of a login, and whether one gets in without the second factor.
func TestSecondFactor(t *testing.T) {
	const debian = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n"
	const g = "pam_google_authenticator.so"
	for _, c := range []struct {
		name, sshd string
		want       bool
		why        string // a part of it, "" for none
	}{
		{"none", "@include common-auth\n", false, ""},
		{"required", "auth required " + g + "\n@include common-auth\n", true, ""},
		{"required, behind", "@include common-auth\nauth required " + g + "\n", true, ""},
		{"nullok", "auth required " + g + " nullok\n@include common-auth\n", false, "by nullok"},
		{"optional", "auth optional " + g + "\n@include common-auth\n", false, "got around"},
		{"sufficient, then the password", "auth sufficient " + g + "\n@include common-auth\n", false, "got around"},
		{"sufficient, then refused", "auth sufficient " + g + "\nauth required pam_deny.so\n", true, ""},
		{"the password is enough before", "auth sufficient pam_unix.so\nauth required " + g + "\n", false, "pam_unix.so at"},
		{"done before, in a substack", "auth substack pw\nauth required " + g + "\n", true, ""},
		{"done before, included", "auth include pw\nauth required " + g + "\n", false, "pam_unix.so at"},
		{"die before is no way in", "auth [success=ok default=die] pam_unix.so\nauth required " + g + "\n", true, ""},
		{"jumped over", "auth [success=1 default=ignore] pam_unix.so\nauth required " + g + "\nauth required pam_permit.so\n", false, "got around"},
		{"jumped over a substack", "auth [success=1 default=ignore] pam_unix.so\nauth substack factor\nauth required pam_permit.so\n", false, "got around"},
		{"jumped beyond the end", "auth [success=2 default=die] pam_unix.so\nauth required " + g + "\n", true, ""},
		{"its failure is jumped on", "auth [default=1] " + g + "\nauth requisite pam_deny.so\nauth required pam_permit.so\n", false, "got around"},
		{"its failure is reset", "auth [success=ok default=bad] " + g + "\nauth [default=reset] pam_x.so\nauth required pam_unix.so\n", false, "got around"},
		{"a dash", "-auth required " + g + "\n@include common-auth\n", false, "got around"},
		{"other types", "account required " + g + "\n@include common-auth\n", false, ""},
		{"a path", "auth required /lib/security/pam_u2f.so cue\n@include common-auth\n", true, ""},
		{"continued, and a comment", "auth \\\n required " + g + " # nullok\n@include common-auth\n", true, ""},
		{"a control in capitals", "AUTH Required " + g + "\n@include common-auth\n", true, ""},
		{"a control that is none", "auth must " + g + "\n", false, "was not understood"},
		{"a type that is none", "auht required " + g + "\nauth required " + g + "\n", false, "is no type"},
		{"no module", "auth required\nauth required " + g + "\n", false, "is missing"},
		{"a circle", "auth required " + g + "\nauth include sshd\n", false, "includes itself"},
		{"a file that is not there", "auth required " + g + "\n@include none\n", false, "cannot be read"},
		{"nothing of its own", "account required pam_unix.so\n", true, ""}, // other asks for one
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Collect(context.Background(), facttest.Image(t, map[string]string{
				"etc/pam.d/common-auth": debian, "etc/pam.d/pw": "auth sufficient pam_unix.so\n", "etc/pam.d/factor": "auth required " + g + "\nauth required pam_x.so\n",
				"etc/pam.d/other": "auth required pam_oath.so\n", "etc/pam.d/sshd": c.sshd}))
			if a.Stacks.Status != rules.OK {
				t.Fatal(a.Stacks.Reason)
			}
			s := stackOf(t, a, "sshd")
			if s.SecondFactor != c.want || c.why == "" && len(s.Why) > 0 || !strings.Contains(strings.Join(s.Why, "; "), c.why) {
				t.Errorf("%+v", s)
			}
			if s.SecondFactor && !s.Known {
				t.Error("a factor of a stack that was not understood")
			}
		})
	}
}

func TestLines(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"usr/lib/pam.d/x":  "auth required pam_a.so\n",
		"etc/pam.d/x":      "# c\nauth substack y\n-session [success=ok default=ignore] pam_b.so [a b\\]c] d\n",
		"etc/pam.d/y":      "auth sufficient pam_c.so\naccount required pam_d.so\n",
		"etc/pam.d/.x.swp": "auth required pam_z.so\n",
	}))
	var got []string
	for _, l := range a.Lines.Rows {
		if l.Service == "x" {
			got = append(got, strings.Join([]string{l.Key(), l.At, l.Control, l.Module, strings.Join(l.Arguments, "|")}, " "))
		}
	}
	want := []string{`"x" auth 1 /etc/pam.d/y:1 sufficient pam_c.so `, `"x" session 1 /etc/pam.d/x:3 [success=ok default=ignore] pam_b.so a b]c|d`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A line that includes another file is a row: with @include su, of which the first
// line is pam_rootok.so, sshd asks nobody for a password.
func TestEntries(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"etc/pam.d/sshd": "account required pam_a.so\n@include su\nauth substack z\nauth required pam_b.so\n",
		"etc/pam.d/su":   "auth sufficient pam_rootok.so\n",
	}))
	var got []string
	for _, e := range a.Entries.Rows {
		got = append(got, e.Key()+" "+e.Compared())
	}
	want := []string{`"/etc/pam.d/sshd" account "pam_a.so" control="required" arguments="" after=""`, `"/etc/pam.d/sshd" all "su" control="@include" arguments="" after=""`,
		`"/etc/pam.d/sshd" auth "z" control="substack" arguments="" after="su"`, `"/etc/pam.d/sshd" auth "pam_b.so" control="required" arguments="" after="z"`,
		`"/etc/pam.d/su" auth "pam_rootok.so" control="sufficient" arguments="" after=""`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What is no file is not waited for, and is not taken for nothing.
func TestHostile(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{"etc/pam.d/sshd": facttest.Fifo}))
	if a.Stacks.Status != rules.Failed || a.Lines.Status != rules.Failed {
		t.Errorf("a FIFO: %+v", a.Stacks)
	}
	long := strings.Repeat("auth required pam_x.so\n", maxLines+1) + "auth required pam_oath.so\n"
	a = Collect(context.Background(), facttest.Image(t, map[string]string{"etc/pam.d/sshd": long}))
	if s := stackOf(t, a, "sshd"); s.Known || s.SecondFactor {
		t.Errorf("%v", s.Why)
	}
	// Includes that double at each step are bounded.
	double := map[string]string{"etc/pam.d/z": "auth required pam_x.so\n"}
	for c := 'a'; c < 'z'; c++ {
		double["etc/pam.d/"+string(c)] = strings.Repeat("auth include "+string(c+1)+"\n", 2)
	}
	a = Collect(context.Background(), facttest.Image(t, double))
	if s := stackOf(t, a, "a"); s.Known {
		t.Errorf("%d modules", len(s.Modules))
	}
	// So are those of files that say nothing of the type.
	many := map[string]string{"etc/pam.d/z": "account required pam_x.so\n"}
	for c := 'a'; c < 'm'; c++ {
		many["etc/pam.d/"+string(c)] = strings.Repeat("@include "+string(c+1)+"\n", 100)
	}
	if a := Collect(context.Background(), facttest.Image(t, many)); a.Stacks.Status != rules.Failed {
		t.Errorf("%+v", a.Stacks.Status)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a := Collect(ctx, facttest.Image(t, double)); a.Stacks.Status != rules.Timeout {
		t.Errorf("%+v", a.Stacks.Status)
	}
	if a := Collect(context.Background(), facttest.Image(t, nil)); a.Stacks.Status != rules.OK || len(a.Stacks.Rows) != 0 {
		t.Errorf("%+v", a)
	}
}

func FuzzStack(f *testing.F) {
	f.Add("auth required pam_oath.so\n@include b\n", "auth [success=1 default=ignore] pam_unix.so\nauth substack a\n")
	f.Add("auth [a=b \\] c] x.so [y\nauth\\", "@include a")
	f.Fuzz(func(t *testing.T, a, b string) {
		r := &reader{ctx: context.Background(), root: nil, files: map[string][]raw{"a": parse("a", []byte(a)), "b": parse("b", []byte(b)), "other": {}}, joins: map[string]Line{}}
		s := r.known("a").stack()
		if s.SecondFactor && !s.Known {
			t.Errorf("%+v", s)
		}
	})
}

// known unfolds a service of which all files were read.
func (r *reader) known(name string) *builder {
	for _, lines := range r.files {
		for _, w := range lines {
			if _, ok := r.files[w.module]; !ok {
				r.files[w.module] = nil
			}
		}
	}
	return r.service(name)
}
