package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTicks is the kernel's unit in /proc/<pid>/stat, USER_HZ: 100 a second on every Linux that Go runs on.
const clockTicks = 100

// cpuTime is what a process has used so far, in user and kernel mode, all its threads together.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything; behind it stand fields 3 and on.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const user, kernel = 14 - 3, 15 - 3
	if len(fields) <= kernel {
		return 0, fmt.Errorf("/proc/%d/stat holds %q, which is not of the known form", pid, text)
	}
	var ticks int64
	for _, field := range []int{user, kernel} {
		n, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}
