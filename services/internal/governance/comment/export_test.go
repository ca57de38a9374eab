package comment

// Text and Cell quote for the table of edits as they do for a comment.
var (
	Text = text
	Cell = cell
)
