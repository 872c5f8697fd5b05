# "make help" lists the targets. Everything here needs Go and make alone, but
# for race, which needs a C compiler.

GO         ?= go
VERSION    ?= 0.1.0-dev
COMMIT     ?= $(shell git -c safe.directory='$(CURDIR)' describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)

# What make scan looks at, separated by blanks, and where it keeps its baseline.
SCAN_PATHS ?= /etc /usr/bin /usr/sbin
STATE      ?= .state

# Packages and flags for test, race, cover and fuzz.
PKG          ?= ./...
TESTFLAGS    ?=
TEST_TIMEOUT ?= 4m
FUZZTIME     ?= 30s

# Flags for bench and soak, for gate and for the soak of the watcher; the commit that gate compares with
# (empty: where this branch left main).
BENCHFLAGS   ?=
GATEFLAGS    ?=
WATCHFLAGS   ?=
BASE         ?=

# A tool for developers, not a dependency of the program: its version is pinned
# here and not in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The program is static; the same source gives the same bytes in every folder.
export CGO_ENABLED := 0
BUILDFLAGS := -trimpath -buildvcs=false -ldflags '-s -w -X intact/cmd/internal/cli.version=$(VERSION) -X intact/cmd/internal/cli.commit=$(COMMIT)'

.DEFAULT_GOAL := build
.PHONY: build scan test lint fmt vet staticcheck race fuzz cover bench gate soak reproducible ci clean help

build: ## build the static binary bin/intact
	$(GO) build $(BUILDFLAGS) -o bin/intact ./cmd/intact

# Ends with make's own failure status on findings (1) as on trouble (2, 3, 4):
# make knows one kind of failure only, the line on stderr tells which it was.
scan: build ## baseline of SCAN_PATHS in STATE if none is there, then check; fails on findings
	@set -- '$(STATE)'/baseline/*.statement; \
	if [ ! -e "$$1" ]; then \
		echo "+ bin/intact --state $(STATE) init $(SCAN_PATHS)" >&2; \
		bin/intact --state '$(STATE)' init $(SCAN_PATHS) || exit; \
		echo '$(SCAN_PATHS)' >'$(STATE)/scan-paths' || exit; \
	elif [ -e '$(STATE)/scan-paths' ] && [ "$$(cat '$(STATE)/scan-paths')" != '$(SCAN_PATHS)' ]; then \
		echo "make scan: the baseline in $(STATE) is one of: $$(cat '$(STATE)/scan-paths')" >&2; \
		echo "make scan: give another STATE=, or remove $(STATE), for a baseline of: $(SCAN_PATHS)" >&2; \
		exit 2; \
	fi; \
	echo "+ bin/intact --state $(STATE) check" >&2; \
	status=0; bin/intact --state '$(STATE)' check || status=$$?; \
	case $$status in \
	0) ;; \
	1) echo "make scan: findings (intact check ended with 1)" >&2 ;; \
	*) echo "make scan: no verdict to rely on (intact check ended with $$status)" >&2 ;; \
	esac; \
	exit $$status

# Without tables for a debugger the sixty binaries link faster, and the scripts, which
# start one thousands of times, read less. Three packages at a time: some tests wait
# more than they work.
test: ## run the tests
	$(GO) test -p 3 -ldflags='-s -w' -timeout $(TEST_TIMEOUT) $(TESTFLAGS) $(PKG)

# Without GORACE each of the thousands of processes that the scripts start sleeps
# for a second at its end. With -short what one goroutine does over and over, or
# with large inputs, is done less often: that is for the suite itself.
race: ## run the tests with the race detector (needs a C compiler)
	GORACE=atexit_sleep_ms=0 CGO_ENABLED=1 $(GO) test -race -short -timeout 10m $(TESTFLAGS) $(PKG)

lint: fmt vet staticcheck ## gofmt, go vet and staticcheck

# A folder holds the folders below it, so gofmt names most files twice.
fmt:
	@files=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...) | sort -u) && \
	if [ -n "$$files" ]; then echo "not formatted with gofmt:" >&2; echo "$$files" >&2; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

fuzz: ## run every fuzz target of PKG for FUZZTIME
	GO='$(GO)' .ci/fuzz $(FUZZTIME) $(PKG)

cover: ## run the tests and say how much of each function they reach
	@mkdir -p bin
	$(GO) test -timeout 10m -coverpkg=./... -coverprofile=bin/cover.out $(TESTFLAGS) $(PKG)
	@$(GO) tool cover -func=bin/cover.out

bench: build ## run the benchmarks against other tools and print the tables (45 minutes)
	$(GO) run ./benchmarks/cmd/bench $(BENCHFLAGS)

gate: ## fail where init or check of small takes a tenth more CPU time than at BASE
	$(GO) run ./benchmarks/cmd/bench gate $(if $(BASE),-base '$(BASE)') $(GATEFLAGS)

# The tree takes 40 GB of disk and ten million inodes; it is kept.
soak: build ## 15 minutes of a watcher, ten million files, then every fuzz target for 5 minutes (hours)
	$(GO) run ./benchmarks/cmd/watch soak -hard=false -beside 1m $(WATCHFLAGS)
	$(GO) run ./benchmarks/cmd/watch soak -for 5m -pace 2ms -beside 1m $(WATCHFLAGS)
	$(GO) run ./benchmarks/cmd/bench -trees none -cold-trees none -changed huge -peers none -runs 1 -peer-timeout 2h $(BENCHFLAGS)
	GO='$(GO)' .ci/fuzz 5m ./...

reproducible: ## build twice in different folders and compare
	GO='$(GO)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' .ci/reproducible

ci: ## all that a change must pass, as on the build server
	.ci/run

clean: ## remove what was built (not the state folder)
	rm -rf bin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' Makefile
