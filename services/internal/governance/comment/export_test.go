package comment

// ReasonOf and Cell quote for the table of edits as they do for a comment.
var (
	ReasonOf = reasonOf
	Cell     = cell
)
