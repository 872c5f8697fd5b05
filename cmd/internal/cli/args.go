package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// ErrArguments is wrapped by every error of Normalise: the caller must edit
// the command line.
var ErrArguments = errors.New("bad arguments")

// FlagTable says which flags and commands exist at one level of the command
// line. The table of a whole program is a tree of these.
type FlagTable struct {
	// Flags holds every spelling of a flag without its dashes; the value says
	// whether the flag takes one.
	Flags map[string]bool
	// Commands holds the commands below this one by name and by alias.
	Commands map[string]*FlagTable
}

// TableOf reads the flag table off the commands of an app. The help and version
// flags that the library adds by itself are part of it. It does not change app.
func TableOf(app *cli.App) FlagTable {
	t := tableOf(app.Flags, app.Commands, app.HideHelp)
	if app.Version != "" && !app.HideVersion {
		t.add(cli.VersionFlag)
	}
	return t
}

func tableOf(flags []cli.Flag, commands []*cli.Command, hideHelp bool) FlagTable {
	t := FlagTable{Flags: map[string]bool{}, Commands: map[string]*FlagTable{}}
	for _, f := range flags {
		t.add(f)
	}
	if !hideHelp {
		t.add(cli.HelpFlag)
	}
	for _, c := range commands {
		sub := tableOf(c.Flags, c.Subcommands, c.HideHelp)
		for _, name := range c.Names() {
			t.Commands[name] = &sub
		}
	}
	return t
}

// add records f. A flag that does not say whether it takes a value is taken to
// need one, as the standard flag package does.
func (t *FlagTable) add(f cli.Flag) {
	if f == nil {
		return
	}
	takes := true
	if d, ok := f.(cli.DocGenerationFlag); ok {
		takes = d.TakesValue()
	}
	for _, name := range f.Names() {
		t.Flags[name] = takes
	}
}

// Normalise rewrites a command line so that a parser which stops reading flags
// at the first positional argument sees all of them. args is the whole command
// line with the program's name first; so is the result:
//
//	program [flag…] [command [flag…]]… [-- positional…]
//
// A flag belongs to the innermost command read so far that defines it, else to
// one of the commands around that, else to the program: so global flags may
// stand anywhere, and a command's flags anywhere behind its name. A value flag
// comes out as one word, --name=value, its bytes untouched: a comma separates
// nothing. Flags keep their order and their number within a command,
// positionals keep theirs. After "--" every word is a positional or a command
// name, and "-" alone is always one.
//
// A word that names no command where one could stand is passed on as a
// positional, for the action of the command before it to refuse.
//
// Errors wrap ErrArguments: a flag that is unknown or defined only by a command
// that comes later, a value flag without a value or with an empty one. A value
// that begins with a dash must be attached with "=", so that a forgotten value
// never swallows the flag behind it.
func Normalise(args []string, table FlagTable) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	n := normaliser{levels: []level{{table: &table, words: []string{args[0]}}}, rest: args[1:]}
	for len(n.rest) > 0 {
		word := n.rest[0]
		n.rest = n.rest[1:]
		switch {
		case n.ended || word == "-" || !strings.HasPrefix(word, "-"):
			n.word(word)
		case word == "--":
			n.ended = true
		default:
			if err := n.flag(word); err != nil {
				return nil, err
			}
		}
	}
	return n.result(), nil
}

// A level is one command on the way from the program to the innermost command.
type level struct {
	table *FlagTable
	words []string // the name of the command and the flags that belong to it
}

type normaliser struct {
	rest        []string // not read yet
	levels      []level  // the program first
	positionals []string
	ended       bool // "--" was seen
}

// word takes a command name or a positional.
func (n *normaliser) word(w string) {
	if len(n.positionals) == 0 {
		if sub := n.levels[len(n.levels)-1].table.Commands[w]; sub != nil {
			n.levels = append(n.levels, level{table: sub, words: []string{w}})
			return
		}
	}
	n.positionals = append(n.positionals, w)
}

// flag takes one flag and its value.
func (n *normaliser) flag(word string) error {
	name := strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
	name, value, attached := strings.Cut(name, "=")
	if name == "" || name[0] == '-' {
		return n.errorf("malformed flag %q", word)
	}
	l, takes := n.find(name)
	if l == nil {
		return n.unknown(name)
	}
	dashed := dash(name)
	if !takes {
		if attached {
			dashed += "=" + value
		}
		l.words = append(l.words, dashed)
		return nil
	}
	if !attached {
		switch {
		case len(n.rest) == 0:
			return n.errorf("flag %s needs a value", dashed)
		case len(n.rest[0]) > 1 && n.rest[0][0] == '-':
			return n.errorf("flag %s needs a value (one that begins with a dash is written %s=%s)", dashed, dashed, quoteWord(n.rest[0]))
		}
		value, n.rest = n.rest[0], n.rest[1:]
	}
	if value == "" {
		return n.errorf("flag %s has an empty value", dashed)
	}
	l.words = append(l.words, dashed+"="+value)
	return nil
}

// find returns the innermost level that defines the flag called name, nil if
// none does, and whether the flag takes a value.
func (n *normaliser) find(name string) (*level, bool) {
	for i := len(n.levels) - 1; i >= 0; i-- {
		if takes, ok := n.levels[i].table.Flags[name]; ok {
			return &n.levels[i], takes
		}
	}
	return nil, false
}

// unknown tells a flag that stands before its command from one that nobody
// defines.
func (n *normaliser) unknown(name string) error {
	for _, w := range n.rest {
		if w == "--" {
			break
		}
		if sub := n.levels[len(n.levels)-1].table.Commands[w]; sub != nil {
			if _, ok := sub.Flags[name]; ok {
				return n.errorf("flag %s belongs to %q and must stand behind it", dash(name), w)
			}
			break
		}
	}
	return n.errorf("unknown flag %s", dash(quoteWord(name)))
}

// errorf names the innermost command, so that the message says whose flags to
// look up.
func (n *normaliser) errorf(format string, a ...any) error {
	var names []string
	for _, l := range n.levels[1:] {
		names = append(names, l.words[0])
	}
	msg := fmt.Sprintf(format, a...)
	if len(names) > 0 {
		msg = strings.Join(names, " ") + ": " + msg
	}
	return fmt.Errorf("%w: %s", ErrArguments, msg)
}

// result puts the levels and the positionals together. The "--" in front of the
// positionals keeps one that begins with a dash from being read as a flag.
func (n *normaliser) result() []string {
	var out []string
	for _, l := range n.levels {
		out = append(out, l.words...)
	}
	if len(n.positionals) > 0 {
		out = append(append(out, "--"), n.positionals...)
	}
	return out
}

// dash spells a flag name as help texts do: one dash for a single letter.
func dash(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// quoteWord quotes w where printing it as it is could mislead or reach the
// terminal with control bytes.
func quoteWord(w string) string {
	if q := fmt.Sprintf("%q", w); q != `"`+w+`"` || strings.ContainsAny(w, " '") {
		return q
	}
	return w
}
