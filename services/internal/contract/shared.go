package contract

import "github.com/streamforge/streamforge/services/internal/avro"

// SharedTypeLevel is the compatibility level of the types that several schemas use: they have no contract of their own, and
// every product's promise rests on them.
const SharedTypeLevel = avro.LevelFullTransitive
