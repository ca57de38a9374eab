//go:build cgo

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"
)

// show displays samples until ctx ends or the person presses Ctrl-C: a live view on a terminal, a line a second elsewhere.
func show(ctx context.Context, out io.Writer, terminal bool, title string, sample func(context.Context) Sample) error {
	if terminal {
		return showLive(ctx, out, title, sample)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s := sample(ctx)
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintln(out, plainLine(s))
			// A log keeps what was said: an error that still stands is not said again.
			still := map[string]bool{}
			for _, e := range s.Errors {
				if still[e] = true; !told[e] {
					fmt.Fprintln(out, "      error: "+e)
				}
			}
			told = still
		}
	}
}

func plainLine(s Sample) string {
	var lags []string
	for _, g := range s.Groups {
		lags = append(lags, fmt.Sprintf("%s=%.1fs/%d", g.Group, g.Seconds, g.Records))
	}
	if len(lags) == 0 {
		lags = []string{"being measured"}
	}
	return fmt.Sprintf("%4.0fs frames/s=%-6.0f trades/s=%-5.0f rows=%-8d p50=%dms p99=%dms lag: %s",
		s.Elapsed.Seconds(), s.FramesPerSecond, s.TradesPerSecond, s.TotalRows(), s.P50.Milliseconds(), s.P99.Milliseconds(), strings.Join(lags, " "))
}

// isTerminal says whether a live view can be drawn: some terminals, such as an editor's, cannot move their cursor.
func isTerminal(file *os.File) bool {
	kind := os.Getenv("TERM")
	return term.IsTerminal(int(file.Fd())) && kind != "" && kind != "dumb"
}

// liveView is the terminal's model.
type liveView struct {
	title         string
	sample        Sample
	ask           func() Sample
	width, height int // of the terminal; height 0 has no bound
}

type sampled Sample

// showLive draws on a screen of its own, which a change of the terminal's size leaves no rests on, and leaves the last
// picture behind.
func showLive(ctx context.Context, out io.Writer, title string, sample func(context.Context) Sample) error {
	view := liveView{title: title, ask: func() Sample { return sample(ctx) }, width: 100}
	program := tea.NewProgram(view, tea.WithContext(ctx), tea.WithoutSignalHandler(), tea.WithAltScreen())
	last, err := program.Run()
	if final, ok := last.(liveView); ok && !final.sample.At.IsZero() {
		final.height = 0
		fmt.Fprintln(out, final.picture(false))
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Init starts sampling.
func (v liveView) Init() tea.Cmd { return v.next(0) }

func (v liveView) next(after time.Duration) tea.Cmd {
	return tea.Tick(after, func(time.Time) tea.Msg { return sampled(v.ask()) })
}

// Update takes a sample or a key.
func (v liveView) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch m := message.(type) {
	case sampled:
		v.sample = Sample(m)
		return v, v.next(500 * time.Millisecond)
	case tea.WindowSizeMsg:
		v.width, v.height = m.Width, m.Height
	case tea.KeyMsg:
		if k := m.String(); k == "ctrl+c" || k == "q" {
			return v, tea.Quit
		}
	}
	return v, nil
}

var (
	titleStyle = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("12"))
	labelStyle = lipgloss.NewStyle().Faint(true)
	valueStyle = lipgloss.NewStyle().Bold(true)
	errorStyle = lipgloss.NewStyle().Foreground(lipgloss.Color("9"))
	lateStyle  = lipgloss.NewStyle().Foreground(lipgloss.Color("11"))
	plainStyle = lipgloss.NewStyle()
)

// View draws the sample.
func (v liveView) View() string { return v.picture(true) }

// picture is what fits the terminal: where it is low, the hint, the errors' further lines, the tables and the groups go,
// so that the figures and the errors stay.
func (v liveView) picture(live bool) string {
	head, errors, brief := v.head(), v.errors(maxErrorLines), v.errors(1)
	hint := []string{"  " + labelStyle.Render(clip("Ctrl-C drains the pipeline and prints the proof", v.width-2))}
	if !live {
		hint = nil
	}
	var lines []string
	for _, blocks := range [][][]string{
		{head, v.groups(), v.tables(), errors, hint},
		{head, v.groups(), v.tables(), errors},
		{head, v.groups(), v.tables(), brief},
		{head, v.groups(), errors},
		{head, v.groups(), brief},
		{head, errors},
		{head, brief},
	} {
		for _, gap := range []bool{true, false} {
			if lines = stack(blocks, gap); v.height == 0 || len(lines) <= v.height {
				return strings.Join(lines, "\n")
			}
		}
	}
	return strings.Join(lines[:v.height], "\n")
}

// stack puts blocks under each other, with a gap between them or without.
func stack(blocks [][]string, gap bool) []string {
	var lines []string
	for _, block := range blocks {
		if gap && len(lines) > 0 && len(block) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, block...)
	}
	return lines
}

// head is the title and the figures, as many on a line as fit.
func (v liveView) head() []string {
	s := v.sample
	const name = "StreamForge"
	lines := []string{titleStyle.Render(clip(name, v.width)) + labelStyle.Render(clip("  "+v.title, v.width-len(name)))}
	var line string
	used := 0
	for _, figure := range [][2]string{
		{"frames/s", fmt.Sprintf("%.0f", s.FramesPerSecond)},
		{"trades/s", fmt.Sprintf("%.0f", s.TradesPerSecond)},
		{"frames", group(s.Frames)},
		{"running", s.Elapsed.Round(time.Second).String()},
		{"received → visible  p50", fmt.Sprintf("%d ms", s.P50.Milliseconds())},
		{"p99", fmt.Sprintf("%d ms", s.P99.Milliseconds())},
	} {
		value := fmt.Sprintf("%-9s", figure[1])
		wide := 2 + len([]rune(figure[0])) + 1 + len(value)
		if used > 0 && used+wide > v.width || figure[0] == "received → visible  p50" {
			lines, line, used = append(lines, line), "", 0
		}
		line += "  " + labelStyle.Render(figure[0]) + " " + valueStyle.Render(value)
		used += wide
	}
	return append(lines, line)
}

// columns are a table's widths: of the names, and of each of the numbers.
func (v liveView) columns() (name, number int) {
	if v.width >= 54 {
		return 26, 12
	}
	return max(6, v.width-2-2*10), 9
}

func (v liveView) groups() []string {
	name, number := v.columns()
	seconds, records := "lag seconds", "lag records"
	if number < len(seconds) {
		seconds, records = "lag s", "records"
	}
	lines := []string{row(labelStyle, v.width, name, number, "consumer group", seconds, records)}
	for _, g := range v.sample.Groups {
		style := plainStyle
		if g.Seconds > 5 {
			style = lateStyle
		}
		lines = append(lines, row(style, v.width, name, number, g.Group, fmt.Sprintf("%.1f", g.Seconds), group(g.Records)))
	}
	return lines
}

func (v liveView) tables() []string {
	name, number := v.columns()
	lines := []string{row(labelStyle, v.width, name, number, "ClickHouse table", "rows")}
	for _, table := range slices.Sorted(maps.Keys(v.sample.Rows)) {
		style := plainStyle
		if table == "dead_letters" && v.sample.Rows[table] > 0 {
			style = errorStyle
		}
		lines = append(lines, row(style, v.width, name, number, table, group(v.sample.Rows[table])))
	}
	return lines
}

// row is a name and numbers under each other.
func row(style lipgloss.Style, width, name, number int, cells ...string) string {
	line := fmt.Sprintf("  %-*s", name, clip(cells[0], name))
	for _, cell := range cells[1:] {
		line += fmt.Sprintf(" %*s", number, cell)
	}
	return style.Render(clip(line, width))
}

// errors are in red, the remedy at their end included: a long one takes several lines.
func (v liveView) errors(most int) []string {
	var lines []string
	for _, e := range v.sample.Errors {
		for i, part := range wrap(e, v.width-4, most) {
			indent := "  "
			if i > 0 {
				indent = "    "
			}
			lines = append(lines, indent+errorStyle.Render(part))
		}
	}
	return lines
}

// maxErrorLines is how much of the screen one error may take.
const maxErrorLines = 4

// wrap breaks a text into at most so many lines, between words where it can.
func wrap(text string, width, most int) []string {
	var lines []string
	rest := []rune(strings.Join(strings.Fields(text), " "))
	for width = max(width, 8); len(rest) > width; {
		if len(lines) == most-1 {
			return append(lines, clip(string(rest), width))
		}
		at := width
		for i := width; i > width/2; i-- {
			if rest[i] == ' ' {
				at = i
				break
			}
		}
		lines = append(lines, string(rest[:at]))
		rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
	}
	return append(lines, string(rest))
}

// group writes a number with thin groups of three digits.
func group(n int64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func clip(s string, width int) string {
	r := []rune(s)
	switch {
	case len(r) <= width:
		return s
	case width < 1:
		return ""
	}
	return string(r[:width-1]) + "…"
}
