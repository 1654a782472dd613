-- What an alert is about in the words of the detectors, so that a person can accept exactly that.

ALTER TABLE alerts ADD COLUMN scope TEXT NOT NULL DEFAULT '{}';  -- JSON: conv, group, pair, items, observed
