// Package check judges a change of schemas and contracts offline, from git alone: what the base holds against the working
// tree. It has two layers, told apart in the report: what every registry would say (package avro), and changes of meaning
// that those rules let through (package governance/semantics). Nothing here needs cgo, a server or the network.
package check
