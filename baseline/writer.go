package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"intact/scanner/digest"
)

// Sizes of the writer.
const (
	batchSize = 8 << 20 // bytes of values in one transaction
	smallPage = 4 << 10
	largePage = 32 << 10
	largeFile = 1 << 20 // from which pages are large: of 4 KiB a sixth stays empty, because a directory does not fit any more; of 32 KiB a twentieth
	fill      = 1       // keys come in order: no room is needed for later ones
	hashChunk = 1 << 20
)

// fileWriter writes one generation file from keys that come in order: bucket
// by bucket, ascending in each. Values are copied.
type fileWriter struct {
	name    string // temporary
	db      *bolt.DB
	tx      *bolt.Tx
	bucket  *bolt.Bucket
	at      byte
	arena   []byte // values of the open transaction
	last    []byte
	root    *rooter
	entries int64
	dirs    int64
	lastDir []byte
}

// written describes a complete generation file under its temporary name.
type written struct {
	name    string
	digest  digest.Digest
	size    int64
	root    digest.Digest
	entries int64
	dirs    int64
}

// newFileWriter creates the file name for about size bytes of values.
func newFileWriter(name string, size int64) (*fileWriter, error) {
	page := smallPage
	if size > largeFile {
		page = largePage
	}
	db, err := bolt.Open(name, 0o600, &bolt.Options{
		NoSync:          true,
		NoGrowSync:      true,
		NoFreelistSync:  true,
		NoStatistics:    true,
		FreelistType:    bolt.FreelistMapType,
		PageSize:        page,
		InitialMmapSize: int(size + size/8),
		OpenFile: func(name string, _ int, mode os.FileMode) (*os.File, error) {
			return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		},
	})
	if err != nil {
		if !errors.Is(err, fs.ErrExist) {
			os.Remove(name) // made, and then no room for the first pages
		}
		return nil, fmt.Errorf("create generation file: %w", err)
	}
	return &fileWriter{name: name, db: db, root: newRooter(), arena: make([]byte, 0, min(size+64<<10, batchSize))}, nil
}

// put appends one pair. It refuses what is out of order.
func (w *fileWriter) put(bucket byte, key, value []byte) (err error) {
	defer guardWrite(&err)
	if bucket == w.at && bytes.Compare(w.last, key) >= 0 {
		return fmt.Errorf("write generation file: key %q twice or out of order", key)
	}
	if len(value) > maxValue || len(key) > maxKey {
		return fmt.Errorf("write generation file: %d bytes under a key of %d", len(value), len(key))
	}
	if len(w.arena)+len(value) > cap(w.arena) && len(w.arena) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if err := w.use(bucket); err != nil {
		return err
	}
	n := len(w.arena)
	w.arena = append(w.arena, value...)
	value = w.arena[n:len(w.arena):len(w.arena)]
	if cap(w.arena) > batchSize {
		w.arena = make([]byte, 0, batchSize) // value keeps its own, larger than a batch
	}
	if err := w.bucket.Put(key, value); err != nil {
		return fmt.Errorf("write generation file: %w", err)
	}
	w.root.add(bucket, key, value)
	w.last = append(w.last[:0], key...)
	return w.count(bucket, key, value)
}

func (w *fileWriter) count(bucket byte, key, value []byte) error {
	if bucket != bucketDirs {
		return nil
	}
	_, n, ok := peek(value)
	if !ok || n == 0 {
		return fmt.Errorf("write generation file: key %q: not a directory block", key)
	}
	w.entries += int64(n)
	if dir, _ := dirKeyOf(key); w.dirs == 0 || !bytes.Equal(dir, w.lastDir) {
		w.dirs++
		w.lastDir = append(w.lastDir[:0], dir...)
	}
	return nil
}

// use makes bucket the current one in an open transaction.
func (w *fileWriter) use(bucket byte) error {
	if w.bucket != nil && w.at == bucket {
		return nil
	}
	if w.tx == nil {
		tx, err := w.db.Begin(true)
		if err != nil {
			return fmt.Errorf("write generation file: %w", err)
		}
		w.tx = tx
	}
	b, err := w.tx.CreateBucketIfNotExists([]byte{bucket})
	if err != nil {
		return fmt.Errorf("write generation file: %w", err)
	}
	b.FillPercent = fill
	if w.at != bucket {
		w.last = w.last[:0]
	}
	w.bucket, w.at = b, bucket
	return nil
}

func (w *fileWriter) flush() error {
	if w.tx == nil {
		return nil
	}
	tx := w.tx
	w.tx, w.bucket = nil, nil
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write generation file: %w", err)
	}
	w.arena = w.arena[:0]
	return nil
}

// finish completes the file and makes its bytes durable. The name stays
// temporary. After an error the file is gone.
func (w *fileWriter) finish(ctx context.Context) (out *written, err error) {
	defer func() {
		if err != nil {
			w.abort()
		}
	}()
	defer guardWrite(&err)
	for _, b := range bucketOrder {
		if err := w.use(b); err != nil {
			return nil, err
		}
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	var size int64
	if err := w.db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		return nil, fmt.Errorf("write generation file: %w", err)
	}
	if err := w.db.Close(); err != nil {
		return nil, fmt.Errorf("write generation file: %w", err)
	}
	w.db = nil
	f, err := os.OpenFile(w.name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("write generation file: %w", err)
	}
	defer f.Close()
	// The file ends with its last page, whatever steps bbolt grew it in.
	if err := errors.Join(f.Truncate(size), f.Sync()); err != nil {
		return nil, fmt.Errorf("write generation file: %w", err)
	}
	sum, err := hashFile(ctx, f, size)
	if err != nil {
		return nil, fmt.Errorf("read generation file back: %w", err)
	}
	return &written{w.name, sum, size, w.root.sum(), w.entries, w.dirs}, nil
}

// abort removes the file.
func (w *fileWriter) abort() {
	var err error
	defer guardWrite(&err)
	defer os.Remove(w.name)
	if w.tx != nil {
		w.tx.Rollback()
		w.tx = nil
	}
	if w.db != nil {
		w.db.Close()
		w.db = nil
	}
}

// hashFile digests the first size bytes of f in small reads. A shorter file is
// an error.
func hashFile(ctx context.Context, f io.ReaderAt, size int64) (digest.Digest, error) {
	h := digest.New()
	buf := make([]byte, min(hashChunk, max(size, 1)))
	for off := int64(0); off < size; {
		if err := context.Cause(ctx); err != nil {
			return digest.Digest{}, err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		h.Write(buf[:n])
		off += int64(n)
		if off < size && err != nil {
			return digest.Digest{}, err
		}
	}
	return h.Sum(), nil
}

// guard turns a panic of bbolt, or a fault in its map, into an error that
// wraps ErrDamaged. It is deferred in every function that touches the map.
func guard(err *error, what string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: %w: %v", what, ErrDamaged, p)
	}
}

// guardWrite is guard for a file that is being written: there is nothing in it
// that could be damaged yet.
func guardWrite(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("write generation file: %v", p)
	}
}
