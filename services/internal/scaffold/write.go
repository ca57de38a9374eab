package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts files into a working tree. It overwrites nothing: a file that exists is an error, and then nothing is left
// behind of what was written before it.
func Write(root string, files []File) (err error) {
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for i := len(made) - 1; i >= 0; i-- {
			// A folder that holds what is not ours stays.
			_ = os.Remove(made[i])
		}
	}()
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f.Path))
		folders, err := makeFolders(filepath.Dir(path))
		made = append(made, folders...)
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("writing %s: it exists, and nothing is overwritten; choose another NAME", f.Path)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
		made = append(made, path)
		_, err = file.Write(f.Text)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
	}
	return nil
}

// makeFolders makes a folder and those above it, and returns those that were not there.
func makeFolders(path string) ([]string, error) {
	var missing []string
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		missing = append([]string{dir}, missing...)
	}
	for i, dir := range missing {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return missing[:i], err
		}
	}
	return missing, nil
}
