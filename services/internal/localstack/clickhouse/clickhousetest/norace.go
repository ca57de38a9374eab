//go:build !race

package clickhousetest

// raceEnabled says that this test binary, and therefore the server's, is built without the race detector.
const raceEnabled = false
