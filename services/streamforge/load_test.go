//go:build cgo

package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestLagBoundedWantsShortLagsThatDoNotGrow(t *testing.T) {
	for name, c := range map[string]struct {
		lags []float64
		want bool
	}{
		"nothing seen":                     {nil, false},
		"short":                            {[]float64{0.1, 0.2, 0.1, 0.3, 0.2, 0.2, 0.3, 0.2}, true},
		"a bad beginning is forgiven":      {[]float64{9, 8, 5, 3, 1, 0.5, 0.4, 0.3}, true},
		"long at the end":                  {[]float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 5.1}, false},
		"short and growing all the time":   {[]float64{0, 0.5, 1, 1.5, 2, 2.5, 3.5, 4}, false},
		"not short, and steady over there": {[]float64{6, 6, 6, 6, 6, 6, 6, 6}, false},
	} {
		if got := lagBounded(c.lags); got != c.want {
			t.Errorf("%s: lagBounded(%v) = %v", name, c.lags, got)
		}
	}
}

func TestReachedInterpolatesBetweenTwoLooks(t *testing.T) {
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	history := []endAt{{at(0), 100}, {at(1), 200}, {at(2), 200}, {at(3), 400}}
	for position, want := range map[int64]float64{50: 0, 100: 0, 150: 0.5, 200: 1, 300: 2.5, 400: 3, 500: 3} {
		if got := reached(history, position); !got.Equal(at(want)) {
			t.Errorf("position %d was reached at %s, want %s", position, got.Sub(at(0)), at(want).Sub(at(0)))
		}
	}
}

func TestCPUTimeGrowsWithWork(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 1<<16)
	for began, sum := time.Now(), 0; time.Since(began) < 10*time.Second; sum += bytes.Count(block, []byte("xy")) {
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			return
		}
	}
	t.Error("ten seconds of work have taken no processor time")
}
