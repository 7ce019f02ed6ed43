"""The whole application without its store: the door checks and answers, and keeps nothing. The ceiling for acknowledgements."""

import asyncio
from pathlib import Path

from adapters.ledger.inbox import Arrival
from adapters.spool import Spool
from callbacks.app import AppDependencies, Application, make_app_with_recorder
from callbacks.recorder import Recorder


class Forgetful(Recorder):
    """Answers at once, and writes nothing down."""

    def __init__(self) -> None:
        pass

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def shorten_ledger_wait(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def record(self, arrival: Arrival) -> "asyncio.Future[bool]":
        assert self._loop is not None
        done: asyncio.Future[bool] = self._loop.create_future()
        done.set_result(True)
        return done


def make_storeless_app(dependencies: AppDependencies) -> Application:
    """For comparisons only: what it answers with 200 is lost."""
    return make_app_with_recorder(dependencies, Spool(Path(dependencies.settings.spool.folder), 0, dependencies.clock), Forgetful())
