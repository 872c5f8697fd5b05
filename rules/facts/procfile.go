package facts

import (
	"fmt"
	"io"
)

// ReadFile reads a file below the process's directory, of at most limit bytes.
func (p *Process) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := p.dir.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s of process %d: %w", name, p.PID, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("over %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of process %d: %w", name, p.PID, err)
	}
	return b, nil
}
