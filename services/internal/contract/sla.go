package contract

import (
	"fmt"
	"slices"
)

// slaUnits says which units a promise may have; nil is a date, which has none.
var slaUnits = map[string][]string{
	"availability": {"percent"}, "errorRate": {"percent"},
	"throughput":   {"records/s", "bytes/s"},
	"retention":    {"d", "h"},
	"latency":      {"ms", "s"},
	"frequency":    {"ms", "s", "min", "h", "d"},
	"timeToDetect": {"s", "min", "h"}, "timeToNotify": {"s", "min", "h"}, "timeToRepair": {"min", "h", "d"},
	"generalAvailability": nil, "endOfSupport": nil, "endOfLife": nil,
}

func (d *decoder) sla(c *Contract, w wireContract) {
	seen := map[string]bool{}
	for i, p := range w.SLAProperties {
		at := fmt.Sprintf("/slaProperties/%d", i)
		s := SLA{Property: p.Property, Unit: p.Unit, Element: p.Element}
		number, isNumber := p.Value.(float64)
		s.Value = number
		if !isNumber {
			s.Text, _ = p.Value.(string)
		}
		units := slaUnits[p.Property]
		switch {
		case seen[p.Property+" "+p.Element]:
			d.fail(at, "keep one", "%s is promised twice", p.Property)
		case units == nil && (isNumber || s.Text == ""):
			d.fail(at, "write the day, for example \"2027-01-31\"", "%s is %s", p.Property, short(p.Value))
		case units != nil && (!isNumber || number <= 0):
			d.fail(at, "write a number above 0", "%s is %s", p.Property, short(p.Value))
		case units != nil && !slices.Contains(units, p.Unit):
			d.fail(at, fmt.Sprintf("write one of %v", units), "%s has the unit %q", p.Property, p.Unit)
		case p.Unit == "percent" && number > 100:
			d.fail(at, "at most 100", "%s is %g percent", p.Property, number)
		}
		seen[p.Property+" "+p.Element] = true
		c.SLA = append(c.SLA, s)
	}
	if retention, ok := c.FindSLA("retention"); ok {
		kept, _ := retention.Duration()
		c.Topic.RetentionMs = kept.Milliseconds()
	} else {
		d.fail("/slaProperties", "add {property: retention, value: 7, unit: d}: the topic's retention.ms comes from it", "no retention is promised")
	}
	if _, ok := c.FindSLA("latency"); !ok {
		d.fail("/slaProperties", "add {property: latency, value: 500, unit: ms, element: …}", "no latency is promised")
	}
}
