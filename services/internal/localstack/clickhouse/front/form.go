package front

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/sqltext"
)

// externalTable is a table that came with the request; it lives as long as its session.
type externalTable struct {
	name, structure, format string
	data                    *dataFile
}

func (t externalTable) create(conn *engine.Conn) error {
	if err := conn.Exec("CREATE TEMPORARY TABLE " + sqltext.QuoteIdentifier(t.name) + " (" + t.structure + ")"); err != nil {
		return err
	}
	insert := sqltext.Insert{Into: "INSERT INTO " + sqltext.QuoteIdentifier(t.name)}
	return conn.Exec(insert.FromFile(t.data.path(), t.format))
}

func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data"
}

// receiveForm reads a multipart form: fields are parameters of the URL, files are external tables.
func (f *Front) receiveForm(w http.ResponseWriter, q *request) (_ *work, err error) {
	body, closer, err := f.openBody(w, q.http, false)
	if err != nil {
		return nil, err
	}
	defer closer()
	_, options, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil {
		return nil, bodyError(err)
	}
	values := q.http.URL.Query()
	var tables []externalTable
	defer func() {
		if err != nil {
			(&work{tables: tables}).close()
		}
	}()
	for form := multipart.NewReader(body, options["boundary"]); ; {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, bodyError(err)
		}
		if part.FileName() == "" && !values.Has(part.FormName()+"_structure") && !values.Has(part.FormName()+"_types") {
			field, err := io.ReadAll(io.LimitReader(part, f.config.MaxQueryBytes))
			if err != nil {
				return nil, bodyError(err)
			}
			values.Add(part.FormName(), string(field))
			continue
		}
		table, err := f.receiveTable(part, values)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return f.formWork(q, values, tables)
}

func (f *Front) receiveTable(part *multipart.Part, values url.Values) (table externalTable, err error) {
	name := part.FormName()
	table = externalTable{name: name, structure: values.Get(name + "_structure"), format: firstOf(values.Get(name+"_format"), "TabSeparated")}
	if types := values.Get(name + "_types"); table.structure == "" && types != "" {
		var columns []string
		for i, t := range strings.Split(types, ",") {
			columns = append(columns, fmt.Sprintf("_%d %s", i+1, t))
		}
		table.structure = strings.Join(columns, ", ")
	}
	if table.structure == "" {
		return externalTable{}, exception(codeBadArguments, "BAD_ARGUMENTS", "the external table %s has neither %s_structure nor %s_types", name, name, name)
	}
	if table.data, err = f.receiveFile(part); err != nil {
		return externalTable{}, err
	}
	return table, nil
}

// formWork reads the request once more, now with the form's fields among its parameters.
func (f *Front) formWork(q *request, values url.Values, tables []externalTable) (*work, error) {
	again := newRequest(q.http, values)
	again.cancel(nil) // Only its fields are wanted; the request's own context goes on.
	q.query, q.database, q.format = again.query, again.database, again.format
	q.settings, q.params, q.wait = again.settings, again.params, again.wait
	if _, _, ok := sqltext.ParseInsert(q.query, true); ok {
		return nil, exception(codeBadArguments, "BAD_ARGUMENTS", "an INSERT with data cannot be sent as a form; send the data as the body")
	}
	work, err := f.statement(q.query, strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	work.tables = tables
	return work, nil
}
