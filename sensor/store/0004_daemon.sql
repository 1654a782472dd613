-- What a daemon of years keeps beside the results of single runs. Times as in step 1.

CREATE TABLE marks (
    name TEXT PRIMARY KEY,           -- 'clean': 1 after an orderly end
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE alert_life (
    alert TEXT PRIMARY KEY REFERENCES alerts (id) ON DELETE CASCADE,
    open INTEGER NOT NULL,           -- 1: may still grow
    fold TEXT NOT NULL,              -- JSON: what lets an open alert grow on after a restart; "" once closed
    opened REAL NOT NULL,            -- wall clock of the first write
    updated REAL NOT NULL            -- wall clock of the last write
) STRICT;

CREATE INDEX alert_life_open ON alert_life (open) WHERE open = 1;

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert TEXT NOT NULL,             -- not a reference: the trail outlives the alert
    what TEXT NOT NULL,              -- acknowledged, accepted, rejected
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at REAL NOT NULL                 -- wall clock
) STRICT;

CREATE INDEX decisions_by_alert ON decisions (alert, id);

CREATE TABLE levels (
    scope TEXT NOT NULL,             -- site, asset, conversation
    protocol TEXT NOT NULL,          -- "" for sites and assets
    name TEXT NOT NULL,              -- site, address, or conversation as in series
    level INTEGER NOT NULL,          -- 0 normal, 1 notice, 2 warning, 3 alarm
    score REAL,                      -- 0 normal to 1, smoothed
    trend REAL,                      -- short mean of the score less the long one: above 0 it gets worse
    since REAL NOT NULL,             -- capture time at which the level began
    ts REAL NOT NULL,                -- capture time of the last window
    cause TEXT NOT NULL,             -- rule of the alert that holds the level up, 'score', or ""
    PRIMARY KEY (scope, protocol, name)
) STRICT;

CREATE TABLE links (
    protocol TEXT NOT NULL,
    name TEXT NOT NULL,              -- conversation as in series
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    first REAL NOT NULL,             -- capture time of the first and the last window in which it spoke
    last REAL NOT NULL,
    messages INTEGER NOT NULL,       -- since first
    silent INTEGER NOT NULL,         -- 1: not heard for longer than warning.silent_after
    PRIMARY KEY (protocol, name)
) STRICT;

CREATE TABLE asset_health (
    address TEXT PRIMARY KEY,
    first REAL NOT NULL,
    last REAL NOT NULL,
    silent INTEGER NOT NULL
) STRICT;

CREATE TABLE health (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ts REAL NOT NULL,                -- wall clock; the row itself is the heartbeat
    source TEXT NOT NULL,            -- interface or capture; "" the sensor as a whole
    state TEXT NOT NULL,             -- ok, behind, blind, degraded, stopping, stopped
    fields TEXT NOT NULL             -- JSON map of numbers; names in docs/daemon.md
) STRICT;

CREATE INDEX health_by_time ON health (ts);
CREATE INDEX health_by_source ON health (source, id);
