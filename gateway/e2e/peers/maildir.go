package peers

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Nobody is the user and group that own the mailboxes and run Exim.
const Nobody = 65534

// Mailbox is a Maildir under a folder of mailboxes: what it holds, oldest name
// first. A mailbox that does not exist is empty.
func Mailbox(folder, name string) ([][]byte, error) {
	dir := filepath.Join(folder, name, "new")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return compareTimes(a, b) })
	var messages [][]byte
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		messages = append(messages, b)
	}
	return messages, nil
}

func compareTimes(a, b fs.DirEntry) int {
	x, errX := a.Info()
	y, errY := b.Info()
	if errX != nil || errY != nil {
		return 0
	}
	return x.ModTime().Compare(y.ModTime())
}
