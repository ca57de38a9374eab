package app

import "log/slog"

// Secret is a credential of the configuration. It never shows itself: every way of printing it gives "[redacted]".
type Secret string

const redacted = "[redacted]"

// String redacts.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString redacts for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText redacts for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the credential itself, for flags, environment and files.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// LogValue redacts for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Reveal returns the credential, to hand to a client library.
func (s Secret) Reveal() string { return string(s) }
