// Package contracts holds the contract of every data product and the declarations of who reads them, as files that any
// program of the platform can carry.
package contracts

import "embed"

// FS holds <domain>/<product>.yaml, one ODCS v3.1.0 file a product, migrations between major versions beside them, and what
// consumers, producers and waivers declare.
//
//go:embed */*.yaml
var FS embed.FS
