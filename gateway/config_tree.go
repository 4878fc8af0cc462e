package gateway

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is a TOML value that knows its line.
type node struct {
	line  int
	kind  kind
	text  string  // of a string its value, of other scalars what is written
	items []*node // of a list
	// names are the keys of a table in the order written.
	names  []string
	fields map[string]*node
}

type kind string

const (
	aText   kind = "a string"
	aNumber kind = "a number"
	aBool   kind = "true or false"
	aList   kind = "a list"
	aTable  kind = "a table"
	other   kind = "a date or time"
)

func newTable(line int) *node {
	return &node{line: line, kind: aTable, fields: map[string]*node{}}
}

// put adds a field. Of a key given twice, which the TOML library has already
// complained about, the first stays.
func (n *node) put(name string, value *node) *node {
	if old, ok := n.fields[name]; ok {
		return old
	}
	n.names = append(n.names, name)
	n.fields[name] = value
	return value
}

// descend is the table called name below n, made if need be; of a list of
// tables it is the last one. A key that holds something else gives a table
// that belongs to nothing.
func (n *node) descend(name string, line int) *node {
	next := n.put(name, newTable(line))
	if next.kind == aList && len(next.items) > 0 {
		next = next.items[len(next.items)-1]
	}
	if next.kind != aTable {
		return newTable(line)
	}
	return next
}

// lineOf is where the field is written, or the table when it is not.
func (n *node) lineOf(name string) int {
	if f, ok := n.fields[name]; ok {
		return f.line
	}
	return n.line
}

// tree reads TOML into nodes, nil when it cannot. The library's own decoder
// runs first, for its judgement of what is TOML; only the parser below it
// gives the lines that our own complaints need.
func (d *decoder) tree(text []byte) *node {
	var whole map[string]any
	var bad *toml.DecodeError
	if err := toml.Unmarshal(text, &whole); errors.As(err, &bad) {
		line, column := bad.Position()
		d.syntax(line, column, bad)
		if len(bad.Key()) == 0 {
			return nil
		}
		// A key given twice: the rest can be checked all the same.
	} else if err != nil {
		d.problem(0, "", "this is not TOML", "compare it with config.toml.example")
		return nil
	}

	root := newTable(0)
	table := root
	p := &unstable.Parser{}
	p.Reset(text)
	t := treeReader{p: p, text: text}
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.KeyValue:
			t.keyValue(table, e)
		case unstable.Table:
			names, line := t.key(e.Key())
			table = root
			for _, name := range names {
				table = table.descend(name, line)
			}
		case unstable.ArrayTable:
			names, line := t.key(e.Key())
			parent := root
			for _, name := range names[:len(names)-1] {
				parent = parent.descend(name, line)
			}
			list := parent.put(names[len(names)-1], &node{line: line, kind: aList})
			table = newTable(line)
			if list.kind == aList {
				list.items = append(list.items, table)
			}
		}
	}
	return root
}

// character is how the library quotes the one it stumbled over: it may be
// part of a password.
var character = regexp.MustCompile(`(: |but got )?U\+[0-9A-F]+( '.+?')?`)

// syntax reports what the TOML library found. Its longer text is never used,
// for that shows the lines around.
func (d *decoder) syntax(line, column int, bad *toml.DecodeError) {
	what := strings.TrimPrefix(bad.Error(), "toml: ")
	if key := bad.Key(); len(key) > 0 {
		d.problem(line, printable(strings.Join(key, ".")), "is given twice, or as two different things", "keep one of them")
		return
	}
	what = strings.Join(strings.Fields(character.ReplaceAllString(what, "")), " ")
	d.problem(line, "", "column "+strconv.Itoa(column)+" is not TOML: "+what,
		`text needs quotes at both ends, as in name = "work"; the rest of the file is checked once this is right`)
}

type treeReader struct {
	p    *unstable.Parser
	text []byte
}

func (t treeReader) line(n *unstable.Node) int {
	return bytes.Count(t.text[:n.Raw.Offset], []byte("\n")) + 1
}

func (t treeReader) key(it unstable.Iterator) (names []string, line int) {
	for it.Next() {
		names = append(names, string(it.Node().Data))
		if line == 0 {
			line = t.line(it.Node())
		}
	}
	return names, line
}

func (t treeReader) keyValue(table *node, e *unstable.Node) {
	names, line := t.key(e.Key())
	for _, name := range names[:len(names)-1] {
		table = table.descend(name, line)
	}
	table.put(names[len(names)-1], t.value(e.Value(), line))
}

func (t treeReader) value(v *unstable.Node, line int) *node {
	// The library knows no place for a list; its key's line will do.
	if v.Kind != unstable.Array && v.Raw.Length > 0 {
		line = t.line(v)
	}
	n := &node{line: line, text: string(v.Data)}
	switch v.Kind {
	case unstable.String:
		n.kind = aText
	case unstable.Integer, unstable.Float:
		n.kind = aNumber
	case unstable.Bool:
		n.kind = aBool
	case unstable.Array:
		n.kind = aList
		for it := v.Children(); it.Next(); {
			n.items = append(n.items, t.value(it.Node(), line))
		}
	case unstable.InlineTable:
		n = newTable(line)
		for it := v.Children(); it.Next(); {
			t.keyValue(n, it.Node())
		}
	default:
		n.kind = other
	}
	return n
}
