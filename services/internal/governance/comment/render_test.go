package comment_test

import (
	"bytes"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	renderer "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/governance/comment"
)

// github reads Markdown as GitHub does, as far as a library can.
var github = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote), goldmark.WithRendererOptions(renderer.WithUnsafe()))

// shape is what of a comment could carry something: everything but words and code.
type shape struct {
	headings, tables, rows, items, emphases, markers int
	forbidden                                        []string
}

func shapeOf(markdown string) shape {
	source := []byte(markdown)
	var s shape
	_ = ast.Walk(github.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			s.headings++
		case *extast.Table:
			s.tables++
		case *extast.TableRow:
			s.rows++
			if n.ChildCount() != 6 {
				s.forbidden = append(s.forbidden, "a row with other than 6 cells")
			}
		case *ast.ListItem:
			s.items++
		case *ast.Link, *ast.Image, *ast.AutoLink, *extast.TaskCheckBox, *extast.Strikethrough, *extast.FootnoteLink, *ast.CodeBlock:
			s.forbidden = append(s.forbidden, n.Kind().String())
		case *ast.RawHTML:
			if raw := string(n.Segments.Value(source)); raw != "<br>" {
				s.forbidden = append(s.forbidden, raw)
			}
		case *ast.HTMLBlock:
			raw := strings.TrimSpace(string(n.Lines().Value(source)))
			if strings.HasPrefix(raw, comment.Marker) {
				s.markers++
			} else if raw != "<details><summary>The registry's own words</summary>" && raw != "</details>" {
				s.forbidden = append(s.forbidden, raw)
			}
		case *ast.Emphasis:
			s.emphases++
		}
		return ast.WalkContinue, nil
	})
	return s
}

var (
	codeElements = regexp.MustCompile(`(?s)<code.*?</code>|<!--.*?-->`)
	tags         = regexp.MustCompile(`<[^>]*>`)
	// wakes is what GitHub makes a mention, a reference of in plain text.
	wakes = regexp.MustCompile(`@\w|#\d|(?i)\bGH-\d|https?://|www\.`)
)

// plainText is what stands outside of code once rendered.
func plainText(t interface{ Fatal(...any) }, markdown string) string {
	var out bytes.Buffer
	if err := github.Convert([]byte(markdown), &out); err != nil {
		t.Fatal(err)
	}
	return html.UnescapeString(tags.ReplaceAllString(codeElements.ReplaceAllString(out.String(), " "), " "))
}

// Whatever a branch writes into names, docs, owners and values, the comment has the same shape as with a plain word.
func TestNothingOfABranchBecomesMarkdown(t *testing.T) {
	harmless := shapeOf(comment.Markdown(comment.Input{Report: hostile("word")}))
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"`", "``", "```", "|", "\\", "\\|", "*", "**", "_", "~~", "<", ">", "<b>", "</details>", "<!--", "-->", "&", "&lt;", "&#64;", "[", "]", "](", "(", ")", "![", "[x](http://a.b)",
			"[^1]", "[a]: http://x", "\n", "\r\n", "\n\n", "\n# ", "\n- ", "\n> ", "\n```\n", "\n---\n", "\n    ", "\t", " ", "  ", "@", "@octocat", "#1", "GH-7", "http://", "https://evil.example", "www.evil.example",
			"a@evil.example", "$", "$$", "\u202e", "\u200b", "\u2028", "\x00", "\x1b[31m", "🚀", "hostile", "é", "word", "bids[].price", "labels{}.text", comment.Marker,
		}),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		// An empty owner or path leaves its line out; anything else must not change a line.
		s := strings.Join(rapid.SliceOfN(piece, 1, 12).Draw(t, "pieces"), "") + rapid.SampledFrom([]string{"x", "`", "0"}).Draw(t, "end")
		markdown := comment.Markdown(comment.Input{Report: hostile(s)})
		got := shapeOf(markdown)
		if len(got.forbidden) > 0 {
			t.Fatalf("%q became %q in\n%s", s, got.forbidden, markdown)
		}
		if got.headings != harmless.headings || got.tables != harmless.tables || got.rows != harmless.rows || got.items != harmless.items || got.emphases != harmless.emphases {
			t.Fatalf("%q made it %+v, a plain word makes %+v:\n%s", s, got, harmless, markdown)
		}
		if plain := plainText(t, markdown); wakes.MatchString(plain) {
			t.Fatalf("%q gives %q outside of code:\n%s", s, wakes.FindString(plain), markdown)
		}
		for _, r := range markdown {
			if r != '\n' && (r < ' ' || r == '\u202e' || r == '\u200b' || r == '\u2028') {
				t.Fatalf("%q leaves the character %U", s, r)
			}
		}
		if got.markers != 1 {
			t.Fatalf("%q makes %d markers", s, got.markers)
		}
	})
}
