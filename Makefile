# `make` alone lists the targets. On a fresh Debian 12 or Ubuntu, as root, `make demo` and `make test` need nothing else.

.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON3 ?= python3
PY := .venv/bin/python
PREFIX ?= /usr/local
DESTDIR ?=
EXTRAS ?=
PACKAGES := postfix libmilter-dev gcc python3-dev python3-venv gnupg opendkim opendkim-tools openssl procps
TEST_PACKAGES := postgresql unbound iproute2 default-jre-headless libbcpkix-java gpgsm neomutt tmux softhsm2 opensc

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

check: .venv/.ready  ## lint, types, fast tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy milter lab bench
	$(PY) -m pytest -q -n 2 --dist worksteal -m "not real and not soak"

test: test-system .venv/.ready  ## the whole test suite; installs what is missing
	$(PY) -m pytest -n 2 --dist worksteal -m "not soak"

demo: system .venv/.ready  ## a private site, sample mail, what arrived; KEEP=1 leaves it running, STOP=1 ends that
	@$(PY) -m lab.demo $(if $(filter-out 0,$(KEEP)),--keep) $(if $(filter-out 0,$(STOP)),--stop)

bench: system .venv/.ready  ## messages a second and CPU, beside Postfix alone and OpenDKIM
	$(PY) -m bench.run
	$(PY) -m bench.partners
	$(PY) -m bench.decision
	$(PY) -m bench.opening
	$(PY) -m bench.policy

soak: test-system .venv/.ready  ## the long tests
	$(PY) -m pytest -n 2 -m soak

mutate: .venv/.ready  ## whether the tests notice small changes to the guards; ONLY=crypto/guard.py for some
	@$(PY) -m lab.mutate $(ONLY)

docs: .venv/.ready  ## write docs/settings.md, docs/man/ and sql/schema.*.sql from the code
	$(PY) -m docs.write
	for dialect in sqlite postgresql; do .venv/bin/gatepost db sql $$dialect > sql/schema.$$dialect.sql || exit 1; done

lock: .venv/.ready  ## pin every package anew
	$(PY) -m piptools compile --upgrade --allow-unsafe --strip-extras --extra pkcs11 --extra postgresql --extra test \
		--output-file lock.txt \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header setup.cfg

install: system  ## into PREFIX, staged under DESTDIR: program, units, rules, man pages; EXTRAS=postgresql,pkcs11 adds drivers
	$(PYTHON3) -m venv $(DESTDIR)$(PREFIX)/lib/gatepost
	$(DESTDIR)$(PREFIX)/lib/gatepost/bin/python -m pip install -q --disable-pip-version-check -c lock.txt \
		.$(if $(EXTRAS),[$(EXTRAS)])
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/gatepost/rules
	printf '#!/bin/sh\nexec $(PREFIX)/lib/gatepost/bin/python -P -m gatepost "$$@"\n' > $(DESTDIR)$(PREFIX)/bin/gatepost
	chmod 755 $(DESTDIR)$(PREFIX)/bin/gatepost
	cp -n rules/*.toml $(DESTDIR)/etc/gatepost/rules/
	for unit in $(wildcard systemd/*.service systemd/*.target systemd/*.socket); do \
		install -D -m 644 $$unit $(DESTDIR)/usr/lib/systemd/system/$${unit##*/} && \
		sed -i 's#=/usr/bin/gatepost#=$(PREFIX)/bin/gatepost#' $(DESTDIR)/usr/lib/systemd/system/$${unit##*/} || \
		exit 1; done
	for kind in sysusers tmpfiles; do for file in systemd/*$$kind*; do [ ! -f $$file ] || \
		install -D -m 644 $$file $(DESTDIR)/usr/lib/$$kind.d/gatepost.conf || exit 1; done; done
	for page in docs/man/*.[0-9]; do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; done

system:
	@.ci/packages $(PACKAGES)

test-system: system
	@.ci/packages $(TEST_PACKAGES)

.venv/.ready: lock.txt setup.cfg pyproject.toml | system
	[ -x $(PY) ] || $(PYTHON3) -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check -r lock.txt
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help check test demo bench soak mutate docs lock install system test-system
