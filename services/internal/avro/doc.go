// Package avro is the platform's own understanding of Avro schemas: what a schema is (Parse), how a registry writes it
// down (String, Normalized), whether data written with one schema can be read with another (Incompatibilities, Level), and
// how a consumer reads every live version of a product (NewProjection).
//
// The rules are those of Avro's Java library, because the registries that production uses decide with it; where that
// library does something surprising, so does this package, and the comment at the place says so. A differential test holds
// the two together. Nothing here needs cgo, so the offline checks of a pull request can use it.
package avro
