package app

import (
	"fmt"
	"sync"
	"time"

	"intact/scanner"
)

// progress draws a line on the terminal while a scan runs. expect is the
// number of files that the baseline knows, 0 if there is none. The function
// returned ends it.
func (s *session) progress(p *scanner.Progress, expect int64) (stop func()) {
	if !s.env.Progress || s.env.Quiet {
		return func() {}
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				fmt.Fprint(s.env.Stderr, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(s.env.Stderr, "\r\x1b[K"+progressLine(p.Files.Load(), p.Bytes.Load(), expect, time.Since(start)))
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}

func progressLine(files, bytes, expect int64, took time.Duration) string {
	sec := took.Seconds()
	line := fmt.Sprintf("%d files, %.1f MB, %.0f files/s, %.0f MB/s", files, float64(bytes)/1e6, float64(files)/sec, float64(bytes)/1e6/sec)
	if expect > 0 && files > 0 {
		done := min(float64(files)/float64(expect), 1)
		left := time.Duration(sec * (1 - done) / done * float64(time.Second)).Round(time.Second)
		line = fmt.Sprintf("%3.0f%%  %s, %s left", 100*done, line, left)
	}
	return line
}
