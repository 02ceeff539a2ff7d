# SPDX-License-Identifier: Apache-2.0
#
# The front door; Meson does the building. Every target installs what it lacks with apt first.
#
#   make            build into build/
#   make demo       build, start examples/guestbook on a daemon of its own, show it (make demo-stop ends it)
#   make demo-deploy   deploy, fail and roll back examples/moco under load (make demo-deploy-stop ends it)
#   make test       static checks, unit tests plain and sanitized, integration tests
#   make bench      measure beside docker and docker-compose
#   make fuzz       each fuzz target for FUZZ_SECONDS (60)
#   make install    into PREFIX (/usr/local), with a systemd unit; make uninstall takes it out again
#   make clean      remove what was built

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
SHELL := /bin/bash
ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

export PREFIX FUZZ_SECONDS

.PHONY: all demo demo-stop demo-deploy demo-deploy-stop test check unit bench fuzz install uninstall clean

all:
	@tools/deps --install build
	@tools/build build

demo: all
	@tools/deps --install run
	@$(ROOT) tools/demo

demo-stop:
	@$(ROOT) tools/demo stop

demo-deploy: all
	@tools/deps --install run demo
	@$(ROOT) tools/demo-deploy

demo-deploy-stop:
	@$(ROOT) tools/demo-deploy stop

test: all
	@tools/deps --install run test
	@$(ROOT) env CI='$(CI)' tools/test

# Parts of `make test`, for the day's work.
check: all
	@tools/test static
unit: all
	@tools/test unit

bench: all
	@tools/deps --install run bench
	@$(ROOT) bench/run

fuzz:
	@tools/deps --install build fuzz
	@tools/fuzz

install: all
	@tools/deps --install run
	$(ROOT) meson install -C build --no-rebuild --quiet $(if $(DESTDIR),--destdir '$(DESTDIR)')
	@$(if $(DESTDIR),true,$(ROOT) tools/setup-host)

uninstall:
	@$(ROOT) tools/setup-host --remove
	$(ROOT) ninja -C build uninstall

clean:
	@tools/demo stop --if-running
	@tools/demo-deploy stop --if-running
	rm -rf build build-asan build-fuzz

# In QEMU, a Debian with systemd and cgroup v2: limits, OOM kills, power cuts, reboots, setup over ssh (PARTS="power
# reboot"; see tools/test-vm), and exec beside docker's. Not part of `make test`; long where KVM does not work.
.PHONY: test-vm bench-vm
test-vm: all
	@$(ROOT) tools/test-vm $(PARTS)

bench-vm: all
	@$(ROOT) bench/vm
