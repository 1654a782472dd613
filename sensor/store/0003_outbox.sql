-- The outbox: rows are not copied, they carry the number of their last change, and each sink has a cursor.
-- Numbers grow by one with every insert and every real update; writers are serialised by SQLite, so numbers
-- become visible in order and a cursor never passes over a row that is still being written.
-- Triggers, because every row is due whoever writes it.

CREATE TABLE change_counter (last INTEGER NOT NULL) STRICT;
INSERT INTO change_counter VALUES (0);

ALTER TABLE alerts ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN levels_had INTEGER NOT NULL DEFAULT 0;    -- bit per level it ever had
ALTER TABLE alerts ADD COLUMN stamp REAL NOT NULL DEFAULT 0;            -- start when first written; never moves
ALTER TABLE alerts ADD COLUMN at_ns INTEGER;                            -- time of its point in a time series
ALTER TABLE incidents ADD COLUMN at_ns INTEGER;                         -- database: near its stamp, of no other
ALTER TABLE incidents ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN levels_had INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN stamp REAL NOT NULL DEFAULT 0;
ALTER TABLE samples ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE samples ADD COLUMN early INTEGER NOT NULL DEFAULT 0;        -- 1: early warning or health

-- What was there before gets its numbers by time.
UPDATE alerts SET levels_had = 1 << level, stamp = start, change = numbered.n
FROM (SELECT rowid AS key, row_number() OVER (ORDER BY start, id) AS n FROM alerts) AS numbered
WHERE alerts.rowid = numbered.key;
UPDATE incidents SET levels_had = 1 << level, stamp = start, change = numbered.n
FROM (SELECT rowid AS key, row_number() OVER (ORDER BY start, id) AS n FROM incidents) AS numbered
WHERE incidents.rowid = numbered.key;
UPDATE samples SET change = numbered.n, early = numbered.e
FROM (
    SELECT samples.series AS s, samples.ts AS t, row_number() OVER (ORDER BY samples.ts, samples.series) AS n,
        series.name IN ('level', 'score', 'trend') OR series.name GLOB 'margin*'
        OR series.name GLOB 'health.*' OR series.name GLOB 'asset.*' AS e
    FROM samples JOIN series ON series.id = samples.series
) AS numbered
WHERE samples.series = numbered.s AND samples.ts = numbered.t;
UPDATE change_counter SET last = (
    SELECT max(n) FROM (
        SELECT count(*) AS n FROM alerts UNION ALL SELECT count(*) FROM incidents UNION ALL SELECT count(*) FROM samples
    )
);

CREATE INDEX alerts_due ON alerts (level, change);
CREATE INDEX incidents_due ON incidents (level, change);
CREATE UNIQUE INDEX alerts_at ON alerts (at_ns) WHERE at_ns IS NOT NULL;
CREATE UNIQUE INDEX incidents_at ON incidents (at_ns) WHERE at_ns IS NOT NULL;
CREATE INDEX samples_due ON samples (early, change);

CREATE TRIGGER alerts_new AFTER INSERT ON alerts BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE alerts SET change = (SELECT last FROM change_counter), levels_had = 1 << NEW.level, stamp = NEW.start
    WHERE rowid = NEW.rowid;
END;

CREATE TRIGGER alerts_changed AFTER UPDATE OF
    incident, start, end, level, reading, detector, rule, technique, protocol, src, dst, kind, point, summary,
    expected, observed, p_value, count, frames, readings ON alerts
WHEN (OLD.incident, OLD.start, OLD.end, OLD.level, OLD.reading, OLD.detector, OLD.rule, OLD.technique,
      OLD.protocol, OLD.src, OLD.dst, OLD.kind, OLD.point, OLD.summary, OLD.expected, OLD.observed, OLD.p_value,
      OLD.count, OLD.frames, OLD.readings)
  IS NOT (NEW.incident, NEW.start, NEW.end, NEW.level, NEW.reading, NEW.detector, NEW.rule, NEW.technique,
      NEW.protocol, NEW.src, NEW.dst, NEW.kind, NEW.point, NEW.summary, NEW.expected, NEW.observed, NEW.p_value,
      NEW.count, NEW.frames, NEW.readings)
BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE alerts SET change = (SELECT last FROM change_counter), levels_had = OLD.levels_had | (1 << NEW.level)
    WHERE rowid = NEW.rowid;
END;

CREATE TRIGGER incidents_new AFTER INSERT ON incidents BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE incidents SET change = (SELECT last FROM change_counter), levels_had = 1 << NEW.level, stamp = NEW.start
    WHERE rowid = NEW.rowid;
END;

CREATE TRIGGER incidents_changed AFTER UPDATE OF
    start, end, level, reading, summary, hosts, protocols, alerts ON incidents
WHEN (OLD.start, OLD.end, OLD.level, OLD.reading, OLD.summary, OLD.hosts, OLD.protocols, OLD.alerts)
  IS NOT (NEW.start, NEW.end, NEW.level, NEW.reading, NEW.summary, NEW.hosts, NEW.protocols, NEW.alerts)
BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE incidents SET change = (SELECT last FROM change_counter), levels_had = OLD.levels_had | (1 << NEW.level)
    WHERE rowid = NEW.rowid;
END;

CREATE TRIGGER samples_new AFTER INSERT ON samples BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE samples SET change = (SELECT last FROM change_counter), early = (
        SELECT name IN ('level', 'score', 'trend') OR name GLOB 'margin*' OR name GLOB 'health.*'
            OR name GLOB 'asset.*'
        FROM series WHERE id = NEW.series
    )
    WHERE series = NEW.series AND ts = NEW.ts;
END;

CREATE TRIGGER samples_changed AFTER UPDATE OF value ON samples WHEN OLD.value IS NOT NEW.value BEGIN
    UPDATE change_counter SET last = last + 1;
    UPDATE samples SET change = (SELECT last FROM change_counter) WHERE series = NEW.series AND ts = NEW.ts;
END;

CREATE TABLE sink_lanes (
    lane TEXT NOT NULL,              -- 'alerts alarm' ... 'incidents info', 'levels', 'samples'
    sink TEXT NOT NULL,              -- name in the configuration
    position INTEGER NOT NULL,       -- last change that was sent, set aside or given up
    sent INTEGER NOT NULL,           -- rows so far
    PRIMARY KEY (lane, sink)
) STRICT, WITHOUT ROWID;

CREATE TABLE sink_given_up (
    sink TEXT NOT NULL,
    lane TEXT NOT NULL,
    reason TEXT NOT NULL,            -- 'age', 'bytes', 'retention', 'labels'
    rows INTEGER NOT NULL,
    reported INTEGER NOT NULL,       -- of these, how many an alert has told already
    last REAL NOT NULL,              -- wall clock
    PRIMARY KEY (sink, lane, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    sink TEXT NOT NULL,
    lane TEXT NOT NULL,
    change INTEGER NOT NULL,
    ident TEXT NOT NULL,             -- alert or incident id, or series and time
    reason TEXT NOT NULL,            -- what the sink answered
    record TEXT NOT NULL,            -- JSON, as it would have been sent
    written REAL NOT NULL,           -- wall clock
    UNIQUE (sink, lane, change)
) STRICT;

-- Every few minutes: up to which change was written by when, on a clock that jumps of the wall clock do not move.
CREATE TABLE sink_marks (
    sink TEXT NOT NULL,
    change INTEGER NOT NULL,
    clock REAL NOT NULL,
    wall REAL NOT NULL,
    PRIMARY KEY (sink, change)
) STRICT, WITHOUT ROWID;

-- Labels that may become tag values of a time series database; bounded, so that its series are.
CREATE TABLE sink_labels (
    sink TEXT NOT NULL,
    label TEXT NOT NULL,
    PRIMARY KEY (sink, label)
) STRICT, WITHOUT ROWID;

-- Retention may delete what a sink never got; that is told per sink as well.
CREATE TRIGGER alerts_unsent AFTER DELETE ON alerts BEGIN
    INSERT INTO sink_given_up
    SELECT sink, lane, 'retention', 1, 0, (julianday('now') - 2440587.5) * 86400.0 FROM sink_lanes
    WHERE position < OLD.change
      AND lane = 'alerts ' || CASE OLD.level WHEN 0 THEN 'info' WHEN 1 THEN 'notice' WHEN 2 THEN 'warning' ELSE 'alarm' END
    ON CONFLICT DO UPDATE SET rows = rows + 1, last = excluded.last;
END;

CREATE TRIGGER incidents_unsent AFTER DELETE ON incidents BEGIN
    INSERT INTO sink_given_up
    SELECT sink, lane, 'retention', 1, 0, (julianday('now') - 2440587.5) * 86400.0 FROM sink_lanes
    WHERE position < OLD.change
      AND lane = 'incidents ' || CASE OLD.level WHEN 0 THEN 'info' WHEN 1 THEN 'notice' WHEN 2 THEN 'warning' ELSE 'alarm' END
    ON CONFLICT DO UPDATE SET rows = rows + 1, last = excluded.last;
END;

CREATE TRIGGER samples_unsent AFTER DELETE ON samples BEGIN
    INSERT INTO sink_given_up
    SELECT sink, lane, 'retention', 1, 0, (julianday('now') - 2440587.5) * 86400.0 FROM sink_lanes
    WHERE position < OLD.change AND lane = iif(OLD.early, 'levels', 'samples')
    ON CONFLICT DO UPDATE SET rows = rows + 1, last = excluded.last;
END;
