package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newSessionsReplay(a *app) *cobra.Command {
	var speed float64
	var noWait, step bool
	var file string
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Play a session again, here or as a page",
		Long: `Replay prints a session as it went: when each statement came, counted from the
session's start, what the policy said to it, what people said who were asked, what
the client saw of the result if that is recorded, and what came of it.

On a terminal it keeps the session's own pace, with pauses cut to three seconds;
--speed 10 goes ten times as fast, --speed 0 or --no-wait shows all at once, and
--step waits for a key before each statement. Space pauses, the arrows go back and
forward, q quits. When the output is no terminal, all is printed at once.

--html FILE writes a page that plays the session, for people who have neither
agentctl nor the log. The page holds all it shows and loads nothing. It says
whether the session's records are those that the node has signed: --key gives
the node's public key, which is agentd's own if agentd is asked.`,
		Example: "  agentctl sessions replay 4KQ7\n  agentctl sessions replay 4KQ7 --no-wait | less\n  agentctl sessions replay 4KQ7 --html session.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed < 0 {
				return &exitError{usage, fmt.Errorf("--speed %v: give 0 for at once, or how many times as fast", speed)}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			s, err := a.session(ctx, args[0])
			if err != nil {
				return err
			}
			if file != "" {
				return errors.Join(a.writePage(ctx, s.Transcript, file), damaged(s.Damage))
			}
			p := &player{app: a, s: s.Transcript, speed: speed, step: step}
			if noWait || a.outWidth == 0 && !cmd.Flags().Changed("speed") {
				p.speed, p.step = 0, false
			}
			err = a.show(s, func() {
				k := p.keyboard()
				if k != nil {
					defer k.close()
					p.keys = k.keys
				}
				p.step = p.step && k != nil
				p.play(ctx)
			})
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return &exitError{code: interrupted}
			}
			return damaged(s.Damage)
		},
	}
	cmd.Flags().Float64Var(&speed, "speed", 1, "how many times as fast as it went; 0 for at once")
	cmd.Flags().StringVar(&a.key, "key", "", "`file` with the node's public key, for --html to verify the session")
	cmd.Flags().StringVar(&file, "html", "", "write a page that plays the session to this `FILE`, in place of playing it here")
	cmd.Flags().BoolVar(&step, "step", false, "wait for a key before each statement")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "show all at once")
	return cmd
}

// end is when a session ended, counted from its start.
func end(s *recorder.Transcript) string {
	if s.End.IsZero() {
		return ""
	}
	return fmt.Sprintf("+%.3fs", s.End.Sub(s.Start).Seconds())
}

// keyboard listens to the person at the terminal, nil if there is none or
// nothing to wait for.
func (p *player) keyboard() *keyboard {
	if p.outWidth == 0 || p.speed == 0 && !p.step {
		return nil
	}
	return newKeyboard(os.Stdin)
}
