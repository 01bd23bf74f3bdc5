package console_test

import (
	"encoding/json"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Each refusal that a person meets at the desk carries a code, for which
// TestMessages wants words in both languages, and the values that those name.
func TestRefusalsHaveCodes(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	const at = "/api/v1/incidents/1/"
	did := func(step, body string) { w.want(200, "POST", at+step, body, nil) }
	refused := func(status int, method, path, body string, want console.Problem) {
		t.Helper()
		answer, all := w.do(method, path, body)
		var got console.Problem
		if err := json.Unmarshal(all, &got); err != nil || answer.StatusCode != status {
			t.Errorf("%s %s: %s %s", path, body, answer.Status, all)
			return
		}
		got = console.Problem{Code: got.Code, Field: got.Field, Value: got.Value, State: got.State, By: got.By, Step: got.Step, Asked: got.Asked, Who: got.Who}
		if got != want {
			t.Errorf("%s %s:\n got %+v\nwant %+v", path, body, got, want)
		}
	}
	refused(409, "POST", at+"approve", `{"by":"Li"}`, console.Problem{Code: "not_asked", State: "open", Step: "approve"})
	did("acknowledge", `{"by":"Li"}`)
	refused(409, "POST", at+"acknowledge", `{"by":"Sun"}`, console.Problem{State: "acknowledged", By: "Li", Step: "acknowledge"})
	refused(409, "POST", at+"take_over", `{"by":"Li","from":"Li"}`, console.Problem{Code: "own_already", State: "acknowledged", By: "Li", Step: "take_over"})
	refused(409, "POST", at+"take_over", `{"by":"Sun","from":"Wu"}`, console.Problem{Code: "other_owner", State: "acknowledged", By: "Li", Step: "take_over"})
	refused(422, "POST", at+"dispatch", `{"by":"Li","unit":""}`, console.Problem{Code: "bad_name", Field: "unit"})
	did("dispatch", `{"by":"Li","unit":"car-01"}`)
	refused(422, "POST", at+"add_unit", `{"by":"Li","unit":"car-01"}`, console.Problem{Code: "unit_sent", Field: "unit", Value: "car-01"})
	refused(422, "POST", at+"on_scene", `{"by":"Li","unit":"car-02"}`, console.Problem{Code: "unit_not_sent", Field: "unit", Value: "car-02"})
	refused(422, "POST", at+"checked", `{"by":"Li","note":""}`, console.Problem{Code: "missing", Field: "note"})
	refused(422, "POST", at+"close", `{"by":"Li","code":"x"}`, console.Problem{Code: "bad_code", Field: "code", Value: "x"})
	did("cancel", `{"by":"Li","reason":"r"}`)
	refused(422, "POST", at+"approve", `{"by":"Li"}`, console.Problem{Code: "second_person", Field: "by", Value: "Li"})
	refused(409, "POST", at+"suspend", `{"by":"Sun","reason":"r"}`, console.Problem{Code: "pending", State: "dispatched", By: "Li", Step: "suspend", Asked: "cancel", Who: "Li"})
	refused(409, "POST", at+"sound", `{"by":"Li"}`, console.Problem{Code: "sound_no_group"})
	refused(404, "POST", "/api/v1/incidents/99/acknowledge", `{"by":"Li"}`, console.Problem{Code: "not_found"})
	refused(422, "PUT", "/api/v1/groups/ten", `{"by":"Li","name":"x","sounds_s":60,"devices":["box-01"]}`, console.Problem{Code: "group_size", Field: "devices", Value: "1"})
	refused(422, "POST", "/api/v1/units/car-01/state", `{"by":"Li","state":"flying"}`, console.Problem{Code: "bad_unit_state", Field: "state", Value: "flying"})
}
