package clickhouse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// Error is an answer of ClickHouse other than success.
type Error struct {
	Code   int // ClickHouse's error code; 0 when the answer is not ClickHouse's
	Status int // of HTTP
	Text   string
}

// Error shows code and text.
func (e *Error) Error() string {
	return fmt.Sprintf("ClickHouse error %d (HTTP %d): %s", e.Code, e.Status, e.Text)
}

// Action is what the one who inserts does about an error.
type Action int

const (
	// Retry: it passes by itself. Insert again under the same token.
	Retry Action = iota
	// Block: it needs a person, or is not understood. Alarm, and go on trying slowly under the same token; never skip.
	Alarm
	// Split: some row of the block is refused. Find it by halves.
	Split
	// Apply: the table lacks something that `streamforge apply` makes. Wait for it.
	Apply
	// Refuse: credentials, rights or certificates are wrong. Alarm, and go on trying slowly: rights may be granted while we wait.
	Refuse
)

var actionNames = [...]string{"retry", "block", "split", "apply", "refuse"}

// String is the label of metrics.
func (a Action) String() string { return actionNames[a] }

// Verdict on an error.
type Verdict struct {
	Action Action
	// Delay before the first try; a backoff grows from it.
	Delay time.Duration
	// Reason for a person.
	Reason string
}

const (
	soon   = 100 * time.Millisecond
	later  = time.Second
	seldom = 5 * time.Second
)

// verdicts by ClickHouse's error code. What is not here is not understood.
var verdicts = map[int]Verdict{
	252: {Retry, later, "too many parts: merges have to catch up first, and a faster retry would only make more"},
	241: {Retry, later, "memory limit: another query's memory becomes free"},
	202: {Retry, later, "too many queries at once: others end"},
	203: {Retry, soon, "no free connection: others end"},
	159: {Retry, soon, "timeout: the outcome is unknown, the token makes a repetition safe"},
	160: {Retry, later, "too slow a query: the server is loaded"},
	209: {Retry, soon, "socket timeout: the outcome is unknown, the token makes a repetition safe"},
	210: {Retry, soon, "network error: the outcome is unknown, the token makes a repetition safe"},
	279: {Retry, later, "all connection tries failed: a shard or replica is away"},
	319: {Retry, soon, "unknown status of insert: the token makes a repetition safe"},
	225: {Retry, later, "no Keeper: a replicated table takes nothing until it is back"},
	999: {Retry, later, "Keeper exception: a session ended, the next one works"},
	242: {Retry, later, "table is read only: its replica lost Keeper and comes back"},
	285: {Retry, later, "too few live replicas: a replica is away"},
	286: {Retry, later, "unsatisfied quorum: the outcome is unknown, the token makes a repetition safe"},
	473: {Retry, soon, "deadlock avoided: the table was locked by a change of its definition"},
	236: {Retry, later, "aborted: the server is shutting down or the table is being altered"},
	394: {Retry, soon, "query was cancelled: nothing says that it took place"},
	517: {Retry, soon, "cannot assign alter: two changes at once"},
	217: {Retry, later, "a query of this id still runs: an earlier attempt has not ended yet"},
	216: {Retry, later, "a query of this id still runs: an earlier attempt has not ended yet"},
	32:  {Retry, soon, "the body was cut off on the way: nothing was inserted"},
	33:  {Retry, soon, "the body was cut off on the way: nothing was inserted"},
	499: {Retry, later, "object store error: it passes"},
	74:  {Retry, later, "the server cannot read a file: its disk has trouble, which a person has to see, too"},
	75:  {Retry, later, "the server cannot write a file: its disk has trouble, which a person has to see, too"},

	243: {Alarm, seldom, "not enough space: free or add disk"},
	76:  {Alarm, seldom, "the server cannot open a file: look at its disk and limits"},
	115: {Alarm, seldom, "unknown setting: this version of ClickHouse lacks one that exactly once rests on"},
	164: {Alarm, seldom, "read only: the user's profile forbids to change settings or to write"},
	452: {Alarm, seldom, "a setting is constrained by the user's profile"},
	389: {Alarm, seldom, "deduplication token refused: the table has no deduplication window"},

	60: {Apply, later, "the table does not exist"},
	81: {Apply, later, "the database does not exist"},
	16: {Apply, later, "a column does not exist"},
	47: {Apply, later, "a column does not exist"},
	10: {Apply, later, "a column does not exist"},
	53: {Apply, later, "a column is of another type than when the writer looked"},
	50: {Apply, later, "a column is of a type that this server does not know"},

	6:                  {Split, soon, "a value cannot be read"},
	27:                 {Split, soon, "a value cannot be read"},
	69:                 {Split, soon, "a value is out of bounds"},
	70:                 {Split, soon, "a value cannot be converted"},
	131:                {Split, soon, "a string is too large"},
	190:                {Split, soon, "arrays of a row differ in length"},
	321:                {Split, soon, "a value is out of its type's range"},
	349:                {Split, soon, "null in a column that is not Nullable"},
	407:                {Split, soon, "a decimal overflows"},
	violatedConstraint: {Split, soon, "a row violates a constraint of the table"},
	691:                {Split, soon, "an enum has no such value"},

	516: {Refuse, seldom, "authentication failed: check CLICKHOUSE_USERNAME and CLICKHOUSE_PASSWORD"},
	192: {Refuse, seldom, "unknown user: check CLICKHOUSE_USERNAME"},
	193: {Refuse, seldom, "wrong password: check CLICKHOUSE_PASSWORD"},
	194: {Refuse, seldom, "a password is required: set CLICKHOUSE_PASSWORD"},
	497: {Refuse, seldom, "access denied: grant the user INSERT on the table"},
	195: {Refuse, seldom, "address not allowed: allow this host for the user"},
}

// Classify says what an error means for an insert. It knows the errors of Insert and those of clickhouse-go.
func Classify(err error) Verdict {
	var own *Error
	if errors.As(err, &own) {
		return classifyAnswer(own)
	}
	var exception *driver.Exception
	if errors.As(err, &exception) {
		return classifyAnswer(&Error{Code: int(exception.Code), Status: http.StatusInternalServerError})
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return Verdict{Refuse, seldom, "the server's certificate is not trusted: name its authority's in CLICKHOUSE_CA_LOCATION"}
	}
	// Everything else happened on the way: refused and reset connections, time-outs, a body cut off. Whether the insert
	// took place is unknown, which its token makes harmless.
	return Verdict{Retry, soon, "ClickHouse cannot be reached or the connection broke: the token makes a repetition safe"}
}

// PastDeadline says that the server refused an insert because the deadline that its token names is past.
func PastDeadline(err error) bool {
	var own *Error
	return errors.As(err, &own) && own.Code == violatedConstraint && strings.Contains(own.Text, "`"+ddl.DeadlineConstraint+"`")
}

const violatedConstraint = 469

func classifyAnswer(e *Error) Verdict {
	if PastDeadline(e) {
		return Verdict{Alarm, later, "by the server's clock the deadline of the insert is past: do its clock and ours differ?"}
	}
	if v, known := verdicts[e.Code]; known {
		return v
	}
	if e.Code == 0 {
		switch e.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests, http.StatusOK:
			return Verdict{Retry, later, "a proxy answers for ClickHouse: the outcome is unknown, the token makes a repetition safe"}
		case http.StatusUnauthorized, http.StatusForbidden:
			return Verdict{Refuse, seldom, "access denied: check CLICKHOUSE_USERNAME and CLICKHOUSE_PASSWORD"}
		}
		return Verdict{Alarm, seldom, "the answer is not ClickHouse's: is CLICKHOUSE_URL its HTTP interface?"}
	}
	return Verdict{Alarm, seldom, "an error that is not understood: nothing is skipped"}
}
