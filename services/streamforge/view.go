//go:build cgo

package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
)

// show displays samples until ctx ends or the person presses Ctrl-C: a live view on a terminal, a line a second elsewhere.
func show(ctx context.Context, out io.Writer, terminal bool, title string, sample func(context.Context) Sample) error {
	if terminal {
		return showLive(ctx, title, sample)
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
	return fmt.Sprintf("%4.0fs frames/s=%-6.0f trades/s=%-5.0f rows=%-8d p50=%dms p99=%dms lag: %s",
		s.Elapsed.Seconds(), s.FramesPerSecond, s.TradesPerSecond, s.TotalRows(), s.P50.Milliseconds(), s.P99.Milliseconds(), strings.Join(lags, " "))
}

// liveView is the terminal's model.
type liveView struct {
	title  string
	sample Sample
	ask    func() Sample
	width  int
}

type sampled Sample

func showLive(ctx context.Context, title string, sample func(context.Context) Sample) error {
	view := liveView{title: title, ask: func() Sample { return sample(ctx) }, width: 100}
	program := tea.NewProgram(view, tea.WithContext(ctx), tea.WithoutSignalHandler())
	_, err := program.Run()
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
		v.width = m.Width
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
)

// View draws the sample.
func (v liveView) View() string {
	s := v.sample
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n\n", titleStyle.Render("StreamForge"), labelStyle.Render(v.title))
	figure := func(label, value string) {
		fmt.Fprintf(&b, "  %s %s", labelStyle.Render(label), valueStyle.Render(fmt.Sprintf("%-10s", value)))
	}
	figure("frames/s", fmt.Sprintf("%.0f", s.FramesPerSecond))
	figure("trades/s", fmt.Sprintf("%.0f", s.TradesPerSecond))
	figure("frames", group(s.Frames))
	figure("running", s.Elapsed.Round(time.Second).String())
	b.WriteString("\n")
	figure("received → visible  p50", fmt.Sprintf("%d ms", s.P50.Milliseconds()))
	figure("p99", fmt.Sprintf("%d ms", s.P99.Milliseconds()))
	b.WriteString("\n\n")
	fmt.Fprintf(&b, "  %s\n", labelStyle.Render(fmt.Sprintf("%-26s %12s %12s", "consumer group", "lag seconds", "lag records")))
	for _, g := range s.Groups {
		line := fmt.Sprintf("  %-26s %12.1f %12s", g.Group, g.Seconds, group(g.Records))
		if g.Seconds > 5 {
			line = lateStyle.Render(line)
		}
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "\n  %s\n", labelStyle.Render(fmt.Sprintf("%-26s %12s", "ClickHouse table", "rows")))
	tables := make([]string, 0, len(s.Rows))
	for table := range s.Rows {
		tables = append(tables, table)
	}
	sort.Strings(tables)
	for _, table := range tables {
		line := fmt.Sprintf("  %-26s %12s", table, group(s.Rows[table]))
		if table == "dead_letters" && s.Rows[table] > 0 {
			line = errorStyle.Render(line)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	for _, e := range s.Errors {
		b.WriteString("  " + errorStyle.Render(clip(e, v.width-4)) + "\n")
	}
	b.WriteString("\n  " + labelStyle.Render("Ctrl-C drains the pipeline and prints the proof") + "\n")
	return b.String()
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
	if r := []rune(s); width > 1 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
