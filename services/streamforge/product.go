//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
	"github.com/streamforge/streamforge/services/internal/governance/migration/convert"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// productCommand are the steps from one major version of a product to the next.
type productCommand struct {
	Draft   productDraftCommand   `cmd:"" help:"Draft the next major version from the working tree's incompatible change: contract, schema, migration."`
	Compare productCompareCommand `cmd:"" help:"Compare both versions record by record. Exit status 0 when they say the same, 3 when not."`
	Cutover productCutoverCommand `cmd:"" name:"cutover" help:"Move a consumer group to the later version, behind what it has read. Exit status 3 when it may not be moved."`
	Join    productJoinCommand    `cmd:"" help:"Write into the migration file where the rows of both versions meet; apply then makes the view."`
	Retire  productRetireCommand  `cmd:"" help:"Retire a version. Exit status 3, and who it is, while anybody lives on it."`
}

// declarations says which contracts and schemas are meant.
type declarations struct {
	Contracts string `name:"contracts" type:"existingdir" help:"Folder of the contracts, with the schemas in schemas/ beside it; default: contracts/ here, and where there is none those of this build."`
}

// declaredThings are contracts and schemas, of a working tree or of this build.
type declaredThings struct {
	convert.Declared
	subjects []schemas.Subject
	// dir is the folder of a working tree; empty for a build's.
	dir string
}

func (d *declarations) load() (declaredThings, error) {
	things := declaredThings{dir: d.Contracts}
	if things.dir == "" && isFolder(history.ContractsFolder) {
		things.dir = history.ContractsFolder
	}
	var files fs.FS = contracts.FS
	if things.dir != "" {
		files = os.DirFS(things.dir)
	}
	var err error
	if things.subjects, err = schemasBeside(things.dir); err != nil {
		return things, err
	}
	if things.Contracts, err = contract.Load(files); err != nil {
		return things, err
	}
	if things.Consumers, err = contract.LoadConsumers(files, things.Contracts); err != nil {
		return things, err
	}
	if things.Producers, err = contract.LoadProducers(files, things.Contracts, things.Consumers); err != nil {
		return things, err
	}
	things.Migrations, err = migration.Load(files, things.Contracts)
	return things, err
}

func (d declaredThings) pair(name string) (*convert.Pair, error) {
	return convert.NewPair(name, d.Contracts, d.Migrations, d.subjects)
}

// change rewrites a file of the working tree's contracts, and returns its path.
func (d declaredThings) change(file string, edit func(text []byte) ([]byte, error)) (string, error) {
	if d.dir == "" {
		return "", errors.New("there is no folder contracts/ here to write into; run this in a clone of the repository")
	}
	path := filepath.Join(d.dir, filepath.FromSlash(file))
	before, err := os.ReadFile(path)
	if err != nil {
		return path, err
	}
	after, err := edit(before)
	if err != nil {
		return path, fmt.Errorf("%s: %w", path, err)
	}
	if string(after) == string(before) {
		return path, nil
	}
	return path, os.WriteFile(path, after, 0o644)
}

// productFlags are those of every command about a product.
type productFlags struct {
	Kafka        kafka.ClientConfig `embed:""`
	Registry     registry.Config    `embed:""`
	declarations `embed:""`
}

// open loads the declarations and connects; close ends it.
func (f *productFlags) open(cli *commandLine) (things declaredThings, c convert.Cluster, closing func(), err error) {
	if things, err = f.load(); err != nil {
		return things, c, nil, err
	}
	flags := clusterFlags{Kafka: f.Kafka, Registry: f.Registry}
	flags.resolve(cli)
	c.Kafka = flags.Kafka
	if c.Registry, err = registry.New(flags.Registry, prometheus.NewRegistry()); err != nil {
		return things, c, nil, err
	}
	if c.Admin, err = kafka.NewAdmin(flags.Kafka); err != nil {
		c.Registry.Close()
		return things, c, nil, err
	}
	return things, c, func() { c.Admin.Close(); c.Registry.Close() }, nil
}

// onPair opens the cluster and finds the migration that leads to a product.
func (f *productFlags) onPair(cli *commandLine, name string, do func(things declaredThings, c convert.Cluster, p *convert.Pair) error) error {
	things, c, closing, err := f.open(cli)
	if err != nil {
		return err
	}
	defer closing()
	pair, err := things.pair(name)
	if err != nil {
		return err
	}
	return orRefused(do(things, c, pair))
}

// orRefused tells a refusal and makes it the exit status of one.
func orRefused(err error) error {
	if !convert.Refused(err) {
		return err
	}
	fmt.Fprintln(os.Stderr, "refused: "+err.Error())
	return exitError{governance.ExitRefused}
}

func printJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

type productCompareCommand struct {
	productFlags
	Product string `arg:"" help:"The later version, raw-trades.v2."`
	JSON    bool   `name:"json" help:"For a program."`
}

// Run is the command.
func (p *productCompareCommand) Run(ctx context.Context, cli *commandLine) error {
	return p.onPair(cli, p.Product, func(_ declaredThings, c convert.Cluster, pair *convert.Pair) error {
		report, err := convert.Compare(ctx, c, pair)
		if err != nil {
			return err
		}
		if p.JSON {
			err = printJSON(report)
		} else {
			err = report.WriteText(os.Stdout)
		}
		if err == nil && report.ExitCode() != convert.ExitSame {
			err = exitError{report.ExitCode()}
		}
		return err
	})
}

type productCutoverCommand struct {
	productFlags
	Product string `arg:"" help:"The later version, raw-trades.v2."`
	Group   string `name:"group" required:"" help:"The consumer group; all of its members must have stopped."`
	DryRun  bool   `name:"dry-run" env:"DRY_RUN" help:"Show, and change nothing."`
	JSON    bool   `name:"json" help:"For a program."`
}

// Run is the command.
func (p *productCutoverCommand) Run(ctx context.Context, cli *commandLine) error {
	return p.onPair(cli, p.Product, func(_ declaredThings, c convert.Cluster, pair *convert.Pair) error {
		cut, err := convert.PlanCutOver(ctx, c, pair, p.Group)
		if err != nil {
			return err
		}
		changed := cut.Changed()
		if changed && !p.DryRun {
			if err := cut.Commit(ctx, c.Admin); err != nil {
				return err
			}
		}
		if p.JSON {
			return printJSON(struct {
				convert.CutOver
				Done    bool `json:"done"`
				Changed bool `json:"changed"`
			}{cut, !p.DryRun, changed})
		}
		return p.print(cut, changed)
	})
}

func (p *productCutoverCommand) print(cut convert.CutOver, changed bool) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "partition\tstopped at (%s)\twas at (%s)\tgoes on at\t\n", cut.From, cut.To)
	for _, m := range cut.Partitions {
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t\n", m.Partition, offsetOrNone(m.Stopped), offsetOrNone(m.Was), m.At)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case !changed:
		fmt.Printf("cutover: group %s is on %s already, nothing to do\n", cut.Group, cut.To)
	case p.DryRun:
		fmt.Printf("cutover: group %s would go on in %s; nothing was changed\n", cut.Group, cut.To)
	default:
		fmt.Printf("cutover: group %s goes on in %s; start it there\n", cut.Group, cut.To)
	}
	return nil
}

func offsetOrNone(offset int64) string {
	if offset < 0 {
		return "–"
	}
	return fmt.Sprint(offset)
}

type productJoinCommand struct {
	productFlags
	Product string `arg:"" help:"The later version, raw-trades.v2."`
}

// Run is the command.
func (p *productJoinCommand) Run(ctx context.Context, cli *commandLine) error {
	return p.onPair(cli, p.Product, func(things declaredThings, c convert.Cluster, pair *convert.Pair) error {
		join, err := convert.FindJoin(ctx, c, pair)
		if err != nil {
			return err
		}
		path, err := things.change(pair.Migration.File, func(text []byte) ([]byte, error) {
			if pair.Migration.JoinAt != nil {
				return text, nil
			}
			return convert.WithJoin(pair.Migration.File, text, join)
		})
		if err != nil {
			return err
		}
		fmt.Printf("join: %s joins %s and %s at %s; commit it, and `streamforge apply` of a build that has it makes the view\n",
			path, pair.From.ID, pair.To.ID, strings.Trim(strings.ReplaceAll(fmt.Sprint(join.Offsets), " ", ", "), "[]"))
		return nil
	})
}

type productRetireCommand struct {
	productFlags
	Product       string `arg:"" help:"The version to retire, raw-trades."`
	DryRun        bool   `name:"dry-run" env:"DRY_RUN" help:"Say whether it may be retired, and change nothing."`
	DeleteTopic   bool   `name:"delete-topic" help:"Also delete the topic, with all of its records."`
	DeleteSubject bool   `name:"delete-subject" help:"Also delete the subject in the schema registry (softly: ids can still be read)."`
	JSON          bool   `name:"json" help:"For a program: who holds it."`
}

// Run is the command.
func (p *productRetireCommand) Run(ctx context.Context, cli *commandLine) error {
	things, c, closing, err := p.open(cli)
	if err != nil {
		return err
	}
	defer closing()
	product, ok := contract.Find(things.Contracts, p.Product)
	if !ok {
		return fmt.Errorf("product %s has no contract; write the id of one", p.Product)
	}
	holds, err := convert.Holds(ctx, c, things.Declared, product)
	if err != nil {
		return err
	}
	if p.JSON {
		if holds == nil {
			holds = []convert.Hold{}
		}
		if err := printJSON(map[string]any{"product": product.ID, "holds": holds, "retired": len(holds) == 0 && !p.DryRun}); err != nil {
			return err
		}
	}
	if len(holds) > 0 {
		if !p.JSON {
			printHolds(product.ID, holds)
		}
		return exitError{governance.ExitRefused}
	}
	if p.DryRun {
		if !p.JSON {
			fmt.Printf("retire: nobody lives on %s; it may be retired\n", product.ID)
		}
		return nil
	}
	return p.retire(ctx, things, c, product)
}

func printHolds(product string, holds []convert.Hold) {
	fmt.Printf("refused: %d live on %s\n", len(holds), product)
	for _, h := range holds {
		lag := ""
		if h.Lag > 0 {
			lag = fmt.Sprintf(", %d records behind", h.Lag)
		}
		fmt.Printf("  %s (%s): %s%s; %s\n", h.Who, h.Owner, h.Why, lag, h.Do)
	}
}

// retire marks the contract, deletes what was said to be deleted, and names what is left to do.
func (p *productRetireCommand) retire(ctx context.Context, things declaredThings, c convert.Cluster, product contract.Contract) error {
	path, err := things.change(product.File, convert.Retired)
	if err != nil {
		return err
	}
	var left []string
	if p.DeleteTopic {
		if err := c.Admin.Delete(ctx, product.Topic.Name); err != nil {
			return err
		}
	} else {
		left = append(left, fmt.Sprintf("the topic %s and its records are still there until retention takes them: `streamforge product retire %s --delete-topic`", product.Topic.Name, product.ID))
	}
	if p.DeleteSubject {
		if err := c.Registry.DeleteSubject(ctx, product.Subject, false); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	} else {
		left = append(left, fmt.Sprintf("the subject %s is still registered: `streamforge product retire %s --delete-subject`", product.Subject, product.ID))
	}
	if product.Sink != nil {
		left = append(left, fmt.Sprintf("the table %s keeps its rows until their TTL; the joined view reads them, and nothing drops it", product.Sink.Table))
	}
	if p.JSON {
		return nil
	}
	fmt.Printf("retire: %s says status: retired; commit it, and builds that have it neither fill nor make anything of %s\n", path, product.ID)
	for _, l := range left {
		fmt.Println("  left: " + l)
	}
	return nil
}
