package cli_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fengsui/fengsui/firmware/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fengsui": func() {
			os.Exit(cli.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}
