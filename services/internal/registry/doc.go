// Package registry is the platform's client of a schema registry with Confluent's API (Confluent's own, Karapace, Apicurio
// under /apis/ccompat/v7, or the local stack's), behind one cache, and the wire format that puts a schema's id before a
// record's body.
//
// The library riferrei/srclient makes the calls that it knows. Three kinds of call it lacks, and calls.go makes them with
// net/http: those with normalize=true (without it a registry may take a change of white space for a new version), the
// verbose compatibility check (srclient reduces the answer to a bool), and the deletion of a level. srclient's own caches are
// off: they have no bound and cannot tell an unknown id from a registry that is away.
package registry
