package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/avro"

	"github.com/streamforge/streamforge/schemas"
)

func TestTheMiddleOfAFewNumbers(t *testing.T) {
	for want, numbers := range map[float64][]float64{0: nil, 3: {3}, 2: {9, 1, 2}, 2.5: {4, 1, 2, 3}} {
		before := slices.Clone(numbers)
		if got := middle(numbers); got != want || !slices.Equal(numbers, before) {
			t.Errorf("the middle of %v is %v, want %v", before, got, want)
		}
	}
}

// A record that does not fit its schema would be measured on the way to dead letters.
func TestEveryCaseFitsItsSchema(t *testing.T) {
	for name, c := range cases() {
		subject, err := c.subject()
		if err != nil {
			t.Fatal(err)
		}
		text, err := schemas.SelfContained(subject)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := avro.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		of := instruments()
		for i := range 3 * symbols {
			var value any
			body := c.value(nil, &of[i%symbols], i, firstTime().UnixMicro())
			if name == "wide" && (len(body) < 1500 || len(body) > 1700) {
				t.Fatalf("a wide record has %d bytes", len(body))
			}
			rest, err := schema.Decode(body, &value)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s, record %d: %v, %d bytes are left", name, i, err, len(rest))
			}
		}
	}
}

func TestThePeerReadsNoDictionaries(t *testing.T) {
	for kind, want := range map[string]string{
		"LowCardinality(String)": "String", "LowCardinality(Nullable(String))": "Nullable(String)", "Decimal(38, 18)": "Decimal(38, 18)",
	} {
		if got := readAs(kind); got != want {
			t.Errorf("%s is read as %s, want %s", kind, got, want)
		}
	}
}

func TestProcessorTimeGrowsWithWork(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for deadline := time.Now().Add(2 * time.Minute); after == before && time.Now().Before(deadline); {
		if after, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if after <= before {
		t.Errorf("%s after work, %s before", after, before)
	}
}
