"""The tables of a cache file, and the migrations from older versions."""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "MIGRATIONS"]

APPLICATION_ID = 0x62756672
"""The application id in the file's header: ``bufr``."""

_TABLES = """
CREATE TABLE entries (
  place INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  variant BLOB NOT NULL,
  route TEXT NOT NULL,
  url TEXT NOT NULL,
  url_hash INTEGER NOT NULL,
  born_at REAL NOT NULL,
  responded_at REAL NOT NULL,
  fresh_until REAL NOT NULL,
  keep_until REAL NOT NULL,
  size_bytes INTEGER NOT NULL,
  body_bytes INTEGER NOT NULL,
  coding INTEGER NOT NULL,
  head BLOB NOT NULL,
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_key ON entries (key, variant);
CREATE INDEX entries_url ON entries (url_hash);
CREATE INDEX entries_route ON entries (route, responded_at);
CREATE INDEX entries_stored ON entries (responded_at);
CREATE INDEX entries_fresh ON entries (fresh_until, route);
CREATE INDEX entries_keep ON entries (keep_until);

-- Apart from the entries, so that a use does not write an entry's body anew.
CREATE TABLE uses (place INTEGER PRIMARY KEY, used_at REAL NOT NULL);
CREATE INDEX uses_order ON uses (used_at, place);

CREATE TABLE tags (tag TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (tag, place))
WITHOUT ROWID;
CREATE INDEX tags_place ON tags (place);

-- What is counted of a route. `expired` are entries that are stale at
-- state.expired_upto; fresh_ms is the sum of fresh_until of all others.
CREATE TABLE totals (
  route TEXT PRIMARY KEY,
  entries INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  fresh_ms INTEGER NOT NULL DEFAULT 0,
  evicted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  salt BLOB NOT NULL,
  expired_upto REAL NOT NULL
);
INSERT INTO state VALUES (1, randomblob(32), 0);
"""

_MS = "CAST(min({row}.fresh_until, 4e9) * 1000 AS INTEGER)"


def _counted(row: str, sign: str) -> str:
    """Add a row to its route's totals, or subtract it."""
    expired = f"{row}.fresh_until <= (SELECT expired_upto FROM state)"  # noqa: S608  # fixed names
    return f"""
  UPDATE totals SET
    entries = entries {sign} 1,
    bytes = bytes {sign} {row}.size_bytes,
    expired = expired {sign} ({expired}),
    fresh_ms = fresh_ms {sign} iif({expired}, 0, {_MS.format(row=row)})
  WHERE route = {row}.route;"""  # noqa: S608  # as above


_TRIGGERS = f"""
CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
  INSERT INTO totals (route) VALUES (NEW.route) ON CONFLICT DO NOTHING;{_counted("NEW", "+")}
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN{_counted("OLD", "-")}
  DELETE FROM uses WHERE place = OLD.place;
  DELETE FROM tags WHERE place = OLD.place;
END;
CREATE TRIGGER entry_changed AFTER UPDATE ON entries BEGIN
  INSERT INTO totals (route) VALUES (NEW.route) ON CONFLICT DO NOTHING;{_counted("OLD", "-")}
{_counted("NEW", "+")}
END;
"""  # noqa: S608  # as above

MIGRATIONS: tuple[str, ...] = (_TABLES + _TRIGGERS,)
"""The scripts that create version 1 from an empty file, version 2 from version 1, and so on."""
