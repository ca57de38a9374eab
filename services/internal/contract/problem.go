package contract

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong in one place of one file, with what to do about it.
type Problem struct {
	// Subject is what the file describes, for example "contract raw-trades" or "consumer parser".
	Subject string
	// File is the path below contracts/, Line counts from 1; 0 means the file as a whole.
	File string
	Line int
	// What is wrong, with the values; Do is the next step, possibly empty.
	What, Do string
}

func (p Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s in contracts/%s", p.Subject, p.What, p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Do != "" {
		b.WriteString("; " + p.Do)
	}
	return b.String()
}

// Problems are all that was found, in the order of files and lines. It is an error when it is not empty.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns p as an error, and nil when there is no problem: a nil slice in an error interface would not be nil.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
