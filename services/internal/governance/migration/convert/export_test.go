package convert

// UpForTest makes a body of the later version.
func UpForTest(p *Pair, body []byte) ([]byte, error) { return p.mapping.Up(nil, body) }

// DownForTest makes a body of the earlier version.
func DownForTest(p *Pair, body []byte) ([]byte, error) { return p.mapping.Down(nil, body) }
