package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A Commissioned is the summary of a device's newest commissioning report. The
// report itself is a signed page that the technician has.
type Commissioned struct {
	At                              time.Time // received at the centre
	Verdict                         string    // "pass", "fail", "incomplete"
	Passed, Failed, Skipped, Absent uint64    // checks
	Problems                        []string  // which failed
	Report                          []byte    // SHA-256 of the report
	By                              string    // who stood before the device; "": not said
	SelfTest                        bool      // nobody did
	Firmware                        string
}

const commissionedQuery = `SELECT c.device, c.received_at, c.verdict, c.passed, c.failed, c.skipped, c.absent, c.problems, c.report,
	c.by_whom, c.self_test, c.firmware FROM devices d JOIN commissioned c ON c.device = d.device %[1]s`

// commissioned keeps a summary, unless a later one is there.
func (t *tx) commissioned(d *device, at order, b *wire.Commissioned, received time.Time) error {
	problems, err := json.Marshal(append([]string{}, b.Problems...))
	if err != nil {
		return fmt.Errorf("problems: %w", err)
	}
	count := func(n uint64) int64 { return int64(min(n, 1<<31)) }
	return t.exec(`INSERT INTO commissioned (device, stream, seq, received_at, verdict, passed, failed, skipped, absent, problems, report, by_whom, self_test, firmware)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (device) DO UPDATE SET stream = excluded.stream, seq = excluded.seq,
		received_at = excluded.received_at, verdict = excluded.verdict, passed = excluded.passed, failed = excluded.failed,
		skipped = excluded.skipped, absent = excluded.absent, problems = excluded.problems, report = excluded.report,
		by_whom = excluded.by_whom, self_test = excluded.self_test, firmware = excluded.firmware
		WHERE (excluded.stream, excluded.seq) > (commissioned.stream, commissioned.seq)`,
		d.num, at.stream, at.seq, received.UnixMilli(), b.Verdict.String(), count(b.Passed), count(b.Failed), count(b.Skipped), count(b.Absent),
		string(problems), b.Report[:], b.By, b.SelfTest, b.Firmware)
}

func (r *deviceReader) commissioned(scan func(...any) error) error {
	var num int64
	var at sql.NullInt64
	var problems string
	c := new(Commissioned)
	if err := scan(&num, &at, &c.Verdict, &c.Passed, &c.Failed, &c.Skipped, &c.Absent, &problems, &c.Report, &c.By, &c.SelfTest, &c.Firmware); err != nil {
		return err
	}
	c.At = fromMillis(at)
	if err := json.Unmarshal([]byte(problems), &c.Problems); err != nil {
		return fmt.Errorf("problems: %w", err)
	}
	r.out[r.at[num]].Commissioned = c
	return nil
}
