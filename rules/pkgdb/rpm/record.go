package rpm

// column is one value of a row of SQLite.
type column struct {
	integer, text bool // neither: a blob, or NULL
	number        int64
	data          []byte
}

func (c column) is(s string) bool { return c.text && string(c.data) == s }

// maxColumns bounds those of a row; the tables that are read have five at most.
const maxColumns = 16

// readRecord takes a row apart: the size of its header, a number for the type
// of each value, and the values.
func readRecord(b []byte) ([]column, error) {
	size, n := varint(b)
	if n == 0 || size < uint64(n) || size > uint64(len(b)) {
		return nil, broken("a row with a header of %d bytes", size)
	}
	types, values := b[n:size], b[size:]
	var out []column
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 || len(out) == maxColumns {
			return nil, broken("a row of over %d columns, or a column without a type", maxColumns)
		}
		types = types[n:]
		c, width := column{}, uint64(0)
		switch {
		case kind >= 12:
			c.text, width = kind%2 == 1, (kind-12)/2
		case kind >= 10:
			return nil, broken("a column of type %d", kind)
		case kind == 0: // NULL
		case kind == 7: // floating
			width = 8
		default:
			c.integer = true
			width = [...]uint64{1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}[kind]
		}
		if width > uint64(len(values)) {
			return nil, broken("a column of %d bytes", width)
		}
		c.data, values = values[:width], values[width:]
		if c.integer {
			c.number = signed(c.data)
			if kind == 9 {
				c.number = 1
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// signed reads a big-endian integer of up to eight bytes.
func signed(b []byte) (n int64) {
	for i, c := range b {
		if i == 0 {
			n = int64(int8(c))
			continue
		}
		n = n<<8 | int64(c)
	}
	return n
}

// varint reads a number of one to nine bytes and returns how many; 0: it does
// not end.
func varint(b []byte) (v uint64, n int) {
	for i, c := range b {
		if i == 8 {
			return v<<8 | uint64(c), 9
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
