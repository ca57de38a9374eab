package app

import "runtime/debug"

// Version of this build: the module's version, or the commit it was built from, or "dev". Set by the build with
// -ldflags "-X …/app.buildVersion=…".
func Version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// buildVersion is a variable only because the linker can set nothing else.
var buildVersion string
