package bridge

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// operator is who works at the command line of the centre's own machine.
var operator = account.Actor{Name: "system", Screen: "command line"}

// recordIn puts what happens to accounts into the audit record. What cannot be written there
// is in the log.
func recordIn(ctx context.Context, st *store.Store, log *slog.Logger) func(account.Record) {
	return func(r account.Record) {
		by := incident.Actor{Name: r.By, Screen: incident.ScreenDesk, Where: r.Screen}
		if r.Screen == operator.Screen || r.Screen == "" {
			by.Screen, by.Where = operator.Screen, ""
		}
		name := []rune(strings.ToValidUTF8(r.Account, "\uFFFD")) // of a refused sign-in it is whatever was sent
		err := st.Audit(context.WithoutCancel(ctx), by, r.What, "account/"+string(name[:min(len(name), account.MaxName)]), r.Detail)
		if err != nil {
			log.Error("what happened to an account could not be recorded", "what", r.What, "account", r.Account, "by", r.By, "err", err)
		}
	}
}

// accountCommand keeps accounts from the command line, beside a running centre or without
// one; a running centre takes it up within a second.
func accountCommand(ctx context.Context, args []string, std streams) (err error) {
	verbs := []string{"add", "list", "assign", "reset", "disable", "enable", "token"}
	if len(args) == 0 || !slices.Contains(verbs, args[0]) {
		return fmt.Errorf("%w: want account %s", errUsage, strings.Join(verbs, ", account "))
	}
	verb := args[0]
	var data, name, role, scope, label string
	var days int
	var passwordStdin, tokenOnly bool
	err = parse(args[1:], &data, func(f *flag.FlagSet) {
		if verb == "list" {
			return
		}
		f.StringVar(&name, "name", "", "")
		switch verb {
		case "add":
			f.BoolVar(&passwordStdin, "password-stdin", false, "")
			f.BoolVar(&tokenOnly, "token-only", false, "")
			fallthrough
		case "assign":
			f.StringVar(&role, "role", "", "")
			f.StringVar(&scope, "scope", account.Everywhere, "")
		case "token":
			f.StringVar(&role, "role", "", "")
			f.StringVar(&label, "label", "command line", "")
			f.IntVar(&days, "days", 0, "")
		}
	})
	if err != nil {
		return err
	}
	if verb != "list" && name == "" {
		return fmt.Errorf("%w: --name NAME is missing", errUsage)
	}
	if days < 0 || passwordStdin && tokenOnly {
		return fmt.Errorf("%w: want --days of 1 or more (0: for ever), and --password-stdin or --token-only", errUsage)
	}
	st, err := store.Open(ctx, filepath.Join(data, storeFile), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Shut()) }()
	accounts, err := account.New(ctx, account.Options{Keeper: st, Record: recordIn(ctx, st, slog.New(slog.NewTextHandler(std.err, nil)))})
	if err != nil {
		return err
	}
	if verb == "list" {
		return listAccounts(accounts, std)
	}
	if verb == "add" {
		open := account.Opening{TokenOnly: tokenOnly}
		if passwordStdin {
			line, _ := bufio.NewReader(std.in).ReadString('\n') // what is missing is refused below
			if open.Password = strings.TrimRight(line, "\r\n"); open.Password == "" {
				return errors.New("account: no password on standard input: want one line")
			}
		}
		a, oneTime, err := accounts.Create(ctx, operator, name, account.Role(role), strings.Split(scope, ","), open)
		if err == nil && oneTime != "" {
			fmt.Fprintf(std.out, "%s\t%s\n", a.Name, oneTime)
		}
		return err
	}
	a, err := accounts.ByName(name)
	if err != nil {
		return err
	}
	oneTime := ""
	switch verb {
	case "assign":
		_, err = accounts.Assign(ctx, operator, a.ID, account.Role(role), strings.Split(scope, ","))
	case "reset":
		_, oneTime, err = accounts.Reset(ctx, operator, a.ID)
	case "disable":
		_, err = accounts.Disable(ctx, operator, a.ID)
	case "enable":
		_, err = accounts.Enable(ctx, operator, a.ID)
	case "token":
		if role == "" {
			role = string(a.Role)
		}
		var secret account.Secret
		_, secret, err = accounts.MakeToken(ctx, operator, a.ID, label, account.Role(role), time.Duration(days)*24*time.Hour)
		oneTime = string(secret)
	}
	if err == nil && oneTime != "" {
		fmt.Fprintf(std.out, "%s\t%s\n", a.Name, oneTime)
	}
	return err
}

func listAccounts(accounts *account.Service, std streams) error {
	w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
	for _, a := range accounts.Accounts() {
		state := "enabled"
		if a.Disabled {
			state = "disabled"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(a.Name), a.Role, plain(strings.Join(a.Scope, ",")), a.Opens(), state)
	}
	return w.Flush()
}

// Grant lets programs act as people: it makes an account of each name that has none, with
// no password, and a token for each. It does what `account add --token-only` and `account
// token` do, beside a running centre or before it starts. A token that it made before for a
// name is revoked. role is that of new accounts.
func Grant(ctx context.Context, data string, role account.Role, names ...string) (tokens map[string]string, err error) {
	st, err := store.Open(ctx, filepath.Join(data, storeFile), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Shut()) }()
	accounts, err := account.New(ctx, account.Options{Keeper: st, Record: recordIn(ctx, st, slog.New(slog.DiscardHandler))})
	if err != nil {
		return nil, err
	}
	const label = "granted"
	tokens = make(map[string]string)
	for _, name := range names {
		a, err := accounts.ByName(name)
		if errors.Is(err, account.ErrNotFound) {
			a, _, err = accounts.Create(ctx, operator, name, role, account.Scope{account.Everywhere}, account.Opening{TokenOnly: true})
		}
		if err != nil {
			return nil, err
		}
		for _, t := range accounts.Tokens(a.ID) {
			if t.Label == label {
				if err := accounts.RevokeToken(ctx, operator, a.ID, t.ID); err != nil {
					return nil, err
				}
			}
		}
		_, secret, err := accounts.MakeToken(ctx, operator, a.ID, label, a.Role, 0)
		if err != nil {
			return nil, err
		}
		tokens[name] = string(secret)
	}
	return tokens, nil
}
