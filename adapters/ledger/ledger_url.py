"""Reads urls of ledgers."""

import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url

#: As libpq takes it, with several hosts: `postgresql://user:password@a:5432,b:5432/name` (PostgreSQL 34.1.1.3).
_SEVERAL_HOSTS = re.compile(r"(postgresql(?:\+psycopg)?://(?:[^/?]*@)?)([^/?@]*,[^/?@]*)([/?].*)?", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite ledger; None for any other."""
    parsed = _parsed_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "tally.db")


def without_password(url: str) -> str:
    """The url as it may be shown. Drivers take passwords among the options, too."""
    parsed = _parsed_url(url)
    options = {name: "hidden" for name in parsed.query if "password" in name}
    shown = parsed.update_query_dict(options)
    listed = _SEVERAL_HOSTS.fullmatch(url)
    return (shown if listed is None else shown.set(host=listed[2])).render_as_string(hide_password=True)


def driver_url(url: str) -> URL:
    """The url with the driver that is used; without hosts where there are several: see `hosts_of`."""
    parsed = _parsed_url(url)
    return parsed if parsed.get_backend_name() == "sqlite" else parsed.set(drivername="postgresql+psycopg")


def hosts_of(url: str) -> Mapping[str, str]:
    """Of a url with several hosts, libpq's `host` and `port`, each a list with commas; empty for any other.

    Raises ValueError for a host or a port that can be none.
    """
    listed = _SEVERAL_HOSTS.fullmatch(url)
    if listed is None:
        return {}
    found = [_HOST.fullmatch(each) for each in listed[2].split(",")]
    hosts = [each[1].strip("[]") if each else "" for each in found]
    ports = [int(each[2] or 5432) if each else 0 for each in found]
    if not all(hosts) or not all(0 < port < 65536 for port in ports):
        raise ValueError("each host must be NAME or NAME:PORT")
    return {"host": ",".join(hosts), "port": ",".join(map(str, ports))}


def _parsed_url(url: str) -> URL:
    """SQLAlchemy takes no list of hosts with ports."""
    listed = _SEVERAL_HOSTS.fullmatch(url)
    return make_url(url if listed is None else f"{listed[1]}{listed[3] or ''}")
