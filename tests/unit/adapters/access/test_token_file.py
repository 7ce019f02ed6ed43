"""The first start creates the token file, once, and only its owner can read it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.access.token_file import TokenFileError, ensure_token, read, read_or_create, token_path
from adapters.settings import DatabaseSettings, Role, Secret, ServerSettings, Settings, SpoolSettings, TokenSettings

ROOT = Path(__file__).parents[4]


def settings(folder: Path, **more: object) -> Settings:
    return Settings(database=DatabaseSettings(url=f"sqlite:///{folder}/tally.db"), **more)  # type: ignore[arg-type]


def test_it_stands_beside_the_ledger(tmp_path: Path) -> None:
    assert token_path(Settings()) == Path("var/tally.token")
    assert token_path(Settings(database=DatabaseSettings(url="sqlite:////srv/ledger"))) == Path("/srv/ledger.token")
    assert token_path(Settings(database=DatabaseSettings(url="sqlite:////srv/x.token"))) == Path("/srv/x.token.token")


def test_for_postgresql_it_stands_beside_the_ledgers_spool() -> None:
    one, other = (
        token_path(Settings(database=DatabaseSettings(url=f"postgresql://u:p@db/{name}"), spool=SpoolSettings(folder="/srv/spool")))
        for name in "ab"
    )
    assert one != other
    assert one.parent == other.parent == Path("/srv/spool")
    assert one.suffix == ".token"


def test_it_is_made_for_its_owner_alone_whatever_the_umask_and_kept(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = read_or_create(tmp_path / "new" / "tally.token")
    finally:
        os.umask(old)
    again = read_or_create(made.path)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert (made.is_new, again.is_new, read(made.path).token) == (True, False, made.token)
    assert made.token == again.token
    assert made.path.read_text() == f"{made.token.token.reveal()}\n"
    assert made.token.role is Role.ADMIN


def test_it_is_made_only_where_it_is_needed(tmp_path: Path) -> None:
    configured = TokenSettings(name="ops", role=Role.VIEWER, token=Secret("0123456789abcdef"))
    for given in (settings(tmp_path, tokens=(configured,)), settings(tmp_path, server=ServerSettings(open_desk=True))):
        assert ensure_token(given) == (given, None)
    assert list(tmp_path.iterdir()) == []
    had, kept = ensure_token(settings(tmp_path))
    assert kept is not None
    assert had.tokens == (kept.token,)


def test_processes_that_start_at_once_have_the_same_token(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from adapters.access.token_file import read_or_create; sys.stdin.readline(); "
    script += "k = read_or_create(Path(sys.argv[1])); print(k.is_new, k.token.token.reveal())"
    command = [sys.executable, "-c", script, str(tmp_path / "tally.token")]
    racing = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
    for each in racing:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [each.communicate(timeout=60)[0].split() for each in racing]
    assert sorted(is_new for is_new, _ in told) == ["False", "False", "False", "True"]
    assert len({token for _, token in told}) == 1


def test_what_a_crash_left_empty_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "tally.token"
    path.touch(0o600)
    assert read_or_create(path).is_new


def test_a_file_that_others_could_read_is_closed_and_told_of(tmp_path: Path) -> None:
    made = read_or_create(tmp_path / "tally.token")
    made.path.chmod(0o644)
    found = read_or_create(made.path)
    assert (found.was_exposed, found.token) == (True, made.token)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert not read_or_create(made.path).was_exposed


@pytest.mark.parametrize("text", ["", "short\n", "a" * 21 + "\n", "two words of which none is a token\n", "\u00e9" * 30])
def test_a_file_without_a_token_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tally.token"
    path.write_text(text)
    with pytest.raises(TokenFileError, match=r"tally\.token contains no token: delete it"):
        read(path)


def test_a_link_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tally.token"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenFileError, match="symbolic link"):
        read_or_create(path)
    assert not (tmp_path / "elsewhere").exists()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TokenFileError, match="must be a regular file"):
        read_or_create(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(TokenFileError, match="must be a regular file"):
        read_or_create(path)


def test_a_folder_that_cannot_be_written_is_named_with_what_would_help(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TokenFileError, match=r"cannot be saved in .*/file/tally\.token: .*configure \[\[tokens\]\]"):
        read_or_create(tmp_path / "file" / "tally.token")


def test_before_the_first_start_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="the first `tally up`"):
        read(tmp_path / "tally.token")
