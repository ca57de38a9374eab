package comment

import (
	"encoding/json"
	"fmt"
	"io"
)

// A comment is posted by a job that may write, from a check that ran on code of which anybody may be the author. So the
// check hands over data and not Markdown: the posting job, with the main branch's code, writes the Markdown itself, and
// whatever the data holds, it cannot hold a link, an image or a mention that works.

// maxDataBytes bounds what is read of a check's data.
const maxDataBytes = 8 << 20

// Encode writes the input for Decode.
func (in Input) Encode(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(in); err != nil {
		return fmt.Errorf("writing the check's data: %w", err)
	}
	return nil
}

// Decode reads what Encode wrote. Fields that it does not know are passed over: the branch's check may be newer than the
// code that writes the comment.
func Decode(r io.Reader) (Input, error) {
	var in Input
	limited := &io.LimitedReader{R: r, N: maxDataBytes + 1}
	decoder := json.NewDecoder(limited)
	if err := decoder.Decode(&in); err != nil {
		return Input{}, fmt.Errorf("reading the check's data: %w", err)
	}
	if decoder.More() || limited.N <= 0 {
		return Input{}, fmt.Errorf("the check's data is not one object of at most %d bytes", maxDataBytes)
	}
	return in, nil
}
