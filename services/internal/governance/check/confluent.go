package check

import (
	"fmt"
	"slices"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// direction says who reads whose records.
type direction int

const (
	backward direction = iota // the new schema reads records of an earlier version
	forward                   // a reader with an earlier version reads new records
)

// compatibility is the first layer: what failed between a candidate and every version that the level asks for, as one
// finding for each reason with all versions that it concerns.
func compatibility(candidate *avro.Schema, failed []avro.VersionVerdict) []Finding {
	var g grouping
	for _, v := range failed {
		g.side(backward, v, candidate, v.Backward, v.BackwardErr)
		g.side(forward, v, v.Version.Schema, v.Forward, v.ForwardErr)
	}
	return g.findings
}

// grouping puts the same reason against several versions into one finding.
type grouping struct {
	findings []Finding
}

func (g *grouping) side(d direction, v avro.VersionVerdict, reader *avro.Schema, found []avro.Incompatibility, refused error) {
	if refused != nil {
		g.add(v.Version.Number, Finding{
			Layer: Confluent, Rule: Ambiguous, Severity: Breaking, Reason: fmt.Sprintf("the rules cannot tell what to compare: %v", refused),
			Do: "remove the alias that fits a second field",
		})
	}
	for _, f := range found {
		for _, c := range causes(reader, f) {
			finding := Finding{Layer: Confluent, Rule: string(c.reported), Severity: Breaking, Path: c.path}
			if c.kind != c.reported {
				finding.Cause = string(c.kind)
			}
			finding.Reason, finding.Do = explain(d, c)
			g.add(v.Version.Number, finding)
		}
	}
}

func (g *grouping) add(version int, f Finding) {
	i := slices.IndexFunc(g.findings, func(known Finding) bool {
		return known.Rule == f.Rule && known.Path == f.Path && known.Reason == f.Reason
	})
	if i < 0 {
		f.Versions = []int{version}
		g.findings = append(g.findings, f)
		return
	}
	if !slices.Contains(g.findings[i].Versions, version) {
		g.findings[i].Versions = append(g.findings[i].Versions, version)
	}
}
