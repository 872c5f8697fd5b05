package rpm

import "encoding/binary"

// Blob returns the header as the database has it.
func (h *Header) Blob() []byte {
	b := make([]byte, 0, introSize+len(h.index)+len(h.store))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.index)/entrySize))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.store)))
	return append(append(b, h.index...), h.store...)
}
