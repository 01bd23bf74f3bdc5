package fingers

import (
	"strings"

	"github.com/fengsui/fengsui/firmware/fingerprint"
)

// The languages of Words.
const (
	English = "en"
	Chinese = "zh-CN"
)

// Words says what a step of an enrolment asks for, in a language; English
// stands in for one that is not known.
func Words(step fingerprint.Step, lang string) string {
	w := words()[step]
	if strings.HasPrefix(strings.ToLower(lang), "zh") {
		return w.zh
	}
	return w.en
}

type phrase struct{ en, zh string }

func words() map[fingerprint.Step]phrase {
	return map[fingerprint.Step]phrase{
		fingerprint.StepAuthorise:   {"A supervisor or technician: lay your finger on the reader.", "请主管或技术员按指纹授权。"},
		fingerprint.StepPlace:       {"Lay the finger on the reader.", "请按下要登记的手指。"},
		fingerprint.StepLift:        {"Lift the finger.", "请抬起手指。"},
		fingerprint.StepAgain:       {"Lay the same finger again.", "请再按一次同一手指。"},
		fingerprint.StepTooDry:      {"Too dry or too light: breathe on the finger, press a little harder.", "手指太干或按得太轻：请哈口气，稍用力按。"},
		fingerprint.StepTooWet:      {"Too wet or too hard: dry the finger, press a little less.", "手指太湿或按得太重：请擦干，轻一点按。"},
		fingerprint.StepMessy:       {"Not clear: wipe the finger and the reader.", "图像杂乱：请擦净手指和指纹仪。"},
		fingerprint.StepFewFeatures: {"Too little of the finger: lay its middle on the reader.", "特征太少：请用指腹中部按下。"},
		fingerprint.StepUnclear:     {"Not readable: lay the finger anew.", "无法读取：请重新按下手指。"},
		fingerprint.StepMismatch:    {"The two do not match: again from the beginning.", "两次不一致：请从头再来。"},
		fingerprint.StepStored:      {"Enrolled.", "登记完成。"},
	}
}
