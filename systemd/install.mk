# make install, make uninstall: the sensor as a service. Included by the Makefile; see docs/install.md#as-a-service.
#
#   DESTDIR   a folder that stands for / (packages); nothing of this machine is touched then
#   PREFIX    virtual environment
#   LIBDIR    unit files, sysusers.d and tmpfiles.d are below
#   BINDIR    gets a link to the command
#   PIP_ARGS  such as --no-index --find-links wheels
#   BACKOFF   yes for systemd 254 and newer; by default what this machine has
#   PURGE=1   uninstall: configuration, stores and the user as well

PREFIX ?= /opt/gridwarden
LIBDIR ?= /usr/local/lib
BINDIR ?= /usr/local/bin
PURGE ?= 0
BACKOFF ?= $(shell v=$$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p'); \
  [ "$${v:-0}" -ge 254 ] && echo yes || echo no)
# systemd decides these three, by the names in the unit files
ETC := $(DESTDIR)/etc/gridwarden
STATE := $(DESTDIR)/var/lib/gridwarden
CACHE := $(DESTDIR)/var/cache/gridwarden
HOME_OF := $(DESTDIR)$(PREFIX)
UNITS := $(DESTDIR)$(LIBDIR)/systemd/system
GRIDWARDEN ?= $(HOME_OF)/bin/python -P -m sensor
UNIT_FILES := gridwarden.service gridwarden@.service gridwarden-detect@.service gridwarden-detect@.path
LIVE := $(if $(DESTDIR),,$(wildcard /run/systemd/system))

.PHONY: install uninstall install-venv install-files install-kernels

install:
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" = 0 ] || { echo "Run: sudo make install (or give DESTDIR)"; exit 1; }
	@$(MAKE) --no-print-directory install-venv
	@$(MAKE) --no-print-directory install-files
	@$(MAKE) --no-print-directory install-kernels
	@$(if $(LIVE),systemctl try-restart gridwarden.service 'gridwarden@*.service',:)
	@echo "== installed. Next: docs/install.md#as-a-service, or: gridwarden config check /etc/gridwarden/gridwarden.toml"

# The service neither sees /home and /root nor may leave its user: a Python from there would not start.
install-venv:
	@echo "== $(HOME_OF) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.base_prefix.startswith(("/home/", "/root/")))' || { \
	  echo "The service needs Python 3.11 or newer from outside of /home and /root: make install PYTHON=/usr/bin/python3"; \
	  exit 1; }
	umask 022; $(PYTHON) -m venv $(HOME_OF)
	umask 022; $(HOME_OF)/bin/python -m pip --disable-pip-version-check $(LOCKED) $(PIP_ARGS) -r requirements.lock
	rm -rf build
	umask 022; $(HOME_OF)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation \
	  --no-index --force-reinstall .
	rm -rf build
	@# scripts name their interpreter: it will be where PREFIX says, without DESTDIR
	$(if $(DESTDIR),grep -rlIZ -- '$(HOME_OF)' $(HOME_OF)/bin $(HOME_OF)/pyvenv.cfg | xargs -0 -r sed -i 's|$(HOME_OF)|$(PREFIX)|g',:)

install-files:
	@echo "== unit files, user, folders, example configuration"
	install -d $(UNITS) $(DESTDIR)$(LIBDIR)/sysusers.d $(DESTDIR)$(LIBDIR)/tmpfiles.d $(DESTDIR)$(BINDIR)
	for unit in $(UNIT_FILES); do \
	  sed 's|/opt/gridwarden/|$(PREFIX)/|g' systemd/$$unit | install -m 644 /dev/stdin $(UNITS)/$$unit; \
	done
	for unit in gridwarden.service gridwarden@.service; do \
	  rm -f $(UNITS)/$$unit.d/backoff.conf; \
	  [ "$(BACKOFF)" != yes ] || install -D -m 644 systemd/backoff.conf $(UNITS)/$$unit.d/backoff.conf; \
	done
	install -m 644 systemd/gridwarden.sysusers $(DESTDIR)$(LIBDIR)/sysusers.d/gridwarden.conf
	install -m 644 systemd/gridwarden.tmpfiles $(DESTDIR)$(LIBDIR)/tmpfiles.d/gridwarden.conf
	ln -sfn $(PREFIX)/bin/gridwarden $(DESTDIR)$(BINDIR)/gridwarden
	$(if $(DESTDIR),install -d -m 750 $(ETC) $(STATE) $(CACHE),systemd-sysusers $(LIBDIR)/sysusers.d/gridwarden.conf)
	$(if $(DESTDIR),:,systemd-tmpfiles --create $(LIBDIR)/tmpfiles.d/gridwarden.conf)
	[ -e $(ETC)/gridwarden.toml ] || \
	  $(GRIDWARDEN) config init $(ETC)/gridwarden.toml --store /var/lib/gridwarden/gridwarden.db
	$(if $(DESTDIR),:,chgrp gridwarden $(ETC)/gridwarden.toml)
	$(if $(LIVE),systemctl daemon-reload,:)

# Machine code belongs to one processor and one path: with DESTDIR the first start makes it. It is kept twice, for
# the service and for root's own commands; a run over the bundled captures uses what a daemon uses.
install-kernels:
ifeq ($(DESTDIR),)
	@echo "== kernels (one to three minutes the first time)"
	cd / && work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && export CACHE_DIRECTORY=$(CACHE) PATH=/usr/bin:/bin && \
	if $(HOME_OF)/bin/python -c 'import sys; from sensor.jit import compiled_before as b; sys.exit(not b())'; then \
	  echo "compiled before"; \
	else \
	  $(HOME_OF)/bin/gridwarden demo --out "$$work" > /dev/null; \
	  demo=$$($(HOME_OF)/bin/python -c 'import sensor; print(sensor.__path__[0])')/data/demo; \
	  printf '[site]\nname = "x"\nbaseline = "station.baseline"\n[[source]]\ncaptures = ["%s/bad_day.pcap.gz"]\n' \
	    "$$demo" > "$$work/x.toml"; \
	  $(HOME_OF)/bin/gridwarden run -c "$$work/x.toml" 2> /dev/null; \
	  cp -a $(CACHE)/kernels-* "$$(dirname "$$demo")/../__pycache__/"; \
	  chown -R gridwarden:gridwarden $(CACHE); \
	fi
endif

uninstall:
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" = 0 ] || { echo "Run: sudo make uninstall (or give DESTDIR)"; exit 1; }
	$(if $(LIVE),systemctl disable --now gridwarden.service 2>/dev/null || true,:)
	$(if $(LIVE),systemctl stop 'gridwarden@*.service' 'gridwarden-detect@*.path' 'gridwarden-detect@*.service' || true,:)
	for unit in $(UNIT_FILES); do rm -f $(UNITS)/$$unit; rm -f $(UNITS)/$$unit.d/backoff.conf; rmdir $(UNITS)/$$unit.d 2>/dev/null || true; done
	rm -f $(DESTDIR)$(LIBDIR)/sysusers.d/gridwarden.conf $(DESTDIR)$(LIBDIR)/tmpfiles.d/gridwarden.conf
	@# of enabled sites only the links are left
	rm -f $(addprefix $(DESTDIR)/etc/systemd/system/multi-user.target.wants/,gridwarden@*.service gridwarden-detect@*.path)
	[ ! -L $(DESTDIR)$(BINDIR)/gridwarden ] || rm -f $(DESTDIR)$(BINDIR)/gridwarden
	[ ! -f $(HOME_OF)/pyvenv.cfg ] || rm -rf $(HOME_OF)
	rm -rf $(CACHE)
	$(if $(LIVE),systemctl daemon-reload,:)
	@if [ "$(PURGE)" = 1 ]; then \
	  rm -rf $(ETC) $(STATE); \
	  $(if $(DESTDIR),:,! id gridwarden >/dev/null 2>&1 || userdel gridwarden); \
	else \
	  echo "kept: $(ETC), $(STATE) and the user gridwarden (PURGE=1 removes them)"; \
	fi
