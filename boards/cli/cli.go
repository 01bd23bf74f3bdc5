// Package cli is the board command, callable from Go with its own arguments and
// streams: it shows boards and their wiring, builds images and Debian packages,
// and writes cards. It parses arguments and talks to people, in Chinese and
// English; the work is done by the packages that it calls.
//
// Output: results go to stdout; progress, questions and errors go to stderr,
// errors as "board: …", one a line. The exit status is 0, 1 when the work failed,
// 2 when the arguments are wrong.
package cli

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/fengsui/fengsui/boards/wiring"
)

// What the command takes, in both languages.
var (
	//go:embed usage.txt
	usageEN string
	//go:embed usage.zh-CN.txt
	usageZH string
)

func (c *command) usage() string {
	if c.lang == "zh-CN" {
		return usageZH
	}
	return usageEN
}

// errUsage means that the arguments are wrong; the message says how.
var errUsage = errors.New("usage")

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// A command has what all commands want.
type command struct {
	streams
	version string
	lang    string
	say     messages
}

// Run runs the command and returns its exit status. env looks up a variable of
// the environment: LC_ALL, LC_MESSAGES and LANG choose the language where --lang
// does not.
func Run(ctx context.Context, version string, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &command{streams: streams{stdin, stdout, stderr}, version: version, lang: language(env)}
	err := c.run(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, c.usage())
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "board: %s\n", strings.TrimRight(line, "\n"))
	}
	if errors.Is(err, errUsage) {
		fmt.Fprint(stderr, c.usage())
		return 2
	}
	return 1
}

// language reads the environment as setlocale(3) does.
func language(env func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := env(name); v != "" {
			if strings.HasPrefix(v, "zh") {
				return "zh-CN"
			}
			return "en"
		}
	}
	return "en"
}

func (c *command) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: want a command", errUsage)
	}
	name, args := args[0], args[1:]
	switch name {
	case "list":
		return c.list(args)
	case "show":
		return c.show(args)
	case "image":
		return c.image(ctx, args)
	case "deb":
		return c.deb(ctx, args)
	case "flash":
		return c.flash(ctx, args)
	case "version":
		fmt.Fprintln(c.out, c.version)
		return nil
	case "help", "-h", "--help", "-help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, name)
}

// flags returns a flag set with what all commands take.
func (c *command) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("board", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.lang, "lang", c.lang, "")
	return fs
}

// parse reads flags and so many other arguments, in any order, and gets the
// messages of the language.
func (c *command) parse(fs *flag.FlagSet, args []string, names ...string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if len(rest) != len(names) {
		if len(names) == 0 {
			return nil, fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
		}
		return nil, fmt.Errorf("%w: %d arguments: want %s", errUsage, len(rest), strings.Join(names, " "))
	}
	say, err := load(c.lang)
	if errors.Is(err, wiring.ErrLanguage) {
		return nil, fmt.Errorf("%w: --lang: %w", errUsage, err)
	}
	c.say = say
	return rest, err
}
