// Package scaffold writes new consumers: a program of its own folder that reads data products from the first minute, with
// typed events made from the products' schemas, a test, a manifest, and the declaration of what it reads. It is pure: it
// reads contracts and schemas from a folder and returns files.
package scaffold
