package agent

import (
	"context"

	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/voice"
	"github.com/fengsui/fengsui/firmware/wire"
)

// words are what was said last, of the alarms that may be heard.
type words struct {
	step  lamp.Step
	drill bool
}

// speaker returns what says prompts, or nil.
func (a *Agent) speaker(ctx context.Context) *voice.Speaker {
	if a.cfg.Audio == nil || a.ports.Voice == nil {
		return nil
	}
	return voice.New(a.cfg.Audio.Dir, a.cfg.Audio.Lang, a.ports.Voice, a.log, func(err error) {
		a.post(ctx, a.other, func() {
			if err != nil {
				a.faultBegan(faultVoice, err.Error())
			} else {
				a.faultEnded(faultVoice)
			}
		})
	})
}

// say says how far the alarms are that may be heard: of the one that is least
// far on. While a silent alarm is latched nothing is said at all, of any other
// one either: whoever stands beside the presser is to hear nothing new. A hidden
// one changes nothing, not even that.
func (a *Agent) say() {
	if a.voice == nil {
		return
	}
	now, any := words{drill: true}, false
	for button, p := range a.latches {
		if hidden(button) {
			continue
		}
		any = true
		if p.Silent || p.Kind == wire.Duress {
			a.voice.Hush()
			a.spoken = words{}
			return
		}
		if p.Step != lamp.Idle && (now.step == lamp.Idle || p.Step < now.step) {
			now.step = p.Step
		}
		now.drill = now.drill && p.Drill
	}
	now.drill = now.drill && any
	if now == a.spoken {
		return
	}
	was := a.spoken
	a.spoken = now
	switch {
	case now.step == lamp.Idle && was.step == lamp.Idle:
	case now.step == lamp.Idle:
		a.voice.Say("closed")
	case now.drill:
		a.voice.Say("drill")
	default:
		a.voice.Say(now.step.String())
	}
}
