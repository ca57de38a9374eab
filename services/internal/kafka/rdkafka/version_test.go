package rdkafka

import "testing"

func TestTheHeaderIsOfTheLibraryThatIsLinked(t *testing.T) {
	library, header := Version()
	if library != header {
		t.Fatalf("linked librdkafka is 0x%08x, rdkafka.h is of 0x%08x: copy the header of the new version here", library, header)
	}
}

func TestHeadersPassTheBoundaryUnchanged(t *testing.T) {
	var b []byte
	b = AppendHeader(b, "producer", []byte("parser@1"))
	b = AppendHeader(b, "empty", []byte{})
	b = AppendHeader(b, "null", nil)
	name, value, rest := NextHeader(b)
	if string(name) != "producer" || string(value) != "parser@1" {
		t.Fatalf("first header is %s=%s", name, value)
	}
	name, value, rest = NextHeader(rest)
	if string(name) != "empty" || value == nil || len(value) != 0 {
		t.Fatalf("second header is %s=%v", name, value)
	}
	name, value, rest = NextHeader(rest)
	if string(name) != "null" || value != nil || len(rest) != 0 {
		t.Fatalf("third header is %s=%v, %d bytes left", name, value, len(rest))
	}
}
