package front

import (
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
)

const displayName = "streamforge"

// hello is what a client asks first.
type hello struct {
	version  string
	timezone string
}

func askHello(e Engine) (hello, error) {
	conn, err := e.Connect()
	if err != nil {
		return hello{}, err
	}
	defer conn.Close()
	result, err := conn.Query("SELECT version(), timezone()", "TabSeparated", nil)
	if err != nil {
		return hello{}, fmt.Errorf("asking the embedded ClickHouse for its version: %w", err)
	}
	defer result.Close()
	version, timezone, ok := strings.Cut(strings.TrimSuffix(string(result.Data), "\n"), "\t")
	if !ok {
		return hello{}, fmt.Errorf("asking the embedded ClickHouse for its version: it answered %q", result.Data)
	}
	return hello{version: version, timezone: timezone}, nil
}

// isHello recognises the first query of clickhouse-go.
func isHello(text string) bool {
	return strings.TrimSpace(text) == "SELECT displayName(), version(), revision(), timezone()"
}

// answerHello answers in the protocol version that the client names in its URL, and says revision 0 in it: from then on
// the client reads plain Native blocks, which is what the engine writes.
func (f *Front) answerHello(out *answer, q *request) error {
	name, version, zone := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	revision := proto.ColUInt32{0}
	name.Append(displayName)
	version.Append(f.hello.version)
	zone.Append(f.hello.timezone)
	input := proto.Input{
		{Name: "displayName()", Data: name},
		{Name: "version()", Data: version},
		{Name: "revision()", Data: &revision},
		{Name: "timezone()", Data: zone},
	}
	var buffer proto.Buffer
	block := proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: len(input), Rows: 1}
	if err := block.EncodeBlock(&buffer, q.revision, input); err != nil {
		return fmt.Errorf("answering the client's hello: %w", err)
	}
	out.begin("Native", engine.Stats{RowsRead: 1})
	return clientGone(out.write(buffer.Buf))
}
