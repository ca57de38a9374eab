package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// forgetCommits has pids.log say of every producer that its last transaction was no commit. kfake (v0.0.0-20260918054303) keeps the
// offsets of an open transaction in memory; after a kill it takes a client's commit of that transaction, sent again, for one of the
// transaction before, because that was a commit, and answers that it took place, while nothing has. Now it refuses, and the client
// finds out what is committed. A commit that took place, and whose answer the kill has cut off, is refused as well.
func forgetCommits(dir string) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, "pids.log")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var out []byte
	for rest := raw[:wholeLogEntries(raw)]; len(rest) > 0; {
		end := entryHeader + int(binary.LittleEndian.Uint32(rest))
		body := bytes.Replace(rest[entryHeader:end], []byte(`"commit":true`), []byte(`"commit":false`), 1)
		out = appendLogEntry(out, body)
		rest = rest[end:]
	}
	if bytes.Equal(out, raw) {
		return nil
	}
	return replaceFile(path, out)
}

// replaceFile renames, so that a kill leaves the one or the other.
func replaceFile(path string, raw []byte) error {
	if err := os.WriteFile(path+".new", raw, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
