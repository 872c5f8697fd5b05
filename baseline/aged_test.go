package baseline

import (
	"fmt"
	"testing"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// What an older program wrote is read: nothing is known of directories then.
func TestAgesFirstFormat(t *testing.T) {
	a := someAges()
	got, host, gen, _, err := parseAges(a.spelled(agesFirst, agesHost, 3, digest.Sum(nil)))
	if err != nil || host != agesHost || gen != 3 || got.Read != a.Read || got.Salt != a.Salt {
		t.Fatalf("got %v, %v", got, err)
	}
	for b := range DirBuckets {
		if !got.Verified(b).IsZero() {
			t.Fatalf("bucket %d: %v", b, got.Verified(b))
		}
	}
}

func TestDirAges(t *testing.T) {
	a := NewAges()
	at := time.Unix(1_800_000_000, 999)
	a.Verify(5, at)
	a.Verify(5, at.Add(-time.Hour)) // what is known of a later look stays
	if got := a.Verified(5); !got.Equal(at.Truncate(time.Second)) {
		t.Errorf("got %v, want %v", got, at)
	}
	a.Verify(6, time.Unix(-1, 0))
	a.Verify(6, time.Unix(1<<33, 0))
	if !a.Verified(6).IsZero() {
		t.Errorf("a time that cannot be kept is %v", a.Verified(6))
	}
	b := *a
	b.Verify(5, at.Add(time.Hour))
	b.Verify(7, at)
	if !a.Join(&b) || *a != b {
		t.Error("ages under one salt are not joined")
	}
	if a.Join(NewAges()) || *a != b {
		t.Error("ages under another salt were joined")
	}
	a.Forget(at)
	if !a.Verified(5).IsZero() || a.Verified(7).IsZero() {
		t.Errorf("the future stays: %v, %v", a.Verified(5), a.Verified(7))
	}
	seen := map[int]bool{}
	for i := range 2000 {
		n := a.DirBucket(entry.Path(fmt.Sprint("/", i)))
		if n < 0 || n >= DirBuckets {
			t.Fatalf("bucket %d", n)
		}
		seen[n] = true
	}
	if len(seen) < 1000 {
		t.Errorf("2000 directories are in %d buckets", len(seen))
	}
}
