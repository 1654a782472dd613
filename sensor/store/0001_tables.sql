-- First layout. Times are epoch seconds UTC (REAL); NULL stands for NaN. Lists and maps are JSON text.

CREATE TABLE runs (
    id TEXT PRIMARY KEY,             -- digest of baseline, captures and time span: the same run again updates
    baseline TEXT NOT NULL,
    captures TEXT NOT NULL,          -- JSON list
    start REAL NOT NULL,
    end REAL NOT NULL,
    packets INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    malformed INTEGER NOT NULL,
    undecoded INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    notes TEXT NOT NULL,             -- JSON list
    engine TEXT NOT NULL,
    version TEXT NOT NULL,
    duration REAL,
    false_alarms_per_day REAL,
    written REAL NOT NULL            -- wall clock of the last write
) STRICT;

CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    run TEXT REFERENCES runs (id) ON DELETE SET NULL,
    start REAL NOT NULL,
    end REAL NOT NULL,
    level INTEGER NOT NULL,          -- 0 info, 1 notice, 2 warning, 3 alarm
    reading TEXT NOT NULL,
    summary TEXT NOT NULL,
    hosts TEXT NOT NULL,             -- JSON list
    protocols TEXT NOT NULL,         -- JSON list
    alerts TEXT NOT NULL             -- JSON list of alert ids
) STRICT;

CREATE INDEX incidents_by_time ON incidents (start);
CREATE INDEX incidents_by_run ON incidents (run);

CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    run TEXT REFERENCES runs (id) ON DELETE SET NULL,
    incident TEXT NOT NULL,          -- "" for none
    start REAL NOT NULL,
    end REAL NOT NULL,
    level INTEGER NOT NULL,          -- as in incidents
    reading TEXT NOT NULL,
    detector TEXT NOT NULL,
    rule TEXT NOT NULL,
    technique TEXT NOT NULL,
    protocol TEXT NOT NULL,
    src TEXT NOT NULL,
    dst TEXT NOT NULL,
    kind TEXT NOT NULL,
    point TEXT NOT NULL,
    summary TEXT NOT NULL,
    expected TEXT NOT NULL,
    observed TEXT NOT NULL,
    p_value REAL,                    -- NULL for a rule
    count INTEGER NOT NULL,
    frames TEXT NOT NULL,            -- JSON list, file index above bit 40
    readings TEXT NOT NULL           -- JSON map reading -> weight
) STRICT;

CREATE INDEX alerts_by_time ON alerts (start);
CREATE INDEX alerts_by_level ON alerts (level, start);
CREATE INDEX alerts_by_run ON alerts (run);
CREATE INDEX alerts_by_incident ON alerts (incident);

CREATE TABLE assets (
    id TEXT PRIMARY KEY,             -- MAC and first address
    mac TEXT NOT NULL,
    ip TEXT NOT NULL,                -- JSON list
    vendor TEXT NOT NULL,
    roles TEXT NOT NULL,             -- JSON list
    protocols TEXT NOT NULL,         -- JSON list
    first REAL NOT NULL,             -- earliest of all runs
    last REAL NOT NULL               -- latest of all runs
) STRICT;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    protocol TEXT NOT NULL,
    conversation TEXT NOT NULL,
    point TEXT NOT NULL,             -- "" unless the series is one point's values
    unit TEXT NOT NULL,
    low REAL,                        -- expected band of a point
    high REAL,
    UNIQUE (name, protocol, conversation, point, unit)
) STRICT;

CREATE TABLE samples (
    series INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    ts REAL NOT NULL,
    value REAL,                      -- NULL: not measured
    PRIMARY KEY (series, ts)
) STRICT, WITHOUT ROWID;

CREATE INDEX samples_by_time ON samples (ts);

CREATE TABLE given_up (
    what TEXT PRIMARY KEY,           -- table, and for alerts the level
    rows INTEGER NOT NULL,
    last REAL NOT NULL               -- wall clock of the last deletion
) STRICT;
