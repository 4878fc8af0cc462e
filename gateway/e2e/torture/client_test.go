package torture

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// client speaks just enough SMTP to know exactly which message was answered.
type client struct {
	c net.Conn
	r *bufio.Reader
}

func dial(addr string) (*client, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	cl := &client{c, bufio.NewReader(c)}
	if _, err := cl.reply(); err != nil {
		c.Close()
		return nil, err
	}
	if _, err := cl.ask("EHLO torture.example\r\n"); err != nil {
		c.Close()
		return nil, err
	}
	return cl, nil
}

func (c *client) ask(line string) (string, error) {
	if _, err := c.c.Write([]byte(line)); err != nil {
		return "", err
	}
	return c.reply()
}

func (c *client) reply() (string, error) {
	_ = c.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) >= 4 && line[3] == ' ' {
			return strings.TrimSpace(line), nil
		}
	}
}

// send submits one message and returns the queue ID of the 250.
func (c *client) send(mark string, rcpts int, size int) (id string, err error) {
	ok := func(line, want string) error {
		got, err := c.ask(line)
		if err == nil && !strings.HasPrefix(got, want) {
			err = fmt.Errorf("%q answered %q", strings.TrimSpace(line), got)
		}
		return err
	}
	if err := ok("MAIL FROM:<torture@example.com>\r\n", "250"); err != nil {
		return "", err
	}
	for i := range rcpts {
		if err := ok(fmt.Sprintf("RCPT TO:<r%d@example.net>\r\n", i), "250"); err != nil {
			return "", err
		}
	}
	if err := ok("DATA\r\n", "354"); err != nil {
		return "", err
	}
	got, err := c.ask(fmt.Sprintf("Message-ID: <%s>\r\nSubject: %s\r\n\r\n%s\r\n.\r\n", mark, mark, strings.Repeat("all work and no play\r\n", size/22)))
	if err != nil {
		return "", err
	}
	id, found := strings.CutPrefix(got, "250 2.0.0 queued as ")
	if !found {
		return "", fmt.Errorf("the dot was answered %q", got)
	}
	return id, nil
}
