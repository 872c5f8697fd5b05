package rpm

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
)

func every(string) bool { return true }

// Whatever is wrong with a history, its work is bounded and the reason is told.
func TestHistory(t *testing.T) {
	good := fixture(t, "history.sqlite")
	read := func(db []byte) ([]Done, error) {
		return History(context.Background(), folder{HistoryName: db}.open, every)
	}
	if list, err := read(good); err != nil || len(list) != 4 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := History(context.Background(), folder{}.open, every); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for n := 0; n < len(good); n += 64 {
		if list, err := read(good[:n]); !errors.Is(err, ErrDatabase) {
			t.Fatalf("first %d bytes: %+v, %v", n, list, err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x02
		if list, err := read(b); err != nil && !errors.Is(err, ErrDatabase) || len(list) > 5 {
			t.Fatalf("byte %d: %+v, %v", i, list, err)
		}
	}
}

func FuzzHistory(f *testing.F) {
	f.Add(fixture(f, "history.sqlite"), []byte{})
	f.Fuzz(func(t *testing.T, db, log []byte) {
		list, err := History(context.Background(), folder{HistoryName: db, HistoryName + walSuffix: log}.open, every)
		if err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrAmid) || len(list) > len(db)+len(log) {
			t.Fatalf("%d, %v", len(list), err)
		}
	})
}
