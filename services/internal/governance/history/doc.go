// Package history works out, from git alone, the versions of every subject that a schema registry would hold had every
// first-parent commit of a branch been registered, the oldest first. It needs the git program and the whole history, and
// neither a registry nor cgo.
package history
