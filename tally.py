"""The command line of `tally`: the parser, and a function per subcommand.

Each subcommand reads the settings, opens what it needs, and closes it again; importing a module opens nothing. `serving` runs the
subcommands that serve.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

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

#: A subcommand: takes the options and the settings, returns the exit status.
Command = Callable[[argparse.Namespace, Settings], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
#: The schemes of webhooks as `check` prints them, by `outbound.allow_http`.
_SCHEMES = {False: ", over https", True: ", over https and plain http"}
#: The exit status for a bad configuration and for wrong usage.
BAD_USAGE = 2

log = logger("tally")


def main(argv: Sequence[str] | None = None, sockets: Sequence[socket.socket] = ()) -> int:
    """Runs one subcommand; returns its exit status. 2: the configuration or the usage is bad; 1: it failed.

    sockets: for a server to listen on; without any it opens its own.
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
    options = _parse_options(sys.argv[1:] if argv is None else argv)
    options.sockets = sockets
    command: Command = options.command
    if command in (token, simulate):  # these need no configuration: `token` may be called because it has no tokens yet
        return command(options, Settings())
    configure()
    try:
        settings = _load_settings(options)
    except SettingsError as error:
        print_lines("tally: the configuration has errors", *str(error).split("\n"), file=sys.stderr)
        return BAD_USAGE
    try:
        return command(options, settings)
    except CurlError as error:
        print_lines(f"tally: {error}", file=sys.stderr)
        return BAD_USAGE
    except (SchemaError, AlreadyServedError, LedgerUnavailableError, ListenError, BackupError, TokenFileError) as error:
        print_lines(*f"tally: {error}".split("\n"), file=sys.stderr)
        return 1


def _parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments; those of `curl` separately, because argparse would reject the options that are curl's own."""
    if arguments[:1] != ["curl"]:
        return parser().parse_args(arguments)
    options = curl_command.parse_arguments(arguments[1:])
    options.command = curl
    return options


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(prog="tally", description="Follows the stream tasks that RTC clouds run for you.")
    top.add_argument("--version", action="version", version=f"tally {version('tallylight')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_server(commands, "up", up, "run web and workers in one process; migrates first. All that a SQLite ledger needs")
    _add_server(commands, "web", web, "run door and desk alone; run the workers as `tally work`")
    _add_command(commands, "work", work, "run the workers alone")
    _add_ledger_commands(commands)
    _add_command(commands, "check", check, "check the configuration and print it, without secrets")
    explaining = _add_command(commands, "explain", explain, "print the history of a task")
    explaining.add_argument("task", metavar="TASK", help="its id, or any id of the vendor, whole or its beginning")
    _add_replay_options(_add_command(commands, "replay", replay, "process recorded callbacks again"))
    _add_command(commands, "curl", curl, curl_command.ABOUT)
    _add_address(_add_command(commands, "link", link, "print a link that logs a browser in to the board: once, within ten minutes"))
    _add_command(commands, "token", token, "print a new random token for [[tokens]]")
    about = "a fake vendor: answers the signed API calls of both vendors and sends signed callbacks"
    simulated = commands.add_parser("simulate", help=about, description=about[0].upper() + about[1:] + ".")
    simulator.add_arguments(simulated)
    simulated.set_defaults(command=simulate)
    return top


def _add_ledger_commands(commands: Commands) -> None:
    database = _add_command(commands, "db", db, "change the schema of the ledger, or its epoch")
    about = "upgrade: run the missing migrations, under a lock. new-epoch: after a restore by other means than `tally restore`"
    database.add_argument("action", choices=["upgrade", "new-epoch"], help=about)
    backing_up = _add_command(commands, "backup", backup, "copy a SQLite ledger into one file, while it is served")
    backing_up.add_argument("file", type=Path, metavar="FILE", help="an earlier backup is replaced once the new one is complete")
    backing_up.add_argument("--thorough", action="store_true", help="check the copy against its indexes too (slower)")
    restoring = _add_command(commands, "restore", restore, "restore a ledger from a backup; an existing ledger is moved aside")
    restoring.add_argument("file", type=Path, metavar="FILE", help="a file of `tally backup`")
    restoring.add_argument("--replace", action="store_true", help="also move aside a ledger that was not closed, with its -wal")
    restoring.add_argument("--with-wal", action="store_true", help="FILE was copied with its own -wal: use that too")


def _add_command(commands: Commands, name: str, command: Command, about: str) -> argparse.ArgumentParser:
    """Adds a subcommand that reads the configuration."""
    added = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    added.add_argument("--config", type=Path, metavar="FILE", help="default: TALLY_CONFIG, else ./tally.toml if it exists")
    added.set_defaults(command=command, host=None, port=None)
    return added


def _add_server(commands: Commands, name: str, command: Command, about: str) -> None:
    added = _add_command(commands, name, command, about)
    _add_address(added, "; 0: any free port")
    meaning = "require no token: every client that reaches the port is admin; only on a loopback address, never behind a proxy"
    added.add_argument("--open-desk", action="store_const", const="true", help=meaning)


def _add_address(added: argparse.ArgumentParser, more: str = "") -> None:
    added.add_argument("--host", help="overrides server.host")
    added.add_argument("--port", help=f"overrides server.port{more}")


def _add_replay_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--callback", type=int, metavar="ID", help="only this callback")
    options.add_argument("--vendor", choices=sorted(DIALECTS))
    options.add_argument("--verdict", choices=[verdict.value for verdict in Verdict])
    options.add_argument("--event-type")
    options.add_argument("--after", type=_parse_time, metavar="TIME", help="received at or after this, RFC 3339")
    options.add_argument("--before", type=_parse_time, metavar="TIME", help="received before this, RFC 3339")
    options.add_argument("--dry-run", action="store_true", help="only print how many")


def _parse_time(text: str) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _load_settings(options: argparse.Namespace) -> Settings:
    names = ("host", "port", "open_desk")
    flags = {f"server.{name}": str(value) for name in names if (value := getattr(options, name, None)) is not None}
    return load(options.config, os.environ, vendors=vendor_names(), flags=flags)


def up(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_ledger(settings)
    _upgrade_schema(ledger)
    return serve_web(ledger, settings, options.sockets, with_workers=True)


def web(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_ledger(settings)
    try:
        _require_current_ledger(ledger)
    except LedgerUnavailableError as error:
        if ledger.path is not None:
            raise
        log.warning("ledger.away", error=str(error))  # a database server may come back: until then the door spools
    return serve_web(ledger, settings, options.sockets, with_workers=False)


def work(options: argparse.Namespace, settings: Settings) -> int:
    return serve_workers(_open_current_ledger(settings), settings)


def db(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_ledger(settings)
    try:
        if options.action == "new-epoch":
            return begin_epoch(ledger)
        _upgrade_schema(ledger)
    finally:
        ledger.close()
    return 0


def backup(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_ledger(settings)
    return run_backup(ledger, options.file, ledger_folder(Path(settings.spool.folder), ledger.url), thorough=options.thorough)


def restore(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_ledger(settings)
    spool = ledger_folder(Path(settings.spool.folder), ledger.url)
    return run_restore(ledger, options.file, spool, replace=options.replace, with_wal=options.with_wal)


def _open_ledger(settings: Settings) -> Ledger:
    about = settings.database
    ledger = Ledger(about.url, pool_size=about.pool_size, statement_timeout_s=about.statement_timeout_s)
    if ledger.path is not None:
        finish_interrupted(ledger.path.resolve())
    return ledger


def _open_current_ledger(settings: Settings) -> Ledger:
    ledger = _open_ledger(settings)
    _require_current_ledger(ledger)
    return ledger


def _require_current_ledger(ledger: Ledger) -> None:
    """Raises SchemaError if the ledger does not exist (a mistyped path creates none) or has an old schema.

    Raises LedgerUnavailableError too.
    """
    if ledger.path is not None and not ledger.path.exists():
        raise SchemaError(f"there is no ledger at {ledger.path}: run `tally db upgrade` to create it")
    require_no_backup(ledger)
    require_current(ledger)


def _upgrade_schema(ledger: Ledger) -> None:
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
        account = f"account {app.account}" if app.account else "no account: its tasks are only followed, not queried or stopped"
        print_lines(f"app        {app.vendor} {app.app_id}: {len(app.callback_secrets)} callback secret(s), {account}")
    _print_tokens(settings)
    streams = settings.streams.url or settings.queue.url
    print_lines(f"streams    {'none: subscriptions cannot write to Redis' if not streams else 'redis'}")
    print_lines(f"webhooks   {', '.join(('public addresses', *settings.outbound.allow))}{_SCHEMES[settings.outbound.allow_http]}")
    if not settings.apps:
        print_lines("no [[apps]]: every callback will be rejected with 403")
    for warning in warnings_of(settings):
        print_lines(f"warning: {warning}")
    print_lines("good")
    return 0


def _print_tokens(settings: Settings) -> None:
    for configured in settings.tokens:
        weak = "" if len(configured.token) >= STRONG_TOKEN_LENGTH else "; short: `tally token` prints one that is hard to guess"
        print_lines(f"token      {configured.name}: {configured.role.value}{weak}")
    if settings.server.open_desk:
        print_lines("token      none (open desk): every user of this machine may do everything; never use it behind a proxy")
    elif not settings.tokens:
        path = token_file.token_path(settings)
        print_lines(f"token      {token_file.LOCAL_NAME}: {Role.ADMIN.value}, in {path}, created by the first start")


def explain(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_current_ledger(settings)
    with ledger.read() as connection:
        tasks = find_tasks(connection, options.task)
        if len(tasks) == 1:
            print_lines(*explain_task(connection, tasks[0]).rstrip("\n").split("\n"))
            return 0
    for task in tasks:
        print_lines(f"{task.id}  {task.view.state.value:<12} {task.kind.value} run {task.run} of {task.key.vendor_task_id}")
    several, none = f"several tasks match {options.task}; use one of these ids", f"no task has the id {options.task}"
    print_lines(f"tally: {several if tasks else none}", file=sys.stderr)
    return 1


def replay(options: argparse.Namespace, settings: Settings) -> int:
    ledger = _open_current_ledger(settings)
    selection = callbacks.CallbackFilter(
        vendor=options.vendor,
        verdict=options.verdict,
        event_type=options.event_type,
        received_after=options.after,
        received_before=options.before,
    )
    if options.callback is None and selection == callbacks.CallbackFilter():
        print_lines("tally: add --callback, --verdict, --event-type, --vendor, --after or --before", file=sys.stderr)
        return BAD_USAGE
    ids = _select_callbacks(ledger, options.callback, selection)
    if not options.dry_run:
        _post_replays(ledger, ids)
    if options.callback is not None and not ids:
        print_lines(f"tally: no callback has the id {options.callback}", file=sys.stderr)
        return 1
    print_lines(f"{len(ids)} callback(s){' would be' if options.dry_run else ''} queued to be processed again")
    return 0


def _select_callbacks(ledger: Ledger, callback: int | None, selection: callbacks.CallbackFilter) -> list[int]:
    with ledger.read() as connection:
        if callback is not None:
            return list(inbox.callback_rows(connection, [callback]))
        ids: list[int] = []
        while more := callbacks.ids_after(connection, selection, after=ids[-1] if ids else 0, limit=10_000):
            ids += more
        return ids


def _post_replays(ledger: Ledger, ids: Sequence[int], batch_size: int = 500) -> None:
    for start in range(0, len(ids), batch_size):
        now = now_ms()
        with ledger.write() as connection:
            inbox.post_replays(connection, ids[start : start + batch_size], now)


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
