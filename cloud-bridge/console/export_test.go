package console

import "github.com/fengsui/fengsui/cloud-bridge/account"

// Rule is a rule for the tests.
type Rule struct {
	Least              account.Role
	Early, Page, Whole bool
}

// Rules are the rules by route.
func Rules() map[string]Rule {
	out := make(map[string]Rule, len(rules))
	for route, r := range rules {
		out[route] = Rule{r.least, r.early, r.page, r.whole}
	}
	return out
}

// Cell is a value as it stands in a table.
func Cell(v any) string { return cell(v) }

// ProblemCodes are the codes of problems.
func ProblemCodes() []string { return problemCodes() }
