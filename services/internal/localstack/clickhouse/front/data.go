package front

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spillBytes is how long a body may be to be kept in memory; a longer one is on the disk.
const spillBytes = 64 << 20

// keptMemories is how many files in memory are kept for the next bodies, with their pages: a new page costs more than what is
// written to it.
const keptMemories = 2

// dataFile is the data of one INSERT: a file without a name, first in memory, on the disk when it grows big.
type dataFile struct {
	memory *memory  // nil when it is on the disk
	disk   *os.File // nil when it is in memory
	size   int64
	from   *dataFiles
}

// memory is a file in memory and the same as a slice, of spillBytes.
type memory struct {
	file  *os.File
	bytes []byte
}

// dataFiles makes them.
type dataFiles struct {
	dir  string // of those on the disk
	kept chan *memory
}

func newDataFiles(dir string) *dataFiles {
	return &dataFiles{dir: dir, kept: make(chan *memory, keptMemories)}
}

func (f *dataFiles) open() (*dataFile, error) {
	memory, err := f.takeMemory()
	if err != nil {
		return nil, fmt.Errorf("making a file for the body: %w", err)
	}
	return &dataFile{memory: memory, from: f}, nil
}

func (f *dataFiles) takeMemory() (*memory, error) {
	var m *memory
	select {
	case m = <-f.kept:
	default:
		fd, err := unix.MemfdCreate("insert", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		m = &memory{file: os.NewFile(uintptr(fd), "insert")}
		if m.bytes, err = unix.Mmap(fd, 0, spillBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return nil, errors.Join(err, m.file.Close())
		}
	}
	// Pages exist from their first byte on, not from here.
	if err := m.file.Truncate(spillBytes); err != nil {
		m.free()
		return nil, err
	}
	return m, nil
}

func (f *dataFiles) giveMemory(m *memory) {
	select {
	case f.kept <- m:
	default:
		m.free()
	}
}

// close frees what is kept.
func (f *dataFiles) close() {
	for {
		select {
		case m := <-f.kept:
			m.free()
		default:
			return
		}
	}
}

func (m *memory) free() {
	_ = unix.Munmap(m.bytes)
	_ = m.file.Close()
}

// ReadFrom appends what source has, without a copy in between.
func (d *dataFile) ReadFrom(source io.Reader) (read int64, err error) {
	for d.memory != nil {
		if d.size == spillBytes {
			if err := d.spill(); err != nil {
				return read, err
			}
			break
		}
		n, err := source.Read(d.memory.bytes[d.size:])
		d.size += int64(n)
		read += int64(n)
		if err == io.EOF { // Not one that is wrapped, which tells of a body that was cut off.
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
	n, err := io.Copy(onDisk{d.disk}, source)
	d.size += n
	return read + n, err
}

// onDisk names what its disk refuses, which the sender is not to take for a fault of what it sends.
type onDisk struct{ file *os.File }

func (d onDisk) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	if err != nil {
		err = exception(codeNotEnoughSpace, "NOT_ENOUGH_SPACE", "a body of more than %d bytes cannot be kept: %v; free space or send smaller batches", spillBytes, err)
	}
	return n, err
}

func (d *dataFile) spill() error {
	fd, err := unix.Open(d.from.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("making a file for a big body in %s: %w", d.from.dir, err)
	}
	disk := os.NewFile(uintptr(fd), "insert")
	if _, err := (onDisk{disk}).Write(d.memory.bytes[:d.size]); err != nil {
		disk.Close()
		return err
	}
	d.from.giveMemory(d.memory)
	d.memory, d.disk = nil, disk
	return nil
}

// complete gives the file its length, so that it can be read.
func (d *dataFile) complete() error {
	if d.memory == nil {
		return nil
	}
	return d.memory.file.Truncate(d.size)
}

// path is where this process finds the file.
func (d *dataFile) path() string {
	file := d.disk
	if d.memory != nil {
		file = d.memory.file
	}
	return fmt.Sprintf("/proc/self/fd/%d", file.Fd())
}

func (d *dataFile) close() {
	if d.memory != nil {
		d.from.giveMemory(d.memory)
		return
	}
	_ = d.disk.Close()
}
