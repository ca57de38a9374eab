//go:build cgo

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/sqltext"
)

// sqlCommand asks the ClickHouse of what runs.
type sqlCommand struct {
	Query      string `arg:"" optional:"" help:"One query; without it, a prompt, or the statements of standard input."`
	Format     string `name:"format" default:"PrettyCompactMonoBlock" help:"ClickHouse's output format."`
	ClickHouse string `name:"clickhouse-url" env:"CLICKHOUSE_URL" help:"Ask this ClickHouse instead of the local one."`
}

// Run is the command.
func (c *sqlCommand) Run(ctx context.Context, cli *commandLine) error {
	address := c.ClickHouse
	if address == "" {
		state, err := running(cli)
		if err != nil {
			return err
		}
		address = state.Addresses.ClickHouse
	}
	if strings.TrimSpace(c.Query) != "" {
		return c.ask(ctx, address, c.Query)
	}
	if isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		return c.prompt(ctx, address, cli.Dir)
	}
	return c.script(ctx, address, os.Stdin)
}

// maxScriptBytes bounds what is read from standard input.
const maxScriptBytes = 16 << 20

// script runs the statements of a pipe until one fails.
func (c *sqlCommand) script(ctx context.Context, address string, in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, maxScriptBytes+1))
	if err != nil {
		return fmt.Errorf("reading the statements: %w", err)
	}
	if len(text) > maxScriptBytes {
		return fmt.Errorf("the statements are more than %d MiB; send data to ClickHouse itself, at %s", maxScriptBytes>>20, address)
	}
	statements, rest := sqltext.Split(string(text))
	if rest != "" {
		statements = append(statements, rest)
	}
	for _, statement := range statements {
		if err := c.ask(ctx, address, statement); err != nil {
			return err
		}
	}
	return nil
}

// prompt reads statements from a terminal. A failed one is no reason to end.
func (c *sqlCommand) prompt(ctx context.Context, address, dir string) error {
	if target, err := url.Parse(address); err == nil {
		fmt.Printf("ClickHouse at %s; a statement ends with ; and Ctrl-D ends this. SHOW TABLES; is a beginning.\n", target.Host)
	}
	editor := newLineEditor(os.Stdin, os.Stdout, openHistory(dir))
	var text string
	for {
		prompt := "sql> "
		if text != "" {
			prompt = "  -> "
		}
		line, err := editor.Read(prompt)
		switch {
		case errors.Is(err, errAbandoned):
			text = ""
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the statement: %w", err)
		}
		if text == "" && leaves(line) {
			return nil
		}
		var statements []string
		statements, text = sqltext.Split(text + line + "\n")
		for _, statement := range statements {
			editor.history.Remember(statement)
			c.answer(ctx, address, statement)
		}
	}
}

// leaves says whether a line is one of the words by which other prompts are left.
func leaves(line string) bool {
	switch strings.TrimRight(strings.TrimSpace(line), ";") {
	case "exit", "quit", `\q`, "q":
		return true
	}
	return false
}

// answer runs one statement of the prompt; Ctrl-C ends the statement and not the prompt.
func (c *sqlCommand) answer(ctx context.Context, address, statement string) {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	defer stop()
	began := time.Now()
	err := c.ask(ctx, address, statement)
	switch {
	case ctx.Err() != nil:
		fmt.Println("\ninterrupted")
	case err != nil:
		fmt.Fprintln(os.Stderr, errorStyle.Render(err.Error()))
	default:
		fmt.Println(labelStyle.Render(fmt.Sprintf("%.3f s", time.Since(began).Seconds())))
	}
}

// ask sends one statement and prints the answer.
func (c *sqlCommand) ask(ctx context.Context, address, query string) error {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" {
		return fmt.Errorf("CLICKHOUSE_URL %q: it is http://host:8123 or http://host:8123/database", withoutPassword(address))
	}
	parameters := url.Values{"default_format": {c.Format}}
	if database := strings.Trim(target.Path, "/"); database != "" {
		parameters.Set("database", database)
	}
	target.Path, target.RawQuery = "/", parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(query))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return clickHouseAway(target.Host, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		return errors.New(shorten(strings.TrimSpace(string(text))))
	}
	return printAnswer(os.Stdout, response.Body, response.Header.Get("X-ClickHouse-Exception-Tag"))
}

// maxExceptionFrame is more than a server writes behind an answer that it could not finish.
const maxExceptionFrame = 20 << 10

// printAnswer copies an answer, whose status was sent before it was known how it ends: one that broke off ends with a
// frame, which bears the tag that the headers announced.
func printAnswer(out io.Writer, body io.Reader, tag string) error {
	var held []byte
	piece := make([]byte, 64<<10)
	for {
		n, err := body.Read(piece)
		held = append(held, piece[:n]...)
		if ready := len(held) - maxExceptionFrame; ready > 0 && err == nil {
			if _, err := out.Write(held[:ready]); err != nil {
				return err
			}
			held = append(held[:0], held[ready:]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
	}
	frame := []byte("\r\n__exception__\r\n" + tag + "\r\n")
	at := bytes.LastIndex(held, frame)
	if tag == "" || at < 0 {
		_, err := out.Write(held)
		return err
	}
	if _, err := out.Write(held[:at]); err != nil {
		return err
	}
	message, _, _ := strings.Cut(string(held[at+len(frame):]), "\n")
	return errors.New("the answer broke off: " + shorten(message))
}

// maxExpected is how much of the list of what could have stood there is worth reading.
const maxExpected = 160

// shorten cuts the list of everything that a syntax error could have been instead, which fills a screen.
func shorten(message string) string {
	head, rest, found := strings.Cut(message, "Expected one of: ")
	end := strings.LastIndex(rest, ". (")
	if !found || end <= maxExpected {
		return message
	}
	list := rest[:maxExpected]
	if comma := strings.LastIndex(list, ", "); comma > 0 {
		list = list[:comma]
	}
	return head + "Expected one of: " + list + ", …" + rest[end:]
}
