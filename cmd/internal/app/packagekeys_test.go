package app

import (
	"maps"
	"slices"
	"testing"

	"intact/rules/pkgdb"
)

// A package of rpm in several versions has a row for each, and one keeps its row
// when others come and go.
func TestPackageKeys(t *testing.T) {
	of := func(versions ...string) (list []pkgdb.Package) {
		for _, v := range versions {
			list = append(list, pkgdb.Package{Kind: "rpm", Name: "kernel", Arch: "x", Version: v, Status: "installed"})
		}
		return list
	}
	rows := func(list []pkgdb.Package, was map[string][]byte) map[string][]byte {
		m := map[string][]byte{}
		for key, p := range packageKeys(list, was) {
			m[key] = packageValue(p)
			back, err := packageOf(key, m[key])
			if err != nil || back != *p {
				t.Errorf("%q: %+v %v", key, back, err)
			}
		}
		return m
	}
	was := rows(of("1"), nil)
	for _, c := range []struct {
		now  []pkgdb.Package
		want []string
	}{
		{of("1"), []string{"rpm kernel:x"}},
		{of("1", "2"), []string{"rpm kernel:x", "rpm kernel:x#2"}},
		{of("2", "3"), []string{"rpm kernel:x#2", "rpm kernel:x#3"}}, // 1 is gone
		{of("3"), []string{"rpm kernel:x#3"}},
		{of("4"), []string{"rpm kernel:x"}},
	} {
		was = rows(c.now, was)
		if got := slices.Sorted(maps.Keys(was)); !slices.Equal(got, c.want) {
			t.Errorf("%q: want %q", got, c.want)
		}
	}
	for key, value := range map[string]string{"deb a:b": string(was["rpm kernel:x"]), "rpm kernel:x": "version=1", "rpm :x": string(was["rpm kernel:x"]), "dpkg a": string(was["rpm kernel:x"]) + " x=1"} {
		if _, err := packageOf(key, []byte(value)); err == nil {
			t.Errorf("%q %q is taken", key, value)
		}
	}
}
