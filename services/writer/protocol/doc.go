// Package protocol is a model of how writers put every row of a topic into ClickHouse exactly once, without a coordinator,
// and explores every interleaving of its steps and faults. The protocol itself is written down in README.md.
package protocol
