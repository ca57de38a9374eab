//go:build cgo

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"
)

// sqlCommand asks the ClickHouse of what runs.
type sqlCommand struct {
	Query      string `arg:"" optional:"" help:"One query; without it, a prompt."`
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
	if c.Query != "" {
		return c.ask(ctx, address, c.Query)
	}
	interactive := term.IsTerminal(int(os.Stdin.Fd()))
	if interactive {
		fmt.Printf("ClickHouse at %s; a query ends with ; and Ctrl-D ends this\n", address)
	}
	return c.prompt(ctx, address, interactive)
}

func (c *sqlCommand) prompt(ctx context.Context, address string, interactive bool) error {
	say := func(prompt string) {
		if interactive {
			fmt.Print(prompt)
		}
	}
	var query strings.Builder
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, 1<<20)
	say("sql> ")
	for scanner.Scan() {
		query.WriteString(scanner.Text() + "\n")
		text := strings.TrimSpace(query.String())
		if !strings.HasSuffix(text, ";") && text != "" {
			say("  -> ")
			continue
		}
		query.Reset()
		if text != "" {
			if err := c.ask(ctx, address, strings.TrimSuffix(text, ";")); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		say("sql> ")
	}
	if text := strings.TrimSpace(query.String()); text != "" {
		return c.ask(ctx, address, text)
	}
	return scanner.Err()
}

func (c *sqlCommand) ask(ctx context.Context, address, query string) error {
	target, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("CLICKHOUSE_URL %q: %w", address, err)
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
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
