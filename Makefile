# Fengsui. `make demo` runs the main job, `make test` passes all tests.
SHELL := bash
export CGO_ENABLED := 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD = go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)'

WEB  := cloud-bridge/console/web
DIST := cloud-bridge/console/dist

.PHONY: demo test torture build check bench web deps clean

demo: web ## the centre, six alarm boxes and three cars on this machine
	@mkdir -p .build && go build -o .build/sim ./sim/cmd/sim && exec .build/sim up $(ARGS)

# The front end's parts come from npm by the lock file.
web: $(DIST)/.built
$(DIST)/.built: $(WEB)/package-lock.json $(wildcard $(WEB)/*.mjs)
	@command -v npm >/dev/null || { echo 'missing: npm (Node.js); install it, the desk needs its map'; exit 1; }
	cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@touch $@

deps:
	@.ci/deps

# These play against the clock with many processes, browsers or whole boards: one
# at a time, or a press would fall into a standstill of the machine.
LIVE := /(cloud-bridge/(bridge|console)|sim|sim/(screens|virtboard))$$

test: deps web
	go tool gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 20m $$(go list ./... | grep -vE '$(LIVE)')
	go tool gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 20m -p 1 $$(go list ./... | grep -E '$(LIVE)')

# The rigs of `make test` with their full counts: hours. One of them, and a part
# of it: `make torture RIG=model`, `make torture RIG=peer TEST=TestLongOutage`.
RIG  ?=
TEST ?= .
torture: deps
	FENGSUI_TORTURE=long go test -count=1 -v -timeout 24h -run '$(TEST)' $(if $(RIG),./sim/torture/$(RIG),./sim/torture/... ./boards/image)

# Each architecture: GOARCH GOARM. The centre, the simulator and the board command want 64 bits.
build: web
	@set -e; for t in 'armv6 arm 6' 'armv7 arm 7' 'arm64 arm64 ' 'amd64 amd64 '; do set -- $$t; \
	  out=dist/linux-$$1; mkdir -p $$out; bins=./firmware/cmd/fengsui; \
	  case $$1 in *64) bins="$$bins ./cloud-bridge/cmd/cloud-bridge ./sim/cmd/sim ./boards/cmd/board";; esac; \
	  echo "$$out"; GOOS=linux GOARCH=$$2 GOARM=$${3:-} $(GOBUILD) -o $$out/ $$bins; \
	done; ls -l dist/*/

check:
	@out=$$(go tool gofumpt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofumpt-ed:"; echo "$$out"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -count=1 ./firmware/internal/arch

# Each figure is printed under the command that makes it; ratios are to a floor
# or a peer measured in the same run.
BENCH := go test -run '^$$' -count=1
bench: web
	$(BENCH) -bench Append ./firmware/spool
	$(BENCH) -bench Wear -benchtime 2000x ./firmware/spool
	$(BENCH) -bench TrackBytesPerFix ./firmware/wire
	$(BENCH) -bench Decoder ./firmware/gps
	$(BENCH) -bench Match ./firmware/fingerprint
	$(BENCH) -bench . ./cloud-bridge/store
	$(BENCH) -bench PressToDesk ./cloud-bridge/bridge
	$(BENCH) -bench Backlog -benchtime 1x ./cloud-bridge/bridge
	$(BENCH) -bench Stream -benchtime 1x ./cloud-bridge/console
	$(BENCH) -bench . -benchtime 1x -timeout 30m ./sim/drain
	$(BENCH) -bench AgentMemory -benchtime 1x ./sim
	$(BENCH) -bench PressToDesk -benchtime 1x ./sim

clean:
	rm -rf dist .build $(DIST)/.built
