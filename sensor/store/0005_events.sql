-- Disturbances of a known kind, which are no alerts; and which of them explains an alert.

CREATE TABLE events (
    id TEXT PRIMARY KEY,
    what TEXT NOT NULL,              -- reconnect, interrogation, switch-over, standby, state-change, pause
    start REAL NOT NULL,             -- capture time
    end REAL NOT NULL,
    summary TEXT NOT NULL,
    hosts TEXT NOT NULL,             -- JSON list of addresses
    protocols TEXT NOT NULL,         -- JSON list
    level INTEGER NOT NULL,          -- as alerts.level; always 0, info
    explained TEXT NOT NULL          -- JSON: rule to number of findings
) STRICT;

CREATE INDEX events_by_start ON events (start);

ALTER TABLE alerts ADD COLUMN event TEXT NOT NULL DEFAULT '';  -- id of the event that explains it
