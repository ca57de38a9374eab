// Package evolution holds tests that prove how the running platform changes: schemas, contracts and programs, under load,
// with nothing lost, doubled or diverted. It holds no program.
package evolution
