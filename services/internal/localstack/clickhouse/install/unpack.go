package install

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// unpack takes the library out of the tarball, and fails unless both digests are the pinned ones.
func unpack(ctx context.Context, p Package, tarball, target string, say *progress) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	packed := sha256.New()
	source := io.TeeReader(f, packed)
	zipped, err := gzip.NewReader(bufio.NewReaderSize(source, 1<<20))
	if err != nil {
		return fmt.Errorf("unpacking %s: %w; run again to fetch it anew", tarball, err)
	}
	if err := extract(ctx, p, tar.NewReader(zipped), target, say); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return fmt.Errorf("reading %s: %w", tarball, err)
	}
	return checkDigest(packed, p.PackedSHA256, p.Name+"@"+p.Version)
}

func extract(ctx context.Context, p Package, archive *tar.Reader, target string, say *progress) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("unpacking %s@%s: it holds no %s", p.Name, p.Version, p.Member)
		}
		if err != nil {
			return fmt.Errorf("unpacking %s@%s: %w; run again to fetch it anew", p.Name, p.Version, err)
		}
		if header.Name == p.Member {
			return writeLibrary(ctx, p, archive, target, say)
		}
	}
}

func writeLibrary(ctx context.Context, p Package, source io.Reader, target string, say *progress) error {
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	sum := sha256.New()
	buffer := make([]byte, 1<<20)
	for written := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, readErr := io.ReadFull(source, buffer)
		if _, err := out.Write(buffer[:n]); err != nil {
			return fmt.Errorf("writing the ClickHouse engine to %s: %w", target, err)
		}
		sum.Write(buffer[:n])
		written += int64(n)
		say.step("unpacking", written, p.Bytes)
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return fmt.Errorf("unpacking %s@%s: %w; run again to fetch it anew", p.Name, p.Version, readErr)
		}
		if written > p.Bytes {
			break // More than it should be: the digest will not match either.
		}
	}
	if err := checkDigest(sum, p.SHA256, p.Member); err != nil {
		return err
	}
	// The file gets its final name only when it is on the disk: a name with the right size is trusted afterwards.
	if err := out.Sync(); err != nil {
		return fmt.Errorf("writing the ClickHouse engine to %s: %w", target, err)
	}
	return out.Close()
}

func checkDigest(sum hash.Hash, want, what string) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("checking %s: its sha256 is %s, expected %s; the mirror hands out another build, so nothing was installed", what, got, want)
	}
	return nil
}
