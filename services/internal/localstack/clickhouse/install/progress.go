package install

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress tells how far a long step is: one line that changes on a terminal, a line every few seconds elsewhere.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	open     bool // the last line has no end yet
	last     time.Time
}

const plainInterval = 3 * time.Second

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(interface{ Fd() uintptr }); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// line prints a whole line.
func (p *progress) line(format string, args ...any) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprintln(p.out)
		p.open = false
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// step tells that done of total bytes are through.
func (p *progress) step(what string, done, total int64) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := plainInterval
	if p.terminal {
		interval = 100 * time.Millisecond
	}
	if time.Since(p.last) < interval {
		return
	}
	p.last = time.Now()
	percent := min(100*done/max(total, 1), 100)
	text := fmt.Sprintf("%s: %d of %d MB (%d %%)", what, done/1_000_000, total/1_000_000, percent)
	if p.terminal {
		fmt.Fprint(p.out, "\r"+text+"   ")
		p.open = true
		return
	}
	fmt.Fprintln(p.out, text)
}
