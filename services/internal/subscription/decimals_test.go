package subscription_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// TestDecimalsOfEveryScale: beside the platform's exact decimals a schema may have others, alone, nullable and in a list; what a
// consumer's own test writes it reads again.
func TestDecimalsOfEveryScale(t *testing.T) {
	type record struct {
		Exact    market.Decimal `avro:"exact"`
		Fee      *big.Rat       `avro:"fee"`
		Nullable *big.Rat       `avro:"nullable"`
		None     *big.Rat       `avro:"none"`
		List     []*big.Rat     `avro:"list"`
		Fixed    *big.Rat       `avro:"fixed"`
	}
	const fee = `{"type":"bytes","logicalType":"decimal","precision":10,"scale":3}`
	codec, err := subscription.NewCodec[record](strings.NewReplacer("FEE", fee).Replace(`{"type":"record","name":"R","fields":[
	  {"name":"exact","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},{"name":"fee","type":FEE},{"name":"nullable","type":["null",FEE]},
	  {"name":"none","type":["null",FEE]},{"name":"list","type":{"type":"array","items":FEE}},
	  {"name":"fixed","type":{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9,"scale":3}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	written := record{market.NewDecimal(-5, 1), big.NewRat(-257, 1000), big.NewRat(1, 2), nil, []*big.Rat{new(big.Rat), big.NewRat(9_999_999_999, 1000)}, big.NewRat(1, 8)}
	body, err := codec.Append(nil, &written)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(body, []byte{4, 0xfe, 0xff, 2, 4, 0x01, 0xf4, 0}) { // -257 in two bytes, then the branch and 500
		t.Errorf("% x", body)
	}
	read, err := codec.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	again, err := codec.Append(nil, &read)
	if err != nil || !bytes.Equal(again, body) || read.Fee.Cmp(written.Fee) != 0 || read.Nullable.Cmp(written.Nullable) != 0 || read.None != nil {
		t.Errorf("%v: %+v, % x", err, read, again)
	}
	written.Fee = big.NewRat(1, 3)
	if _, err := codec.Append(nil, &written); err == nil {
		t.Error("a third was written with three digits")
	}
}
