"""The command line: puts the rooms together.

Each subcommand reads the settings, opens what it needs, and closes it again; nothing is opened by importing a module.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from adapters.access import curl as curl_command
from adapters.access import login_link, token_file, tokens
from adapters.access.curl import CurlError
from adapters.access.token_file import TokenFileError
from adapters.clock import now_ms, parse_rfc3339
from adapters.ledger import Ledger, LedgerUnavailableError, callbacks, inbox
from adapters.ledger.backup import BackupError, require_no_backup
from adapters.ledger.backup_command import begin_epoch, run_backup, run_restore
from adapters.ledger.engine import without_password
from adapters.ledger.migrate import SchemaError, require_current, upgrade
from adapters.ledger.process_locks import AlreadyServedError
from adapters.ledger.restore import finish_interrupted
from adapters.logs import configure, logger
from adapters.process.listening_sockets import ListenError
from adapters.process.standard_streams import discard_output, is_output_error, reserve_standard_descriptors
from adapters.process.terminal import print_lines
from adapters.settings import Role, Settings, SettingsError, load
from adapters.settings.values import STRONG_TOKEN_LENGTH
from adapters.settings.warnings import warnings_of
from adapters.spool import ledger_folder
from adapters.vendors import DIALECTS
from adapters.vendors.registry import vendor_names
from callbacks.explain import explain_task, find_tasks
from serving import serve_web, serve_workers
from simulator import command as simulator
from statemachine.states import Verdict

#: A subcommand: what was asked and the settings in, the exit status out.
Command = Callable[[argparse.Namespace, Settings], int]
#: By whether plain http is allowed.
_SCHEMES = {False: ", over https", True: ", over https and plain http"}
#: For a bad configuration, and for wrong usage.
BAD_USAGE = 2

log = logger("tally")


def main(argv: Sequence[str] | None = None, sockets: Sequence[socket.socket] = ()) -> int:
    """Runs one subcommand; its exit status. 2: the configuration or the usage is bad, 1: it did not work.

    sockets: on which a server is to listen; without any it opens its own.
    """
    reserve_standard_descriptors()
    try:
        try:
            return _run(argv, sockets)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not is_output_error(error):
            raise
        return discard_output(error)


def _run(argv: Sequence[str] | None, sockets: Sequence[socket.socket]) -> int:
    options = _options(sys.argv[1:] if argv is None else argv)
    options.sockets = sockets
    command: Command = options.command
    if command in (token, simulate):  # these need no configuration; one without tokens may be why `token` is called
        return command(options, Settings())
    configure()
    try:
        settings = _settings(options)
    except SettingsError as error:
        print_lines("tally: the configuration is not good", *str(error).split("\n"), file=sys.stderr)
        return BAD_USAGE
    try:
        return command(options, settings)
    except CurlError as error:
        print_lines(f"tally: {error}", file=sys.stderr)
        return BAD_USAGE
    except (SchemaError, AlreadyServedError, LedgerUnavailableError, ListenError, BackupError, TokenFileError) as error:
        print_lines(*f"tally: {error}".split("\n"), file=sys.stderr)
        return 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """curl's own options are many, and argparse would take them for bad ones of ours."""
    if arguments[:1] != ["curl"]:
        return parser().parse_args(arguments)
    options = curl_command.parse_arguments(arguments[1:])
    options.command = curl
    return options


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="tally", description="Follows the stream tasks that RTC clouds run for you.")
    top.add_argument("--version", action="version", version=f"tally {version('tallylight')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _serving(commands, "up", up, "web and workers in one process; migrates first. The embedded default: SQLite, no other server")
    _serving(commands, "web", web, "the door and the desk alone; the workers run as `tally work`")
    _add(commands, "work", work, "the workers alone")
    db_ = _add(commands, "db", db, "the ledger's schema, and its epoch")
    about_db = (
        "upgrade: run the migrations that are missing, under a lock. new-epoch: after a restore by other means than `tally restore`"
    )
    db_.add_argument("what", choices=["upgrade", "new-epoch"], help=about_db)
    backup_ = _add(commands, "backup", backup, "copy a SQLite ledger into one file, while it is served")
    backup_.add_argument("file", type=Path, metavar="FILE", help="an earlier backup there is replaced once the new one is whole")
    backup_.add_argument("--thorough", action="store_true", help="check the copy against its indices too (slower)")
    restore_ = _add(commands, "restore", restore, "make a ledger of a backup; what is there is moved aside")
    restore_.add_argument("file", type=Path, metavar="FILE", help="what `tally backup` made")
    restore_.add_argument("--replace", action="store_true", help="move a ledger aside that ended without closing, with its log")
    restore_.add_argument("--with-wal", action="store_true", help="FILE was copied with its own -wal: take that in")
    _add(commands, "check", check, "is this configuration good? Prints what it says, without secrets")
    explain_ = _add(commands, "explain", explain, "a task's story as text")
    explain_.add_argument("task", metavar="TASK", help="its id, or any id of the vendor, whole or its beginning")
    _replay_options(_add(commands, "replay", replay, "read and decide recorded callbacks again"))
    _add(commands, "curl", curl, curl_command.ABOUT)
    _at_server(_add(commands, "link", link, "print a link that logs a browser in to the board: once, within ten minutes"))
    _add(commands, "token", token, "make a new random token for [[tokens]]")
    about = "a fake vendor: takes the signed API calls of both vendors and sends signed callbacks"
    simulated = commands.add_parser("simulate", help=about, description=about[0].upper() + about[1:] + ".")
    simulator.add_arguments(simulated)
    simulated.set_defaults(command=simulate)
    return top


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    about: str,
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    added.add_argument("--config", type=Path, metavar="FILE", help="default: TALLY_CONFIG, else ./tally.toml if it is there")
    added.set_defaults(command=command, host=None, port=None)
    return added


def _serving(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    about: str,
) -> None:
    added = _add(commands, name, command, about)
    _at_server(added, "; 0 takes a free one")
    meaning = "no token is needed: whoever reaches the port is admin; for a loopback address, and never behind a proxy"
    added.add_argument("--open-desk", action="store_const", const="true", help=meaning)


def _at_server(added: argparse.ArgumentParser, more: str = "") -> None:
    added.add_argument("--host", help="overrides server.host")
    added.add_argument("--port", help=f"overrides server.port{more}")


def _replay_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--callback", type=int, metavar="ID", help="this one only")
    options.add_argument("--vendor", choices=sorted(DIALECTS))
    options.add_argument("--verdict", choices=[verdict.value for verdict in Verdict])
    options.add_argument("--event-type")
    options.add_argument("--after", type=_time, metavar="TIME", help="received at or after this, RFC 3339")
    options.add_argument("--before", type=_time, metavar="TIME", help="received before this, RFC 3339")
    options.add_argument("--dry-run", action="store_true", help="only say how many")


def _time(text: str) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _settings(options: argparse.Namespace) -> Settings:
    names = ("host", "port", "open_desk")
    flags = {f"server.{name}": str(value) for name in names if (value := getattr(options, name, None)) is not None}
    return load(options.config, os.environ, vendors=vendor_names(), flags=flags)


def up(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open(settings)
    _upgrade(ledger)
    return serve_web(ledger, settings, options.sockets, with_workers=True)


def web(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open(settings)
    try:
        _require(ledger)
    except LedgerUnavailableError as error:
        if ledger.path is not None:
            raise
        log.warning("ledger.away", error=str(error))  # a server that will be back: until then the door spools
    return serve_web(ledger, settings, options.sockets, with_workers=False)


def work(options: argparse.Namespace, settings: Settings) -> int:
    return serve_workers(_existing(settings), settings)


def db(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open(settings)
    try:
        if options.what == "new-epoch":
            return begin_epoch(ledger)
        _upgrade(ledger)
    finally:
        ledger.close()
    return 0


def backup(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open(settings)
    return run_backup(ledger, options.file, ledger_folder(Path(settings.spool.folder), ledger.url), thorough=options.thorough)


def restore(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open(settings)
    spool = ledger_folder(Path(settings.spool.folder), ledger.url)
    return run_restore(ledger, options.file, spool, replace=options.replace, with_wal=options.with_wal)


def _open(settings: Settings) -> Ledger:
    about = settings.database
    ledger = Ledger(about.url, pool_size=about.pool_size, statement_timeout_s=about.statement_timeout_s)
    if ledger.path is not None:
        finish_interrupted(ledger.path.resolve())
    return ledger


def _existing(settings: Settings) -> Ledger:
    ledger = _open(settings)
    _require(ledger)
    return ledger


def _require(ledger: Ledger) -> None:
    """The ledger must be there and up to date: a mistyped path is not a new ledger.

    Raises SchemaError, LedgerUnavailableError.
    """
    if ledger.path is not None and not ledger.path.exists():
        raise SchemaError(f"there is no ledger at {ledger.path}: run `tally db upgrade` to make one")
    require_no_backup(ledger)
    require_current(ledger)


def _upgrade(ledger: Ledger) -> None:
    require_no_backup(ledger)
    before, after = upgrade(ledger)
    if before != after:
        log.info("db.upgraded", before=before, after=after)


def check(options: argparse.Namespace, settings: Settings) -> int:
    host = settings.server.host
    print_lines(f"server     http://{f'[{host}]' if ':' in host else host}:{settings.server.port}")
    print_lines(f"database   {without_password(settings.database.url)}")
    print_lines(f"queue      {'in process' if not settings.queue.url else 'redis'}")
    for app in settings.apps:
        account = f"account {app.account}" if app.account else "no account: it is followed, and cannot be asked or stopped"
        print_lines(f"app        {app.vendor} {app.app_id}: {len(app.callback_secrets)} callback secret(s), {account}")
    _print_tokens(settings)
    streams = settings.streams.url or settings.queue.url
    print_lines(f"streams    {'none: no subscription can write to Redis' if not streams else 'redis'}")
    print_lines(f"webhooks   {', '.join(('public addresses', *settings.outbound.allow))}{_SCHEMES[settings.outbound.allow_http]}")
    if not settings.apps:
        print_lines("no [[apps]]: every callback will be refused with 403")
    for warning in warnings_of(settings):
        print_lines(f"warning: {warning}")
    print_lines("good")
    return 0


def _print_tokens(settings: Settings) -> None:
    for each in settings.tokens:
        weak = "" if len(each.token) >= STRONG_TOKEN_LENGTH else "; short: `tally token` makes one that nobody guesses"
        print_lines(f"token      {each.name}: {each.role.value}{weak}")
    if settings.server.open_desk:
        print_lines("token      none (open desk): whoever is on this machine may do everything; never behind a proxy")
    elif not settings.tokens:
        print_lines(
            f"token      {token_file.LOCAL_NAME}: {Role.ADMIN.value}, in {token_file.token_path(settings)}, made by the first start"
        )


def explain(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _existing(settings)
    with ledger.read() as connection:
        found = find_tasks(connection, options.task)
        if len(found) == 1:
            print_lines(*explain_task(connection, found[0]).rstrip("\n").split("\n"))
            return 0
    for task in found:
        print_lines(f"{task.id}  {task.view.state.value:<12} {task.kind.value} run {task.run} of {task.key.vendor_task_id}")
    print_lines(f"tally: {'several tasks match; give one id' if found else f'no task is named {options.task}'}", file=sys.stderr)
    return 1


def replay(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _existing(settings)
    wanted = callbacks.CallbackFilter(
        vendor=options.vendor,
        verdict=options.verdict,
        event_type=options.event_type,
        received_after=options.after,
        received_before=options.before,
    )
    if options.callback is None and wanted == callbacks.CallbackFilter():
        print_lines("tally: say which: --callback, --verdict, --event-type, --vendor, --after or --before", file=sys.stderr)
        return BAD_USAGE
    chosen = _chosen(ledger, options.callback, wanted)
    if not options.dry_run:
        _post_replays(ledger, chosen)
    if options.callback is not None and not chosen:
        print_lines(f"tally: no callback has the id {options.callback}", file=sys.stderr)
        return 1
    print_lines(f"{len(chosen)} callback(s){' would be' if options.dry_run else ''} queued to be read again")
    return 0


def _chosen(ledger: Ledger, callback: int | None, wanted: callbacks.CallbackFilter) -> list[int]:
    with ledger.read() as connection:
        if callback is not None:
            return list(inbox.callback_rows(connection, [callback]))
        chosen: list[int] = []
        while more := callbacks.ids_after(connection, wanted, after=chosen[-1] if chosen else 0, limit=10_000):
            chosen += more
        return chosen


def _post_replays(ledger: Ledger, chosen: Sequence[int], at_once: int = 500) -> None:
    for start in range(0, len(chosen), at_once):
        now = now_ms()
        with ledger.write() as connection:
            inbox.post_replays(connection, chosen[start : start + at_once], now)


def simulate(options: argparse.Namespace, settings: Settings) -> int:
    return simulator.run(options)


def curl(options: argparse.Namespace, settings: Settings) -> int:
    return curl_command.run(settings, options.arguments, os.environ)


def link(options: argparse.Namespace, settings: Settings) -> int:
    print_lines(login_link.make_login_link(settings))
    return 0


def token(options: argparse.Namespace, settings: Settings) -> int:
    print_lines(tokens.generate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
