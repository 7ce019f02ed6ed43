"""Runs a world in real time and sends its callbacks."""

import asyncio
from collections.abc import Callable, Coroutine

from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account, Call, TaskRef
from simulator.callback_sender import post_callback
from simulator.clock import WorldClock
from simulator.demo import Step
from simulator.messages import CallbackDelivery, GatewayReply, Request
from simulator.world import World

#: Concurrent deliveries at most; more wait.
_AT_ONCE = 32
#: Longest pause between two looks at the world, s.
_LONGEST_S = 60.0
_DEMO_URL = "http://127.0.0.1"


class Simulation:
    """A world in real time.

    callback_url: `{vendor}` in it is replaced by the vendor's name; empty: callbacks are not sent, and count as answered.
    log_line: called with one line for each call and each callback.
    """

    def __init__(
        self, world: World, clock: WorldClock, callback_url: str, *, log_line: Callable[[str], None] = lambda _: None
    ) -> None:
        self.world = world
        self._clock = clock
        self._callback_url = callback_url
        self._log_line = log_line
        self._wake = asyncio.Event()
        self._under_way = asyncio.Semaphore(_AT_ONCE)
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> int:
        """The world's time; it never goes back, even if the real clock does."""
        return max(self.world.now, self._clock())

    # Calls.

    def handle(self, vendor: str, request: Request) -> GatewayReply:
        """Answers one API call."""
        reply = self.world.handle(vendor, request.method, request.path, request.query, request.headers, request.body, self.now)
        self._wake.set()
        return reply

    # Time and callbacks.

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                self._wake.clear()
                for callback in self.world.advance_to(self.now):
                    self._start_job(self._deliver_callback(callback))
                await self._wait_for_next_event()
        finally:
            for job in self._jobs:
                job.cancel()

    async def _wait_for_next_event(self) -> None:
        at = self.world.next_event_ms()
        pause_s = _LONGEST_S if at is None else min(_LONGEST_S, self._clock.real_s_until(at))
        try:
            async with asyncio.timeout(pause_s):  # in Python 3.11 wait_for can swallow a cancellation
                await self._wake.wait()
        except TimeoutError:
            return

    def _start_job(self, work: Coroutine[None, None, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _deliver_callback(self, callback: CallbackDelivery) -> None:
        status = 200 if not self._callback_url else await self._post_callback(callback)
        self.world.record_answer(callback, status, self.now)
        self._log_line(f"callback {callback.vendor} {callback.event_type} attempt {callback.attempt}: {status or 'no answer'}")
        self._wake.set()

    async def _post_callback(self, callback: CallbackDelivery) -> int | None:
        url = self._callback_url.replace("{vendor}", callback.vendor)
        async with self._under_way:
            return await asyncio.to_thread(post_callback, url, callback, self.world.timeout_s(callback.vendor))

    # The demonstration.

    def play_demo(self, steps: tuple[Step, ...]) -> None:
        """Starts the demonstration now. Needs a running event loop."""
        for step in steps:
            self._start_job(self._play_step(step))

    async def _play_step(self, step: Step) -> None:
        began = self._clock()
        await asyncio.sleep(self._clock.real_s_until(began + step.after_s * 1000))
        dialect = DIALECTS[step.app.vendor]
        started = self._send_call(step, dialect.start(step.action, None, step.params))
        if step.stop_after_s is None:
            return
        await asyncio.sleep(self._clock.real_s_until(began + step.stop_after_s * 1000))
        about = dialect.identity(step.action, step.params)
        ref = TaskRef(
            kind=about.kind,
            app_id=about.app_id,
            room_id=about.room_id,
            vendor_task_id=started or about.vendor_task_id,
            action=step.action,
        )
        stop = dialect.stop(ref)
        if stop is not None:
            self._send_call(step, stop)

    def _send_call(self, step: Step, call: Call) -> str | None:
        """Sends a call; returns the task id that the vendor created, if any."""
        app, dialect = step.app, DIALECTS[step.app.vendor]
        account = Account(access_key_id=app.access_key_id, secret_access_key=app.secret_access_key, endpoint=_DEMO_URL)
        signed = dialect.sign(call, account, self.world.outside_ms(self.now))
        request = Request(
            method=signed.method, path="/", query=signed.url.partition("?")[2], headers=signed.headers, body=signed.body
        )
        reply = self.handle(app.vendor, request)
        answer = dialect.read_answer(call, reply.status, reply.headers, reply.body, received_at=self.now)
        self._log_line(f"call {app.vendor} {call.action}: {answer.outcome.value}")
        return answer.vendor_task_id
