package msa

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// When the service stops, whoever waits is told at once, and whoever is in a
// body gets the reply to it first.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		idle, fresh, inData, inChunks, open := r.greeted(), r.dial(), r.greeted(), r.greeted(), r.greeted()
		fresh.want("220")
		inData.envelope()
		inData.cmd("DATA", "354")
		inData.send("Subject: x\r\n\r\nfirst half\r\n")
		inChunks.envelope()
		inChunks.cmd("BDAT 3\r\na", "250")
		open.envelope()
		synctest.Wait()

		begin := time.Now()
		r.cancel()
		for _, c := range []*client{idle, fresh, open} {
			c.want("421 4.3.2 ")
			c.eof()
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("idle clients waited %v", d)
		}
		time.Sleep(5 * time.Second)
		inData.send("second half\r\n.\r\nMAIL FROM:<next@example.com>\r\n")
		inData.want("250 2.0.0 queued")
		inData.want("421 4.3.2 ")
		inChunks.send("BDAT 3 LAST\r\nb\r\n")
		inChunks.want("250 2.0.0 queued")
		inChunks.want("421 4.3.2 ")
		if err := <-r.served; err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("Serve returned after %v", d)
		}
		r.served = nil
		if _, err := r.net.Dial(context.Background(), "tcp", testAddr); err == nil {
			t.Error("still listening")
		}
		if n := len(r.box.messages()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
		if l := r.log.lines("rejected"); len(l) != 0 {
			t.Errorf("a shutdown is no refusal: %q", l)
		}
	})
}

// Who is not done in time is cut off without a word, and leaves nothing.
func TestDrainTimeout(t *testing.T) {
	for name, tt := range map[string]struct{ begin, replies string }{
		"DATA": {"DATA\r\nhalf", "354"},
		"BDAT": {"BDAT 100\r\nhalf", ""},
		"gap":  {"BDAT 4\r\nhalf", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				c.envelope()
				c.send(tt.begin)
				synctest.Wait()
				begin := time.Now()
				r.stop()
				if d := time.Since(begin); d != 8*time.Second {
					t.Errorf("stopped after %v", d)
				}
				all, _ := io.ReadAll(c.in)
				if codes := codesOf(string(all)); codes != tt.replies {
					t.Errorf("replies %q", all)
				}
				r.none()
			})
		})
	}
}

// A commit that hangs at the end is told so, and its client hears nothing: it
// will send again, and is told the truth then.
func TestDrainCutsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.box.onCommit = func(ctx context.Context) { <-ctx.Done() }
		c := r.greeted()
		c.envelope()
		c.cmd("DATA", "354")
		c.send("x\r\n.\r\n")
		synctest.Wait()
		r.stop()
		c.eof()
		r.none()
	})
}

// A commit that ends in time gets its reply out.
func TestDrainAwaitsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.box.onCommit = func(context.Context) { time.Sleep(7 * time.Second) }
		c := r.greeted()
		c.envelope()
		c.cmd("DATA", "354")
		c.send("x\r\n.\r\n")
		synctest.Wait()
		r.stop()
		c.want("250 2.0.0 queued")
		c.want("421 4.3.2")
		r.one()
	})
}

// A client that stays with its back to us does not hold up the end.
func TestDrainWithFullPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.dial()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := io.WriteString(c, strings.Repeat("NOOP\r\n", 1000)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		begin := time.Now()
		r.stop()
		if d := time.Since(begin); d > 8*time.Second {
			t.Errorf("stopped after %v", d)
		}
		<-done
	})
}

// The listener's own failure ends Serve with its error.
func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, box: &box{}, log: &logBuffer{}, net: start(t, nil).net}
		l, err := r.net.Listen("tcp", "192.0.2.26:25")
		if err != nil {
			t.Fatal(err)
		}
		r.serve(l, nil)
		l.Close()
		if err := <-r.served; err == nil || !strings.Contains(err.Error(), "taking connections at 192.0.2.26:25") {
			t.Errorf("Serve: %v", err)
		}
		r.served = nil
	})
}

// The order to go may come between a look for it and the wait.
func TestDismissedBeforeWait(t *testing.T) {
	_, nc := sink.Pipe()
	var v visit
	v.dismiss(nc)
	if err := v.arm(nc, time.Now().Add(time.Hour)); err != shuttingDown {
		t.Errorf("armed: %v", err)
	}
	if v.beginBody() {
		t.Error("a body begins")
	}
}
