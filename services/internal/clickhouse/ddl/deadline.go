package ddl

// TokenPrefix begins the insert tokens that name a deadline: the prefix, seconds since 1970, a dash, and what tells one
// block from another.
const TokenPrefix = "sf-"

// DeadlineConstraint is the name of the constraint by which a table refuses an insert whose token's deadline is past. It has to be
// the server that looks at the clock: an insert may lie in a proxy or in a socket while the table forgets its token, and
// would then double its rows. Inserts under other tokens, or none, pass.
const DeadlineConstraint = "insert_deadline"

// deadlineCheck is constant within a query, so that it costs nothing a row.
const deadlineCheck = "NOT startsWith(getSetting('insert_deduplication_token'), '" + TokenPrefix + "') OR " +
	"now() < toDateTime(toUInt32OrZero(splitByChar('-', getSetting('insert_deduplication_token'))[2]))"

// AddDeadline writes the statement that gives an existing table the constraint.
func AddDeadline(spec Spec, options Options) string {
	return spec.alter(options) + " ADD CONSTRAINT IF NOT EXISTS " + DeadlineConstraint + " CHECK " + deadlineCheck
}
