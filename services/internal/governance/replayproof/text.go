package replayproof

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for a person at a terminal.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "replay of %s: %s: %s\n", r.Topic, counted(r.Records), r.verdict())
	r.Bad.writeText(&b, "  bad in the topic already: ")
	judged := r.Records - r.Bad.Count
	if judged > 0 {
		fmt.Fprintf(&b, "\nread with the new schema\n")
		r.Read.writeText(&b, judged)
		r.writeReaders(&b)
		r.writeTable(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) verdict() string {
	switch {
	case r.ExitCode() == ExitBreaks:
		return "something fails or reads otherwise"
	case r.Records == 0:
		return "nothing to judge by"
	case r.Records == r.Bad.Count:
		return "none of them can be read as it is"
	case r.ExitCode() == ExitUnjudged:
		return "a reader could not be judged"
	}
	return "all read as before"
}

func (r Report) writeReaders(b *strings.Builder) {
	fmt.Fprintf(b, "\nwritten with the new schema, read by the declared readers\n")
	r.Unwritable.writeText(b, "  cannot be written: ")
	if len(r.Readers) == 0 {
		fmt.Fprintf(b, "  nobody has declared to read %s\n", r.Topic)
	}
	for _, reader := range r.Readers {
		fmt.Fprintf(b, "  %s (%s), version %d\n", reader.Group, reader.Owner, reader.Version)
		if reader.Unjudged != "" {
			fmt.Fprintf(b, "    not judged: %s\n", reader.Unjudged)
			continue
		}
		var inner strings.Builder
		reader.Today.writeText(&inner, "  fails today already: ")
		if reader.Judged+reader.Failed.Count > 0 {
			reader.writeText(&inner, reader.Judged+reader.Failed.Count)
		}
		b.WriteString(indented(inner.String()))
	}
}

func (r Report) writeTable(b *strings.Builder) {
	if r.Table == nil {
		return
	}
	fmt.Fprintf(b, "\nrows in ClickHouse\n")
	if r.Table.Problem != "" {
		fmt.Fprintf(b, "  %s\n", r.Table.Problem)
	}
	for _, row := range r.Table.Rows {
		switch {
		case row.Failure != "":
			fmt.Fprintf(b, "  %s: no row: %s\n", row.At, row.Failure)
		case len(row.Cells) == 0:
			fmt.Fprintf(b, "  %s: the same\n", row.At)
		default:
			fmt.Fprintf(b, "  %s:\n", row.At)
		}
		for _, c := range row.Cells {
			fmt.Fprintf(b, "    %s: %s → %s%s\n", c.Column, c.Before, c.After, c.types())
		}
	}
}

func (c Cell) types() string {
	switch {
	case c.TypeBefore == c.TypeAfter:
		return ""
	case c.TypeBefore == "" || c.TypeAfter == "":
		return "  (" + c.TypeBefore + c.TypeAfter + ")"
	}
	if c.Refused {
		return "  (" + c.TypeBefore + " → " + c.TypeAfter + ", which a plan refuses: the rows need a new table)"
	}
	return "  (" + c.TypeBefore + " → " + c.TypeAfter + ")"
}

func (o Outcome) writeText(b *strings.Builder, judged int) {
	if o.Failed.Count == 0 && len(o.Fields) == 0 {
		fmt.Fprintf(b, "  the same in %s\n", counted(judged))
	}
	o.Failed.writeText(b, "  fails: ")
	for _, f := range o.Fields {
		f.writeText(b, judged)
	}
	if o.More > 0 {
		fmt.Fprintf(b, "  and %d more differences in fields that are not listed\n", o.More)
	}
}

func (f Field) writeText(b *strings.Builder, judged int) {
	mark := "note: "
	if f.Breaks {
		mark = ""
	}
	name := f.Path
	if f.Was != "" {
		name += " (written as " + f.Was + ")"
	}
	fmt.Fprintf(b, "  %s%s %s in %d of %d", mark, name, f.Kind, f.Records, judged)
	if f.Suspect != "" {
		fmt.Fprintf(b, "; %s of the same type is new: a rename needs an alias", f.Suspect)
	}
	if f.WaivedBy != "" {
		fmt.Fprintf(b, "; waived by contracts/%s", f.WaivedBy)
	}
	b.WriteString("\n")
	for _, s := range f.Samples {
		switch f.Kind {
		case Vanishes:
			fmt.Fprintf(b, "    %s: %s\n", s.At, s.Before)
		case Appears:
			fmt.Fprintf(b, "    %s: %s\n", s.At, s.After)
		default:
			fmt.Fprintf(b, "    %s: %s → %s\n", s.At, s.Before, s.After)
		}
	}
}

func (t Tally) writeText(b *strings.Builder, lead string) {
	if t.Count == 0 {
		return
	}
	fmt.Fprintf(b, "%s%s\n", lead, counted(t.Count))
	for _, s := range t.Samples {
		fmt.Fprintf(b, "    %s: %s\n", s.At, s.Reason)
	}
}

func counted(n int) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

func indented(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
