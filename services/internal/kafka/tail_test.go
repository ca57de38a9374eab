package kafka

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A tail hands out what came since the last time, a refused record again, and all of a topic that was made anew.
func TestATailReadsWhatHasComeSince(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		topic := c.topic("tail", 1)
		produce := func(values ...string) {
			t.Helper()
			for _, v := range values {
				c.produce(&Message{Topic: topic, Value: []byte(v)})
			}
		}
		tail := NewTail(c.client, c.admin, topic)
		anew := 0
		catchUp := func(refused string, want ...string) {
			t.Helper()
			var got []string
			err := tail.CatchUp(t.Context(), func() { anew++ }, func(r Record) error {
				if string(r.Value) == refused {
					return fmt.Errorf("%s is refused", refused)
				}
				got = append(got, string(r.Value))
				return nil
			})
			if (err != nil) != (refused != "") {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		}
		catchUp("")
		produce("a", "b", "c")
		catchUp("c", "a", "b")
		catchUp("", "c")
		catchUp("")
		tail.Rewind()
		produce("d")
		catchUp("", "a", "b", "c", "d")
		if anew != 0 {
			t.Errorf("told %d times of a new topic", anew)
		}
		if err := NewTail(c.client, c.admin, topic+"-other").CatchUp(t.Context(), nil, nil); !errors.Is(err, ErrUnknownTopic) {
			t.Errorf("error %v", err)
		}
	})
}
