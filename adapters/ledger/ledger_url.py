"""Parses ledger URLs (`database.url`)."""

import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url

#: A URL with several hosts, as libpq accepts it: `postgresql://user:password@a:5432,b:5432/name` (PostgreSQL 34.1.1.3).
_SEVERAL_HOSTS = re.compile(r"(postgresql(?:\+psycopg)?://(?:[^/?]*@)?)([^/?@]*,[^/?@]*)([/?].*)?", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


def sqlite_path(url: str) -> Path | None:
    """Returns the file of a SQLite ledger; None for any other."""
    parsed = _parsed_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "tally.db")


def without_password(url: str) -> str:
    """Returns the URL with passwords hidden, also those among the driver's options."""
    parsed = _parsed_url(url)
    options = {name: "hidden" for name in parsed.query if "password" in name}
    shown = parsed.update_query_dict(options)
    listed = _SEVERAL_HOSTS.fullmatch(url)
    return (shown if listed is None else shown.set(host=listed[2])).render_as_string(hide_password=True)


def driver_url(url: str) -> URL:
    """Returns the URL with the driver in use. It has no host where several are listed: see `hosts_of`."""
    parsed = _parsed_url(url)
    return parsed if parsed.get_backend_name() == "sqlite" else parsed.set(drivername="postgresql+psycopg")


def hosts_of(url: str) -> Mapping[str, str]:
    """Returns libpq's `host` and `port`, comma-separated, for a URL with several hosts; empty for any other.

    Raises ValueError for an invalid host or port.
    """
    listed = _SEVERAL_HOSTS.fullmatch(url)
    if listed is None:
        return {}
    matches = [_HOST.fullmatch(part) for part in listed[2].split(",")]
    hosts = [match[1].strip("[]") if match else "" for match in matches]
    ports = [int(match[2] or 5432) if match else 0 for match in matches]
    if not all(hosts) or not all(0 < port < 65536 for port in ports):
        raise ValueError("each host must be NAME or NAME:PORT")
    return {"host": ",".join(hosts), "port": ",".join(map(str, ports))}


def _parsed_url(url: str) -> URL:
    """Parses the URL without its hosts where there are several: SQLAlchemy accepts no list of hosts with ports."""
    listed = _SEVERAL_HOSTS.fullmatch(url)
    return make_url(url if listed is None else f"{listed[1]}{listed[3] or ''}")
