package console_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/units"
	"github.com/fengsui/fengsui/firmware/wire"
)

func catalogue(t *testing.T, lang string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("i18n/" + lang + ".json")
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[string]string)
	if err := json.Unmarshal(raw, &messages); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), "\": \""); n != len(messages) {
		t.Errorf("%s: %d lines for %d messages: a key stands there twice", lang, n, len(messages))
	}
	return messages
}

// valued are the keys made of a prefix and a value that the centre names: every value
// there is must have a message.
func valued() map[string][]string {
	v := map[string][]string{
		"kind":         {wire.Panic.String(), wire.Fire.String(), wire.Medical.String(), wire.Duress.String(), string(incident.Offline), string(incident.Twin), string(incident.DistrictLinkLost), string(incident.Tamper)},
		"source":       {wire.WallNone.String(), wire.WallGNSS.String(), wire.WallNTP.String(), wire.WallRTC.String(), wire.WallCentre.String()},
		"missing":      {incident.MissingTime, incident.MissingPosition, incident.MissingCell},
		"place":        {string(incident.Surveyed), string(incident.GNSS), string(incident.Given), string(incident.Learned), string(incident.Held)},
		"commissioned": {wire.CommissionPass.String(), wire.CommissionFail.String(), wire.CommissionIncomplete.String(), "at", "self_test"},
		"device_kind":  {string(store.AlarmBox), string(store.PatrolCar), string(store.PatrolMotorcycle)},
		"why":          store.Whys(),
		"what": {
			incident.WhatOpened, incident.WhatPressed, incident.WhatAcknowledged, incident.WhatDispatched,
			incident.WhatClosed, incident.WhatCleared, incident.WhatShown, incident.WhatSilent, incident.WhatRestored,
			incident.WhatTampered, incident.WhatShut, incident.WhatTexted, incident.WhatFollowed,
			incident.WhatTakenOver, incident.WhatUnitAdded, incident.WhatNote, incident.WhatAsked, incident.WhatApproved, incident.WhatDenied,
			incident.WhatSuspended, incident.WhatResumed, incident.WhatReturned, incident.WhatEscalated,
			incident.WhatUnitShown, incident.WhatUnitAccepted, incident.WhatUnitRefused, incident.WhatEnRoute, incident.WhatOnScene,
			incident.WhatChecked, incident.WhatNeedHelp, incident.WhatUnitClosed, incident.WhatStranger,
			incident.WhatSoundAsked, incident.WhatSounded, incident.WhatNotSounded, incident.WhatSoundOff, incident.WhatAttachment, incident.WhatRedated, incident.WhatDoubted,
		},
		"start": {wire.StartDamaged.String(), wire.StartRolledBack.String()},
		"started": {
			string(wire.StartedPower), string(wire.StartedWatchdog), string(wire.StartedPanic), string(wire.StartedCommanded),
			string(wire.StartedHung), string(wire.StartedCrashed), string(wire.StartedUnknown),
		},
		"board":       {"under_voltage", "under_voltage_was", "throttled", "throttled_was"},
		"group":       {string(incident.Open), string(incident.Acknowledged), string(incident.Dispatched), string(incident.Closed)},
		"finger":      {wire.FingerEnrolled.String(), wire.FingerDeleted.String()},
		"finger.role": {wire.RoleOfficer.String(), wire.RoleSupervisor.String(), wire.RoleTechnician.String()},
		"finger.by":   {"test_key", "local", "config"}, // else whose finger it was
		"refused":     {"no_match", "weak_match", "unreadable", "not_believed", "locked", "unknown_slot", "not_authorised", "bad_pin"},
		"heard":       {"ok", "late", "silent", "unsure"},
		"fix":         {"live", "recent", "old"},
		"unit.fix":    {"live", "old"},
		"fault":       nil, // open-ended: a code without a message shows itself
	}
	for step := range strings.SplitSeq("take_over add_unit en_route on_scene checked note resume suspend return cancel sound hush", " ") {
		v["step"] = append(v["step"], step) // as steps.js lists them
	}
	v["step.need"] = []string{"note", "reason"}
	v["stats.plot"] = []string{"acknowledge", "dispatch", "arrive"}
	v["reached"] = []string{string(incident.Open), string(incident.Acknowledged), string(incident.Dispatched), string(incident.OnScene), string(incident.Checked), string(incident.Closed)}
	v["refusal"] = console.ProblemCodes()
	v["field"] = []string{"by", "unit", "note", "reason", "code"} // that a code names
	v["by"] = []string{"centre", "drill_end", "officer"}
	v["place_is"] = []string{wire.PositionGiven.String(), wire.PositionLearned.String(), wire.PositionHeld.String()}
	v["overrun"] = []string{"acknowledge", "dispatch", "arrive"}
	v["sounded"] = []string{"centre", "group"}
	v["remark.file"] = []string{store.AttachmentWhole, store.AttachmentDamaged}
	v["refused_reason"] = []string{"bad_topic", "unknown_device", "bad_signature", "bad_envelope", "bad_message", "topic_of_another_device_or_lane"}
	for a := wire.AnswerShown; a <= wire.AnswerClosed; a++ {
		v["answer"] = append(v["answer"], a.String())
	}
	v["sound_why"] = []string{"no_siren", "expired", "own_alarm", "sounded_before", "silent"} // open-ended, as faults
	v["screen"] = []string{incident.ScreenDesk, incident.ScreenUnit, incident.ScreenDevice, incident.ScreenCommand, incident.ScreenCentre}
	v["tier"] = []string{string(grid.Cell)}
	v["visit"] = []string{roster.Kept, roster.Late, roster.Missed, roster.Due}
	v["sent_state"] = []string{
		string(incident.UnitSent), string(incident.UnitShown), string(incident.UnitAccepted), string(incident.UnitEnRoute),
		string(incident.UnitOnScene), string(incident.UnitChecked), string(incident.UnitRefused), string(incident.UnitWithdrawn),
	}
	v["heard_state"] = store.Heards()
	v["exercise.column"] = []string{"box", "result", "after", "at"}
	for _, s := range units.States() {
		v["unit_state"] = append(v["unit_state"], string(s))
	}
	for _, tier := range incident.Tiers() {
		v["tier"] = append(v["tier"], string(tier))
	}
	for _, c := range stats.Classes() {
		v["class"] = append(v["class"], string(c))
	}
	for _, s := range incident.States() {
		v["state"] = append(v["state"], string(s))
	}
	for _, c := range store.Causes() {
		v["storage"] = append(v["storage"], string(c))
	}
	for _, r := range account.Roles() {
		v["role"] = append(v["role"], string(r))
	}
	v["opens"] = []string{"password", "one-time", "oidc", "token"}
	for _, c := range append(incident.Codes(), incident.Restored, incident.Cancelled) {
		v["code"] = append(v["code"], string(c))
	}
	v["wifi"] = []string{"joining", "away", "refused", "no_driver", "no_interface", "failed"}
	for _, l := range wire.Lanes() {
		v["lane"] = append(v["lane"], l.String())
	}
	return v
}

// used are the keys that the page and its scripts name.
func used(t *testing.T) map[string]string {
	t.Helper()
	used := make(map[string]string)
	files, err := filepath.Glob("static/*.js")
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`\bt\("([^"]+)"|\bnote\("([^"]+)"|\bt "([^"]+)"|\btell\("([^"]+)"|ticking\([^"\n]*(?:\([^"\n]*\)[^"\n]*)*, "([a-z_.]+)"`)
	dynamic := regexp.MustCompile(`tx\("([^"]+)"|"([a-z_]+(?:\.[a-z]+)?)[._]" \+ [a-zA-Z.]+[()]|printf "([a-z]+)\.%s"`)
	for _, file := range append(files, "page.html", "signin.html", "account.html", "signin.go", "head.html", "bar.html", "duty.html", "stats.html") {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if file == "signin.go" { // what it says of what went wrong
			for _, m := range regexp.MustCompile(`"((?:signin|password)\.[a-z_]+)"`).FindAllStringSubmatch(string(raw), -1) {
				used[m[1]] = file
			}
		}
		for _, m := range plain.FindAllStringSubmatch(string(raw), -1) {
			for _, key := range m[1:] {
				if key != "" && !strings.HasSuffix(key, ".") && !strings.HasSuffix(key, "_") {
					used[key] = file
				}
			}
		}
		for _, m := range dynamic.FindAllStringSubmatch(string(raw), -1) {
			prefix := m[1] + m[2] + m[3]
			values, known := valued()[prefix]
			if !known {
				if m[2] == "" {
					t.Errorf("%s makes keys of %q: say in valued which", file, prefix)
				}
				continue
			}
			for _, value := range values {
				separator := "."
				if prefix == "unit.fix" || prefix == "step.need" || prefix == "stats.plot" || prefix == "exercise.column" {
					separator = "_"
				}
				used[prefix+separator+value] = file
			}
		}
	}
	return used
}

// Both languages have every message that is used, no other, and the same blanks in each.
func TestMessages(t *testing.T) {
	en, zh, used := catalogue(t, "en"), catalogue(t, "zh-CN"), used(t)
	if len(used) < 100 {
		t.Fatalf("only %d keys found in the page: the search is broken", len(used))
	}
	for _, key := range slices.Sorted(maps.Keys(used)) {
		for lang, messages := range map[string]map[string]string{"en": en, "zh-CN": zh} {
			if strings.TrimSpace(messages[key]) == "" && key != "list.comma" {
				t.Errorf("%s: no message %q, which %s uses", lang, key, used[key])
			}
		}
	}
	blank := regexp.MustCompile(`\{\w+\}`)
	han := regexp.MustCompile(`\p{Han}`)
	for _, key := range slices.Sorted(maps.Keys(en)) {
		if _, there := zh[key]; !there {
			t.Errorf("zh-CN: no message %q", key)
			continue
		}
		if used[key] == "" && !strings.HasPrefix(key, "fault.") {
			t.Errorf("message %q is not used", key)
		}
		inEn, inZh := blank.FindAllString(en[key], -1), blank.FindAllString(zh[key], -1)
		slices.Sort(inEn)
		slices.Sort(inZh)
		if !slices.Equal(inEn, inZh) {
			t.Errorf("%q has the blanks %v in en and %v in zh-CN", key, inEn, inZh)
		}
		if han.MatchString(en[key]) {
			t.Errorf("en: %q is %q", key, en[key])
		}
	}
	for key := range zh {
		if _, there := en[key]; !there {
			t.Errorf("en: no message %q", key)
		}
	}
}
