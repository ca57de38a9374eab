package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/goccy/go-yaml"
)

//go:embed all:templates
var templates embed.FS

// File is one file of a new consumer.
type File struct {
	// Path below the working tree's root, with slashes.
	Path string
	Text []byte
}

// model is what the templates see.
type model struct {
	Request
	// Title begins a sentence; Identifier is the name as metrics write it; Package is Python's.
	Title, Identifier, Package, Principal string
	// TopicList and Versions say in words what is read.
	TopicList, Versions string
	Products            []productModel
	Types               *types
	// HasSink says that one of the products has a table in ClickHouse, SinkTable.
	HasSink   bool
	SinkTable string
}

type productModel struct {
	product
	// Type of the event, Event of the handler's argument, Function of the handler in Python, SchemaVariable of the pinned text.
	Type, Event, Function, SchemaVariable string
	// FieldList declares what is read.
	FieldList string
}

// First is the product that examples use.
func (m *model) First() productModel { return m.Products[0] }

// MayDivert says whether the contract of one of the products allows bad records.
func (m *model) MayDivert() bool {
	return slices.ContainsFunc(m.Products, func(p productModel) bool { return p.DeadLetterRate > 0 })
}

// Uses says whether a type's spelling needs a Go package.
func (m *model) Uses(pkg string) bool {
	return m.any(func(f field) bool { return strings.Contains(f.Type, pkg) })
}

// SampleUses says whether a sample needs a Go package.
func (m *model) SampleUses(pkg string) bool {
	return m.any(func(f field) bool { return strings.Contains(f.Sample, pkg) })
}

func (m *model) any(found func(field) bool) bool {
	for _, n := range m.Types.Named {
		for _, f := range n.Fields {
			if found(f) {
				return true
			}
		}
	}
	return false
}

// Files makes all files of a new consumer, or says all that is wrong with the request.
func (c *Catalog) Files(r Request) ([]File, error) {
	if err := r.check(c); err != nil {
		return nil, err
	}
	return c.files(r)
}

// files makes all files of a request that is in order.
func (c *Catalog) files(r Request) ([]File, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	files, err := m.render(string(r.Kind), path.Join("services", r.Name))
	if err != nil {
		return nil, err
	}
	folder := path.Join("services", r.Name, "schemas")
	if r.Kind == Python {
		folder = path.Join("services", r.Name, m.Package, "schemas")
		files = append(files, File{Path: path.Join("services", r.Name, "tests/__init__.py")})
	}
	for _, p := range m.Products {
		files = append(files, File{Path: path.Join(folder, p.Topic.Name+".avsc"), Text: []byte(p.Text)})
	}
	for _, declaration := range []string{"consumer", "producer"} {
		text, err := m.execute("templates/shared/" + declaration + ".yaml.tmpl")
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: "contracts/" + declaration + "s/" + r.Name + ".yaml", Text: text})
	}
	return files, nil
}

func (c *Catalog) model(r Request) (*model, error) {
	m := &model{
		Request: r, Title: strings.ToUpper(r.Name[:1]) + r.Name[1:], Identifier: snake(r.Name), Package: snake(r.Name) + "_consumer", Principal: "User:" + r.Name,
	}
	var spelled spelling = goSpelling{}
	if r.Kind == Python {
		spelled = pythonSpelling{}
	}
	m.Types = newTypes(spelled)
	var topics, versions []string
	for _, topic := range r.Topics {
		p, err := c.product(topic)
		if err != nil {
			return nil, err
		}
		if p.Version, err = c.version(p.Subject); err != nil {
			return nil, err
		}
		name, err := m.Types.add(p.schema, camel(p.ID))
		if err != nil {
			return nil, err
		}
		pm := productModel{
			product: p, Type: name, Event: "Event[" + name + "]", Function: snake(p.ID),
			SchemaVariable: "schemaOf" + camel(p.ID), FieldList: flow(leaves(p.schema, "")),
		}
		if r.Kind == Go {
			pm.Event = "subscription." + pm.Event
		}
		if p.Sink != nil && !m.HasSink {
			m.HasSink, m.SinkTable = true, p.Sink.Table
		}
		m.Products = append(m.Products, pm)
		topics = append(topics, p.Topic.Name)
		versions = append(versions, fmt.Sprintf("version %d of %s", p.Version, p.Subject))
	}
	m.TopicList, m.Versions = inWords(topics), inWords(versions)
	return m, nil
}

// render executes every template of a folder into the consumer's folder. The folder "package" is Python's package.
func (m *model) render(kind, into string) ([]File, error) {
	var files []File
	root := "templates/" + kind
	err := fs.WalkDir(templates, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative := strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl")
		if relative == "package/history.py" && !m.HasSink {
			return nil
		}
		if inside, ok := strings.CutPrefix(relative, "package/"); ok {
			relative = m.Package + "/" + inside
		}
		text, err := m.execute(name)
		if err != nil {
			return err
		}
		files = append(files, File{Path: path.Join(into, relative), Text: text})
		return nil
	})
	return files, err
}

func (m *model) execute(name string) ([]byte, error) {
	t, err := template.New(path.Base(name)).Delims("«", "»").Funcs(template.FuncMap{
		"comment": comment, "text": docText, "yaml": yamlText,
	}).ParseFS(templates, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, m); err != nil {
		return nil, err
	}
	text := out.Bytes()
	if strings.HasSuffix(name, ".go.tmpl") {
		if text, err = format.Source(text); err != nil {
			return nil, fmt.Errorf("BUG: %s makes what is no Go: %w", name, err)
		}
	}
	return append(bytes.TrimSpace(text), '\n'), nil
}

// comment writes a text as Go's comment, wrapped.
func comment(indent, text string) string {
	const width = 120
	var out strings.Builder
	line := indent + "//"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			out.WriteString(line + "\n")
			line = indent + "//"
		}
		line += " " + word
	}
	if line == indent+"//" {
		return ""
	}
	return out.String() + line
}

// docText writes a text into a docstring of one line; without one, otherwise.
func docText(text, otherwise string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, `"""`, `'''`)), " ")
	if text == "" {
		text = otherwise
	}
	text = strings.ReplaceAll(text, `\`, `\\`)
	if strings.HasSuffix(text, `"`) {
		text += " "
	}
	return text
}

func yamlText(text string) (string, error) {
	encoded, err := yaml.Marshal(text)
	return strings.TrimSpace(string(encoded)), err
}

// flow writes YAML's list on one line.
func flow(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		if strings.ContainsAny(text, "[]") {
			text = strconv.Quote(text)
		}
		quoted[i] = text
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// inWords joins as a sentence does.
func inWords(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
