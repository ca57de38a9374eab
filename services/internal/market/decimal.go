package market

// Scale is the number of digits after the point that a Decimal holds: Avro's decimal(38,18).
const Scale = 18

// Decimal is an exact number: a 128-bit two's complement integer, the value times 10^18.
type Decimal struct {
	Hi int64
	Lo uint64
}
