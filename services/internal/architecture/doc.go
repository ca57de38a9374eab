// Package architecture has no code. Its tests hold the repository together where no single package can: who may import
// whom, and whether the files in compose/ say the same as the programs.
package architecture
