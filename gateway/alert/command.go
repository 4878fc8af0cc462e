package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"mailroam/queue"
)

// commandLimit is how long the command may run.
const commandLimit = 30 * time.Second

// call runs the command for each event, one at a time.
func (a *Alerter) call(ctx context.Context) {
	for {
		l := a.calls.first()
		if l == nil {
			select {
			case <-ctx.Done():
				return
			case <-a.calls.ready:
			}
			continue
		}
		a.calls.done(l)
		s := a.current()
		if s.Command == nil {
			continue
		}
		said, err := a.run(ctx, s, l.Event)
		if ctx.Err() != nil {
			return
		}
		if len(said) > 0 {
			a.opts.Log.Debug("alert", "text", "what the alert command says", "output", queue.Printable(string(said), maxOutput))
		}
		if err != nil {
			a.opts.Log.Warn("alert", "text", "the alert command failed: "+queue.Printable(err.Error(), 500)+"; what it says is in the log at level debug")
		}
	}
}

// run gives the event to the command. Its arguments are never shown: there may
// be a token among them.
func (a *Alerter) run(ctx context.Context, s Settings, e Event) (said []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.limit, fmt.Errorf("it had not ended after %s and was killed", a.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "MAILROAM_EVENT="+e.Kind, "MAILROAM_UPSTREAM="+e.Upstream, "MAILROAM_TEXT="+e.Text)
	cmd.Stdin = bytes.NewReader(append(a.payload(e), '\n')) // a line, for those who collect them
	out := &bounded{}
	cmd.Stdout, cmd.Stderr = out, out
	ownGroup(cmd)
	// What it leaves behind with our pipes must not keep us.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.text, err
}

const maxOutput = 4 << 10

// bounded keeps the first part of what the command says and drops the rest,
// without blocking it.
type bounded struct{ text []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), maxOutput-len(b.text))]...)
	return len(p), nil
}
