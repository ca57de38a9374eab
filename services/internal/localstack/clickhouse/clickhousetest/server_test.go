package clickhousetest

import (
	"testing"
)

func TestSharedServerAnswersAndEachTestHasItsOwnDatabase(t *testing.T) {
	address := Start(t)
	if got := Exec(t, address, "SELECT 1"); got != "1" {
		t.Fatalf("SELECT 1 answered %q", got)
	}
	first, second := Database(t), Database(t)
	if first == second {
		t.Fatalf("two databases have the name %s", first)
	}
	Exec(t, address, "CREATE TABLE "+first+".t (a UInt8) ENGINE = MergeTree ORDER BY a")
	if got := Exec(t, address, "EXISTS "+second+".t"); got != "0" {
		t.Fatalf("a table of %s is also in %s", first, second)
	}
}

func TestAKilledServerComesBackOnTheSamePortWithWhatItAcknowledged(t *testing.T) {
	server := Own(t, Options{})
	Exec(t, server.URL, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
	Exec(t, server.URL, "INSERT INTO t VALUES (1), (2)")
	address := server.URL
	server.Kill()
	server.Restart(t)
	if server.URL != address {
		t.Fatalf("the server came back on %s instead of %s", server.URL, address)
	}
	if got := Exec(t, server.URL, "SELECT count() FROM t"); got != "2" {
		t.Fatalf("%s rows after the kill, 2 before", got)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	server.Restart(t)
}
