package msa

import (
	"io"
	"time"
)

// chunk is what a BDAT command announced (RFC 3030 2).
type chunk struct {
	on   bool // the body comes by BDAT
	left int64
	last bool
}

// chunks is the body of a run of BDAT commands. It ends with the last octet of
// the chunk marked LAST, and with nothing else.
type chunks struct{ c *conn }

var (
	chunkTaken = refuse(250, 2, 0, 0, "chunk taken")
	notNow     = refuse(503, 5, 5, 1, "a message is coming in chunks, end it with BDAT LAST or RSET")
	noop       = refuse(250, 2, 0, 0, "ok")
	vrfy       = refuse(252, 2, 5, 0, "send to it and see")
	// abandoned is heard by nobody.
	abandoned = refuse(451, 4, 3, 0, "the message was abandoned")
)

func (b *chunks) next() ([]byte, error) {
	for {
		switch c := b.c; {
		case c.chunk.left > 0:
			return c.octets()
		case c.chunk.last:
			c.feed = endOfData
			return nil, io.EOF
		}
		b.c.reply(chunkTaken)
		if err := b.command(); err != nil {
			return nil, err
		}
	}
}

// command reads up to the next BDAT.
func (b *chunks) command() error {
	c := b.c
	for {
		line, err := c.readLine()
		if err != nil {
			if last := c.lastWord(err); last != nil {
				return last
			}
			return bodyCut
		}
		cmd, ok := c.session.read(line)
		if !ok {
			continue
		}
		switch cmd.verb {
		case "BDAT":
			c.begin(cmd)
			return nil
		case "NOOP":
			c.reply(noop)
		case "VRFY":
			c.reply(vrfy)
		case "RSET", "HELO", "EHLO", "QUIT":
			// go-smtp hears that its DATA is over, then this command.
			c.unread(len(line))
			c.feed, c.hide = endOfData, true
			return abandoned
		default:
			c.reply(notNow)
		}
	}
}

// rest reads to the end of the chunk. The transaction is over then, so the
// chunks that the client may have sent behind it are refused one by one.
func (b *chunks) rest(int64) bool {
	for b.c.chunk.left > 0 {
		if _, err := b.c.octets(); err != nil {
			return false
		}
	}
	b.c.feed = endOfData
	return true
}

// octets gives the next octets of a chunk.
func (c *conn) octets() ([]byte, error) {
	if c.r == c.w {
		if err := c.fill(c.pace.deadline(time.Now())); err != nil {
			return nil, c.bodyFailed(err)
		}
	}
	n := min(int64(c.w-c.r), c.chunk.left)
	p := c.buf[c.r : c.r+int(n)]
	c.r += int(n)
	c.chunk.left -= n
	c.pace.got += n
	return p, nil
}
