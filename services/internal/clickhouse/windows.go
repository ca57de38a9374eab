package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// Window is how many insert tokens a table remembers, in the engine's own setting; 0 when it recognises no repetition. The
// setting's name is for a message.
func (t Table) Window() (tokens int, setting string) {
	setting = "non_replicated_deduplication_window"
	if strings.HasPrefix(t.Engine, "Replicated") || strings.HasPrefix(t.Engine, "Shared") {
		setting, tokens = "replicated_deduplication_window", ddl.DefaultDedupWindow // Unless somebody chose otherwise.
	}
	if found := regexp.MustCompile(`\b` + setting + ` = (\d+)`).FindStringSubmatch(t.EngineFull); found != nil {
		tokens, _ = strconv.Atoi(found[1])
	}
	return tokens, setting
}

// Fill is a materialized view through which the rows of an insert go on, and where they come to rest.
type Fill struct {
	// View and Target are database.table; Source is where the view's rows come from, the table asked for or another view's target.
	View, Source, Target string
	// Window of the target in tokens, 0 for none, and the setting to change.
	Window  int
	Setting string
	// Depth is 1 for a view over the table asked for, 2 for one over such a view's target, and so on.
	Depth int
}

// maxFills bounds the views that are followed: what is longer is a circle, or nothing that anybody wants to insert into.
const maxFills = 100

// Fills lists every materialized view that an insert into a table goes through, also those behind another view's target, each
// before those that depend on it. A repeated insert is exact only where every target has a window of its own: ClickHouse hands a
// repetition on to the views even when the table itself drops it.
func (c *Client) Fills(ctx context.Context, database, table string) ([]Fill, error) {
	var all []Fill
	seen := map[string]bool{}
	type place struct {
		database, table string
		depth           int
	}
	for queue := []place{{database, table, 0}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		views, err := c.viewsOver(ctx, at.database, at.table)
		if err != nil {
			return nil, err
		}
		for _, view := range views {
			if seen[view.database+"."+view.name] {
				continue
			}
			seen[view.database+"."+view.name] = true
			if len(all) == maxFills {
				return nil, fmt.Errorf("more than %d materialized views depend on %s.%s", maxFills, database, table)
			}
			toDatabase, to, err := view.target()
			if err != nil {
				return nil, err
			}
			target, err := c.Table(ctx, toDatabase, to)
			if err != nil {
				return nil, err
			}
			fill := Fill{View: view.database + "." + view.name, Source: at.database + "." + at.table, Target: toDatabase + "." + to, Depth: at.depth + 1}
			fill.Window, fill.Setting = target.Window()
			all = append(all, fill)
			queue = append(queue, place{toDatabase, to, at.depth + 1})
		}
	}
	return all, nil
}

type materialized struct{ database, name, uuid, created string }

func (c *Client) viewsOver(ctx context.Context, database, table string) ([]materialized, error) {
	rows, err := c.Query(ctx, "SELECT v.database, v.name, toString(v.uuid), v.create_table_query FROM system.tables AS v"+
		" INNER JOIN (SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) AS dependent FROM system.tables WHERE database = ? AND name = ?) AS d"+
		" ON v.database = d.dependent.1 AND v.name = d.dependent.2 WHERE v.engine = 'MaterializedView' ORDER BY v.database, v.name", database, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []materialized
	for rows.Next() {
		var m materialized
		if err := rows.Scan(&m.database, &m.name, &m.uuid, &m.created); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}

// name is one part of a table's name as ClickHouse writes it.
const namePart = "(`(?:[^`\\\\]|\\\\.)*`|[A-Za-z_][A-Za-z0-9_]*)"

var toTarget = regexp.MustCompile("^CREATE MATERIALIZED VIEW [^(]*? TO " + namePart + `\.` + namePart + `[ (]`)

// target of a view: the table that it names, or the inner one that ClickHouse made for it.
func (m materialized) target() (database, table string, err error) {
	if found := toTarget.FindStringSubmatch(m.created + " "); found != nil {
		return unquoted(found[1]), unquoted(found[2]), nil
	}
	if strings.Contains(m.created, " ENGINE = ") {
		return m.database, ".inner_id." + m.uuid, nil
	}
	return "", "", fmt.Errorf("view %s.%s: nothing in %q says which table it fills", m.database, m.name, firstLine(m.created))
}

func unquoted(name string) string {
	if strings.HasPrefix(name, "`") {
		return strings.NewReplacer("\\`", "`", `\\`, `\`).Replace(strings.Trim(name, "`"))
	}
	return name
}
