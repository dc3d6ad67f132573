# Each target installs what it needs, then does it.

KERNELS := $(CURDIR)/target/kernels
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
VMTEST := $(TARGET)/release/vmtest
BENCH_RUNS := cargo run --release -p vmtest-bench --bin bench-runs -- --results $(TARGET)/bench/results.json
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
# The tests' own cache and files must not meet the user's.
export VMTEST_KERNELS := $(KERNELS)
export VMTEST_NEWER_QEMU := $(CURDIR)/target/qemu/newer
export VMTEST_IMAGES := $(CURDIR)/target/images

.PHONY: help demo test check unit fuzz e2e e2e-user e2e-neovim e2e-vscode bench bench-docs soak vsix build clean

help:
	@echo "make demo    run examples/vmtest.toml under a stock kernel"
	@echo "make test    check, unit tests, end-to-end tests in real virtual machines and real editors"
	@echo "make check   formatters, clippy, documentation; types and lints of the editors' plugins"
	@echo "make fuzz    every fuzzer for ten minutes, two at a time on two processors; FUZZ_SECONDS=60 for one minute each;"
	@echo "             what they find is put into tests/fuzz/corpus"
	@echo "make vsix    the VS Code extension as a package for this platform, with vmtest inside"
	@echo "make bench   runs beside the bare boot of their kernel, files beside plain 9p, and more, into target/bench/results.json;"
	@echo "             the language server beside tombi, if that is on PATH. Some minutes with KVM, up to an hour under"
	@echo "             emulation; BENCH='--quick', or the names of some groups such as BENCH='start files', takes less"
	@echo "make soak    500 runs in kept guests and 100 that boot, 8 at a time with every processor busy: the table of"
	@echo "             docs/reliability.md; SOAK='50 10' takes less"
	@echo "make bench-docs   docs/performance.md and its chart, from those results"

build:
	cargo build --release -p vmtest

# The second target fails as intended, so the exit status must be 1: the number of targets that did not pass.
demo:
	scripts/setup.sh demo
	scripts/kernels.sh stable
	$(MAKE) --no-print-directory build
	@$(VMTEST) -c examples/vmtest.toml; status=$$?; \
	if [ -e /etc/written-by-vmtest-demo ]; then echo "demo: the guest's file reached the host's /etc" >&2; exit 1; fi; \
	if [ $$status -ne 1 ]; then echo "demo: exit status $$status, expected 1" >&2; exit 1; fi; \
	echo "demo: two targets passed, one failed as intended, and the host's /etc is untouched"

test: check unit e2e e2e-user e2e-neovim e2e-vscode

check:
	scripts/setup.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items
	bash -n scripts/*.sh scripts/images/* .ci/run editors/*/*.sh tests/editors/*/*.sh
	shellcheck .github/actions/*/*.sh scripts/release.sh
	tests/editors/neovim/check.sh
	tests/editors/vscode/check.sh

unit:
	scripts/setup.sh test
	cargo test --workspace --exclude vmtest-tests

# The fuzzers of `make unit` for longer, on other inputs each day. They are the tests that are named `any_…`.
FUZZ_SECONDS := 600
FUZZ_SEED := $(shell date +%Y%m%d)
fuzz:
	scripts/setup.sh test
	cargo build --profile fuzz -p vmtest
	VMTEST_BIN=$(TARGET)/fuzz/vmtest VMTEST_FUZZ_SECONDS=$(FUZZ_SECONDS) VMTEST_FUZZ_SEED=$(FUZZ_SEED) \
		cargo test --profile fuzz --no-fail-fast --workspace --lib --test it --test lsp -- ::any_
	@git status --short tests/fuzz/corpus

e2e:
	scripts/setup.sh test
	scripts/kernels.sh stable cloud newer
	scripts/qemu.sh
	scripts/images.sh small systemd
	cargo build -p vmtest
	VMTEST_BIN=$(TARGET)/debug/vmtest cargo test -p vmtest-tests

# What does not depend on who runs it: faults of QEMU, of the guest, of who reads the output; and how many run at once.
SAME_FOR_ALL := $(addprefix --skip ,fake_qemu:: stop::phases:: hostile:: reader:: splat:: pressure:: pause:: terminal:: image::faults:: \
	fuzz:: load:: twenty_machines)

# The same suite with vmtest run by an ordinary user; a caller who is one has just done that.
e2e-user:
	@if [ "$$(id -u)" -eq 0 ]; then \
		VMTEST_TEST_USER=nobody VMTEST_BIN=$(TARGET)/debug/vmtest cargo test -p vmtest-tests -- $(SAME_FOR_ALL); \
	else \
		echo "make: end-to-end tests ran as $$(id -un) already"; \
	fi

e2e-neovim:
	scripts/setup.sh test
	scripts/kernels.sh stable
	cargo build -p vmtest
	VMTEST_BIN=$(TARGET)/debug/vmtest tests/editors/neovim/run.sh

e2e-vscode:
	scripts/setup.sh test
	scripts/kernels.sh stable
	cargo build -p vmtest
	VMTEST_BIN=$(TARGET)/debug/vmtest tests/editors/vscode/run.sh

vsix:
	scripts/setup.sh demo
	editors/vscode/package.sh

bench:
	scripts/setup.sh demo
	scripts/kernels.sh stable
	$(MAKE) --no-print-directory build
	VMTEST_BIN=$(VMTEST) $(BENCH_RUNS) $(BENCH)
	@# Groups are named for the runs.
	$(if $(BENCH),,VMTEST_BIN=$(VMTEST) cargo run --release -p vmtest-bench --bin bench-editor)

soak:
	scripts/setup.sh test
	scripts/kernels.sh stable
	cargo build --release -p vmtest -p vmtest-tests
	VMTEST_BIN=$(VMTEST) $(TARGET)/release/soak $(SOAK)

bench-docs:
	$(BENCH_RUNS) --docs docs

clean:
	cargo clean
