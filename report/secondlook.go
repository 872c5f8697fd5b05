package report

// SecondLook says how many files were read a second time, past the page cache.
// Every file of the sample is in Files or in Impossible.
type SecondLook struct {
	Files      int64 // looked at twice
	Differing  int64 // of these: the disk holds other bytes than the page cache
	Impossible int64 // could not be read past the page cache, or changed meanwhile
}

func (s *SecondLook) fields(c *coder) {
	c.number("files", &s.Files)
	c.number("differing", &s.Differing)
	c.number("impossible", &s.Impossible)
}

// words say what a second look found.
func (s *SecondLook) words() string {
	w := plural(s.Files, "file") + " looked at twice"
	if s.Differing > 0 {
		w += ", " + group(s.Differing) + " differing"
	}
	if s.Impossible > 0 {
		w += ", " + group(s.Impossible) + " could not be"
	}
	return w
}
