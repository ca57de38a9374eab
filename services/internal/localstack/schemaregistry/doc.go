// Package schemaregistry is the local stack's schema registry: Confluent's REST API, with its answers and error codes, for
// Avro schemas. All state is in the compacted topic _schemas, in Confluent's own record form, so that the topic could be
// handed to a real registry and back. See README.md for what is and is not like Confluent's.
//
// How it hangs together: server.go has the component and its life, routes.go the paths, one handle_*.go a group of paths,
// registry.go the rules (what may be registered, deleted, changed), state.go what is known, records.go the form of the
// topic's records, store.go the topic itself. Locks: Registry.writes is taken first and is held over the wait for the
// broker, so that writes come one after another; Registry.mutex guards the state and is never held over a wait.
package schemaregistry
