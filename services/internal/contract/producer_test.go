package contract_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
)

func TestTheDeclaredProducersAreWell(t *testing.T) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	consumers, err := contract.LoadConsumers(contracts.FS, all)
	if err != nil {
		t.Fatal(err)
	}
	producers, err := contract.LoadProducers(contracts.FS, all, consumers)
	if err != nil {
		t.Fatal(err)
	}
	writers := map[string]string{}
	for _, p := range producers {
		for _, product := range p.Writes {
			writers[product] += p.Principal + " "
		}
	}
	if writers["raw-trades"] != "User:parser " || writers["raw-frames"] != "User:loader " {
		t.Errorf("writers are %v", writers)
	}
}

func TestAProducerThatCannotBeIsAProblemWithItsLine(t *testing.T) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	consumers := []contract.Consumer{{Group: "p", Principal: "User:q", File: "consumers/p.yaml"}}
	const well = "producer: p\nowner: me\nprincipal: User:q\nwrites: [raw-trades]\ntransactionalIds: p-\n"
	for want, edit := range map[string][2]string{
		"":                                     {"", ""},
		"product raw-trade has no contract":    {"raw-trades", "raw-trade"},
		"principal is User:x, in contracts/co": {"User:q", "User:x"},
		"lacks owner":                          {"owner: me\n", ""},
		"the file is named p.yaml":             {"producer: p", "producer: q"},
		"those of first with \"pq-\"":          {"p-", "pq-1-"},
	} {
		fsys := fstest.MapFS{
			"producers/first.yaml": {Data: []byte("producer: first\nowner: me\nprincipal: User:first\nwrites: [raw-frames]\ntransactionalIds: pq-\n")},
			"producers/p.yaml":     {Data: []byte(strings.Replace(well, edit[0], edit[1], 1))},
		}
		_, err := contract.LoadProducers(fsys, all, consumers)
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "contracts/producers/p.yaml:")):
			t.Errorf("%v, want %q and the line", err, want)
		}
	}
}
