package simulator

import (
	"net"
	"sync"
	"time"
)

// connectionLimits counts new connections an address in five minutes.
type connectionLimits struct {
	mutex  sync.Mutex
	window time.Time
	counts map[string]int
}

const venueConnectionsPerFiveMinutes = 300

func (l *connectionLimits) allow(remote string, limit int) bool {
	if limit == 0 {
		limit = venueConnectionsPerFiveMinutes
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if now := time.Now(); now.Sub(l.window) > 5*time.Minute {
		l.window, l.counts = now, map[string]int{}
	}
	l.counts[host]++
	return l.counts[host] <= limit
}

// messageLimit counts what a client sends within a second; pings and pongs count.
type messageLimit struct {
	limit  int
	window time.Time
	count  int
}

func newMessageLimit(venue string) *messageLimit {
	switch venue {
	case "binance":
		return &messageLimit{limit: 5}
	case "binance-usdm":
		return &messageLimit{limit: 10}
	default:
		return &messageLimit{limit: 1000}
	}
}

func (l *messageLimit) exceeded(now time.Time) bool {
	if now.Sub(l.window) >= time.Second {
		l.window, l.count = now, 0
	}
	l.count++
	return l.count > l.limit
}

// weightBudget is the REST budget of one venue: within a calendar minute, as Binance counts it.
type weightBudget struct {
	mutex      sync.Mutex
	limit      int
	minute     int64
	used       int
	violations int
	banned     time.Time
}

const (
	violationsBeforeBan = 10
	banDuration         = 2 * time.Minute
)

func newWeightBudget(venue string, limit int) *weightBudget {
	if limit == 0 {
		limit = 6000
		if venue == "binance-usdm" {
			limit = 2400
		}
	}
	return &weightBudget{limit: limit}
}

// take spends weight. status is 0 when the request may pass, else 429 or 418 with the seconds to wait.
func (b *weightBudget) take(weight int, now time.Time) (used, status, retryAfter int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if now.Before(b.banned) {
		return b.used, 418, int(b.banned.Sub(now).Seconds()) + 1
	}
	if minute := now.Unix() / 60; minute != b.minute {
		b.minute, b.used, b.violations = minute, 0, 0
	}
	b.used += weight
	if b.used <= b.limit {
		return b.used, 0, 0
	}
	b.violations++
	if b.violations > violationsBeforeBan {
		b.banned = now.Add(banDuration)
		return b.used, 418, int(banDuration.Seconds())
	}
	return b.used, 429, int(60 - now.Unix()%60)
}
