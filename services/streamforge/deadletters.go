//go:build cgo

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/app"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// deadLettersCommand is what a person does with the records that could not be processed.
type deadLettersCommand struct {
	List    deadLettersList    `cmd:"" help:"List them, and count them by group, class and status."`
	Show    deadLettersShow    `cmd:"" help:"Show one with everything that is known of it."`
	Replay  deadLettersReplay  `cmd:"" help:"Ask the group that failed to try again; it does so while it runs, once, with the original coordinates."`
	Discard deadLettersDiscard `cmd:"" help:"Give letters up."`
}

// letterFilter chooses letters by their last word; what is not given does not restrict.
type letterFilter struct {
	Group     string    `name:"group" help:"Consumer group that failed: writer.raw-trades, parser."`
	Topic     string    `name:"topic" help:"Topic of the record."`
	Class     string    `name:"class" help:"Class of the error: bad-value, unknown-schema, rejected-row, …"`
	Partition *int32    `name:"partition" help:"Partition of the record."`
	From      *int64    `name:"from-offset" help:"Offset of the record, at least."`
	To        *int64    `name:"to-offset" help:"Offset of the record, at most."`
	Since     time.Time `name:"since" help:"Failed at or after, RFC 3339: 2026-01-02T15:04:05Z."`
	Until     time.Time `name:"until" help:"Failed before, RFC 3339."`
}

func (f *letterFilter) passes(l *records.DeadLetter) bool {
	failed := time.UnixMicro(l.FailedAt)
	return (f.Group == "" || f.Group == l.Group) && (f.Topic == "" || f.Topic == l.Topic) && (f.Class == "" || f.Class == l.ErrorClass) &&
		(f.Partition == nil || *f.Partition == l.Partition) && (f.From == nil || l.Offset >= *f.From) && (f.To == nil || l.Offset <= *f.To) &&
		(f.Since.IsZero() || !failed.Before(f.Since)) && (f.Until.IsZero() || failed.Before(f.Until))
}

// maxLetters bounds what one command holds of letters, without their records.
const maxLetters = 200_000

// lastWords reads the last word on every letter that wanted lets pass, oldest failure first, without the record's bytes. What has no
// readable word is an error: a list that leaves something out would be taken for all.
func lastWords(ctx context.Context, client kafka.ClientConfig, wanted func(*deadletters.Word) bool) ([]deadletters.Word, error) {
	last := map[string]deadletters.Word{}
	err := kafka.ReadAll(ctx, client, []string{deadletters.Topic}, func(r kafka.Record) error {
		delete(last, string(r.Key))
		word, err := deadletters.ReadWord(r)
		if err != nil || !wanted(&word) {
			return err
		}
		if len(last) >= maxLetters {
			return fmt.Errorf("more than %d letters pass; narrow it down by --group, --class, --since", maxLetters)
		}
		word.Letter.Key, word.Letter.Value, word.Letter.Headers = nil, nil, nil
		last[string(r.Key)] = word
		return nil
	})
	words := make([]deadletters.Word, 0, len(last))
	for _, word := range last {
		words = append(words, word)
	}
	slices.SortFunc(words, func(a, b deadletters.Word) int {
		if a.Letter.FailedAt != b.Letter.FailedAt {
			return int(min(1, max(-1, a.Letter.FailedAt-b.Letter.FailedAt)))
		}
		return strings.Compare(a.Letter.KafkaKey(), b.Letter.KafkaKey())
	})
	return words, err
}

// deadLettersList lists letters.
type deadLettersList struct {
	clusterFlags
	letterFilter
	Status string `name:"status" default:"open" enum:"open,failed,replay-asked,replayed,discarded,unknown,all" help:"open: failed or replay-asked."`
	Limit  int    `name:"limit" default:"100" help:"Letters listed, the newest; all are counted."`
	JSON   bool   `name:"json" help:"For a program: an object a letter, without counts."`
}

// Run is the command.
func (c *deadLettersList) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	words, err := lastWords(ctx, c.Kafka, func(w *deadletters.Word) bool {
		return c.passes(&w.Letter) && (c.Status == "all" || c.Status == w.Status() || c.Status == "open" && isOpen(w))
	})
	if err != nil {
		return orNothingRuns(kind, err)
	}
	return c.print(os.Stdout, words)
}

func isOpen(w *deadletters.Word) bool {
	return w.Letter.Status != records.DeadLetterReplayed && w.Letter.Status != records.DeadLetterDiscarded
}

func (c *deadLettersList) print(out io.Writer, words []deadletters.Word) error {
	newest := words[max(0, len(words)-max(0, c.Limit)):]
	if c.JSON {
		for i := range newest {
			if err := json.NewEncoder(out).Encode(wordJSON(&newest[i])); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FAILED AT\tSTATUS\tCLASS\tKEY\tTOPIC\tERROR")
	counts := map[string]int{}
	for i := range words {
		counts[fmt.Sprintf("%s\t%s\t%s", safe(words[i].Letter.Group, 60), safe(words[i].Letter.ErrorClass, 30), words[i].Status())]++
	}
	for i := range newest {
		l := &newest[i].Letter
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", microsText(l.FailedAt), newest[i].Status(), safe(l.ErrorClass, 30), safe(l.KafkaKey(), 200), safe(l.Topic, 60), safe(l.Error, 120))
	}
	fmt.Fprintf(table, "\nGROUP\tCLASS\tSTATUS\tLETTERS\n")
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(table, "%s\t%d\n", name, counts[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d letters, %d shown\n", len(words), len(newest))
	return nil
}

// wordJSON is a letter for a program, without its record.
func wordJSON(w *deadletters.Word) map[string]any {
	l := &w.Letter
	v := map[string]any{
		"key": l.KafkaKey(), "status": w.Status(), "group": l.Group, "topic": l.Topic, "partition": l.Partition, "offset": l.Offset, "item": l.Item,
		"class": l.ErrorClass, "error": l.Error, "failed_at": microsText(l.FailedAt), "producer": l.Producer,
	}
	if l.Resolution != "" {
		v["resolution"] = l.Resolution
	}
	return v
}

// safe is a text of at most limit bytes in which nothing steers a terminal.
func safe(text string, limit int) string {
	return visible(string(dynamic.Value{Kind: dynamic.Text, Text: text}.AppendLine(nil, limit)))
}

// visible escapes what is no picture: C1 controls, and marks that turn the direction of writing.
func visible(text string) string {
	var out strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		fmt.Fprintf(&out, "\\u%04x", r)
	}
	return out.String()
}

func microsText(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000Z")
}

// deadLettersShow shows one letter.
type deadLettersShow struct {
	clusterFlags
	Key   string `arg:"" help:"Key of the letter, as list shows it."`
	Bytes int    `name:"bytes" default:"4096" help:"The most bytes shown of each part."`
}

// Run is the command.
func (c *deadLettersShow) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	var last *deadletters.Word
	err := kafka.ReadAll(ctx, c.Kafka, []string{deadletters.Topic}, func(r kafka.Record) error {
		if string(r.Key) != c.Key {
			return nil
		}
		word, err := deadletters.ReadWord(r)
		last = &word
		return err
	})
	if err != nil {
		return orNothingRuns(kind, err)
	}
	if last == nil {
		return fmt.Errorf("no letter has the key %q; `streamforge dead-letters list --status all` shows those that there are", c.Key)
	}
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer client.Close()
	return c.print(ctx, os.Stdout, client, last)
}

func (c *deadLettersShow) print(ctx context.Context, out io.Writer, client *registry.Client, w *deadletters.Word) error {
	l := &w.Letter
	limit := max(1, c.Bytes)
	say := func(name, text string) { fmt.Fprintf(out, "%-12s%s\n", name, safe(text, limit)) }
	say("key", l.KafkaKey())
	say("status", w.Status())
	say("record", fmt.Sprintf("%s[%d]@%d item %d, written %s", l.Topic, l.Partition, l.Offset, l.Item, microsText(l.RecordTime)))
	say("failed", microsText(l.FailedAt)+" in "+l.Group+", "+l.Producer)
	say("class", l.ErrorClass)
	say("error", l.Error)
	if l.Resolution != "" {
		say("resolution", l.Resolution)
	}
	say("record key", string(l.Key))
	for _, h := range l.Headers {
		say("header", h.Name+"="+string(h.Value))
	}
	v, err := newShowing(client).show(ctx, kafka.Record{Topic: l.Topic, Value: l.Value, TimestampMs: -1})
	if err != nil {
		v.bad = err.Error() // The letter is of use without the registry, too.
	}
	if v.schemaID > 0 {
		say("schema", v.schema())
	}
	if v.bad == "" {
		fmt.Fprintf(out, "%-12s%s\n", "value", visible(cutText(string(v.value.AppendLine(nil, limit)), limit)))
		return nil
	}
	say("value", fmt.Sprintf("%d bytes, cannot be decoded: %s", len(l.Value), v.bad))
	fmt.Fprintf(out, "%-12s%x\n", "", l.Value[:min(len(l.Value), limit)])
	return nil
}

func cutText(text string, limit int) string {
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// letterChoice is what replay and discard act on.
type letterChoice struct {
	clusterFlags
	letterFilter
	Key    []string `arg:"" optional:"" help:"Keys of letters, as list shows them; or filters."`
	Yes    bool     `name:"yes" short:"y" help:"Do not ask."`
	Reason string   `name:"reason" help:"Why, for those who come after."`
}

func (c *letterChoice) restricts() bool {
	return len(c.Key) > 0 || c.letterFilter != letterFilter{}
}

// choose finds the letters that wait for somebody.
func (c *letterChoice) choose(ctx context.Context, wanted func(*deadletters.Word) bool) ([]deadletters.Word, error) {
	if !c.restricts() {
		return nil, errors.New("say which letters: by key, or by a filter such as --group or --class")
	}
	return lastWords(ctx, c.Kafka, func(w *deadletters.Word) bool {
		return c.passes(&w.Letter) && (len(c.Key) == 0 || slices.Contains(c.Key, w.Letter.KafkaKey())) && wanted(w)
	})
}

// agreed asks the person, unless --yes.
func (c *letterChoice) agreed(question string) bool {
	if c.Yes {
		return true
	}
	fmt.Printf("%s [y/N] ", question)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer)))
}

// who is the person with the reason, for a resolution.
func (c *letterChoice) who() string {
	if c.Reason != "" {
		return person() + ": " + c.Reason
	}
	return person()
}

// person is who runs the command.
func person() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// write reads the chosen words again, whole, and writes another on each. It returns how many it wrote: one that the topic no
// longer has was followed by another word in the meantime.
func (c *letterChoice) write(ctx context.Context, words []deadletters.Word, next func(*deadletters.Writer, deadletters.Word) kafka.Message) (int, error) {
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	id, err := client.ID(ctx, deadletters.Subject)
	if err != nil {
		return 0, err
	}
	var failed error
	producer, err := kafka.NewProducer(c.Kafka, kafka.ProducerConfig{ProducerName: "streamforge@" + app.Version(), OnDelivery: func(d kafka.Delivery) {
		failed = errors.Join(failed, d.Err)
	}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return 0, err
	}
	writer := &deadletters.Writer{SchemaID: id, Producer: "streamforge@" + app.Version()}
	wrote := 0
	for _, w := range words {
		tp := kafka.TopicPartition{Topic: deadletters.Topic, Partition: w.Partition}
		for r, err := range kafka.Range(ctx, c.Kafka, tp, kafka.OffsetRange{Earliest: w.Offset, Latest: w.Offset + 1}) {
			var whole deadletters.Word
			if err == nil {
				whole, err = deadletters.ReadWord(r)
			}
			if err == nil {
				m := next(writer, whole)
				err = producer.Produce(&m)
			}
			if err == nil {
				err = producer.Flush(ctx) // One letter may be as large as the queue.
			}
			if err != nil {
				producer.Close()
				return wrote, err
			}
			wrote++
		}
	}
	producer.Close()
	return wrote, failed
}

// deadLettersReplay asks groups to replay letters.
type deadLettersReplay struct{ letterChoice }

// Run is the command.
func (c *deadLettersReplay) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	skipped := map[string]int{}
	words, err := c.choose(ctx, func(w *deadletters.Word) bool {
		return w.Letter.Status == records.DeadLetterFailed || len(c.Key) > 0
	})
	if err != nil {
		return orNothingRuns(kind, err)
	}
	words = slices.DeleteFunc(words, func(w deadletters.Word) bool {
		why := ""
		switch {
		case w.Letter.Status != records.DeadLetterFailed:
			why = "of status " + w.Status() + ", which is not failed"
		case w.Asked:
			why = "asked for already, and open until its group runs"
		case !strings.HasPrefix(w.Letter.Group, "writer.") && !strings.HasPrefix(w.Letter.Producer, "parser@"):
			why = "of group " + w.Letter.Group + " and its program " + w.Letter.Producer + ", which does not replay: the writers and the parsers do"
		default:
			return false
		}
		skipped[why]++
		return true
	})
	for why, n := range skipped {
		fmt.Printf("%d letters left out: %s\n", n, safe(why, 200))
	}
	if len(words) == 0 {
		return errors.New("no letter to replay")
	}
	if !c.agreed(fmt.Sprintf("Ask for the replay of %d letters?", len(words))) {
		return errors.New("nothing was done")
	}
	n, err := c.write(ctx, words, func(w *deadletters.Writer, of deadletters.Word) kafka.Message {
		return w.Ask(of, "asked for by "+c.who())
	})
	fmt.Printf("the replay of %d letters is asked for; `streamforge dead-letters list` shows them until their group has answered\n", n)
	return err
}

// deadLettersDiscard gives letters up.
type deadLettersDiscard struct{ letterChoice }

// Run is the command.
func (c *deadLettersDiscard) Run(ctx context.Context, cli *commandLine) error {
	kind := c.resolve(cli)
	words, err := c.choose(ctx, isOpen)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	if len(words) == 0 {
		return errors.New("no open letter passes")
	}
	if !c.agreed(fmt.Sprintf("Discard %d letters?", len(words))) {
		return errors.New("nothing was done")
	}
	n, err := c.write(ctx, words, func(w *deadletters.Writer, of deadletters.Word) kafka.Message {
		return w.Resolve(of.Letter, records.DeadLetterDiscarded, "discarded by "+c.who())
	})
	fmt.Printf("%d letters are discarded\n", n)
	return err
}
