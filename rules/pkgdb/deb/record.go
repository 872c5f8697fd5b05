package deb

import (
	"context"
	"io"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

// Recorded is what became of one package's file.
type Recorded struct {
	Head  *manifest.Head                           // nil after an error
	Write func(w io.Writer) (digest.Digest, error) // writes the manifest, once, within keep
	Proof *Proof                                   // of a signed one, where it was found
	Err   error                                    // the file could not be read as a package: there is no manifest
}

// Record reads packages, looks for all of them in the lists in one pass, and
// calls keep for each, in the order of names, with a manifest that is ready to
// be written. open opens a package's file; it is called twice for each, and what
// the second reading gives is what counts. Temporary files are made in dir.
//
// A package that cannot be read is told to keep and stops nothing. The error is
// that of ctx, of the lists or of keep.
func (l Lists) Record(ctx context.Context, names []string, open func(name string) (io.ReadCloser, error), dir string, keep func(name string, r Recorded) error) (problems []error, err error) {
	want := Wanted{}
	for _, name := range names {
		id, err := l.identify(ctx, name, open)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			want[id.Package] = append(want[id.Package], id)
		}
	}
	proofs, problems, err := l.Prove(ctx, want)
	if err != nil {
		return nil, err
	}
	why := Unvouched(problems)
	for _, name := range names {
		if err := l.record(ctx, name, open, dir, proofs, why, keep); err != nil {
			return problems, err
		}
	}
	return problems, nil
}

func (l Lists) identify(ctx context.Context, name string, open func(string) (io.ReadCloser, error)) (Identity, error) {
	f, err := open(name)
	if err != nil {
		return Identity{}, err
	}
	defer f.Close()
	return Identify(ctx, name, f)
}

// record reads one package and hands it to keep.
func (l Lists) record(ctx context.Context, name string, open func(string) (io.ReadCloser, error), dir string, proofs []Proof, why string, keep func(string, Recorded) error) error {
	f, err := open(name)
	if err != nil {
		return keep(name, Recorded{Err: err})
	}
	defer f.Close()
	out := manifest.NewBuilder(dir)
	defer out.Close()
	a, err := Record(ctx, name, f, out)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return keep(name, Recorded{Err: err})
	}
	h, proof := a.Head(proofs, l.Now, why)
	return keep(name, Recorded{Head: h, Proof: proof, Write: func(w io.Writer) (digest.Digest, error) { return out.Write(w, h) }})
}
