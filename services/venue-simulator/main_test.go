package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the program, so that what is tested is a process with its flags and exit status.
func TestMain(m *testing.M) {
	if os.Getenv("VENUE_SIMULATOR_TEST_MAIN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), "VENUE_SIMULATOR_TEST_MAIN=1")
	var log bytes.Buffer
	command.Stderr = &log
	return command, &log
}

func TestTheProgramServesAndDrainsOnSIGTERM(t *testing.T) {
	folder := t.TempDir()
	address := filepath.Join(folder, "address")
	command, log := program("--listen-file", address, "--ledger", filepath.Join(folder, "ledger"), "--symbols", "3", "--fault", "kind=drop,rate=0.1")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Process.Kill()
	var at []byte
	for deadline := time.Now().Add(2 * time.Minute); len(at) == 0; time.Sleep(10 * time.Millisecond) {
		at, _ = os.ReadFile(address)
		if time.Now().After(deadline) {
			t.Fatalf("no address: %s", log)
		}
	}
	var symbols map[string][]string
	var err error
	for range 1000 { // the address is there before the server is
		var response *http.Response
		if response, err = http.Get("http://" + string(at) + "/control/symbols"); err == nil {
			err = json.NewDecoder(response.Body).Decode(&symbols)
			response.Body.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || len(symbols["binance"]) != 3 || symbols["kraken"][0] != "BTC/USD" {
		t.Errorf("symbols %v, %v", symbols, err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%v: %s", err, log)
	}
}

func TestAMistakeIsOneLineThatNamesIt(t *testing.T) {
	notACapture := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notACapture, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"--replay", "/nonexistent/capture.gz"}, "/nonexistent/capture.gz"},
		{[]string{"--replay", notACapture}, "format is not recognised"},
		{[]string{"--speed", "1000"}, "--speed"},
		{[]string{"--source", "replay"}, "a replay needs a file"},
		{[]string{"--listen", "127.0.0.1:1"}, "--listen"},
		{[]string{"--venues", "nyse"}, "nyse"},
		{[]string{"--fault", "kind=nonsense"}, "nonsense"},
		{[]string{"--symbols", "0"}, "symbols is 0"},
	} {
		if c.want == "--listen" && os.Geteuid() == 0 {
			c.arguments[1] = "192.0.2.1:9300" // root may listen on any port, but not on someone else's address
		}
		command, log := program(c.arguments...)
		err := command.Run()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if err == nil || len(lines) != 1 || !strings.Contains(lines[0], c.want) || strings.Contains(lines[0], "goroutine") {
			t.Errorf("%v: %v: %s", c.arguments, err, log)
		}
	}
}
