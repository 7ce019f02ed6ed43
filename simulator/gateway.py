"""Answers API calls: checks signature, quota, faults and parameters, then performs the call; in this order, as gateways do."""

from collections.abc import Mapping
from dataclasses import replace

from adapters.vendors.calls import Operation
from simulator.counters import Counters
from simulator.messages import CallRefused, GatewayReply, ReceivedCall, Request
from simulator.plan import Faults
from simulator.protocol import Vendor, WorldContext, WorldControl
from simulator.quotas import Quotas
from simulator.seeded_random import SeededRandom


class Gateway:
    """The API gateway of all vendors."""

    def __init__(
        self,
        context: WorldContext,
        vendors: Mapping[str, Vendor],
        faults: Faults,
        counters: Counters,
        quotas: Quotas,
        world: WorldControl,
    ) -> None:
        self._context = context
        self._vendors = vendors
        self._faults = faults
        self._counters = counters
        self._quotas = quotas
        self._world = world
        self._number = 0

    def answer(self, vendor: Vendor, request: Request) -> GatewayReply:
        """Performs a call and returns its reply."""
        self._number += 1
        random = SeededRandom(self._context.seed, "call", self._number)
        try:
            call = replace(vendor.read_call(request, self._context.outside_ms(self._world.now)), request_id=_request_id(random))
            self._counters.calls[f"{vendor.name} {call.action}"] += 1
            self._check_quota_and_faults(vendor, call, random)
            vendor.check_call(call)
            if random.happens(self._faults.vanish):
                self._counters.faults[f"{vendor.name} vanish"] += 1
                return GatewayReply(status=0, headers={}, body=b"", dropped=True)
            reply = vendor.success_reply(call, vendor.perform(call, self._world))
        except CallRefused as refusal:
            self._counters.errors[f"{vendor.name} {refusal.code}"] += 1
            return vendor.error_reply(request, refusal, _request_id(random))
        return self._with_answer_faults(vendor, reply, random)

    def _check_quota_and_faults(self, vendor: Vendor, call: ReceivedCall, random: SeededRandom) -> None:
        account = (vendor.name, call.access_key_id)
        if not self._quotas.try_take(account, call.action, call.api.quota, self._context.outside_ms(self._world.now)):
            self._counters.quota_breaches[f"{vendor.name} {call.action}"] += 1
            raise vendor.throttled()
        if random.happens(self._faults.throttle):
            self._counters.faults[f"{vendor.name} throttle"] += 1
            raise vendor.throttled()
        if call.api.operation is Operation.START and random.happens(self._faults.refuse):
            self._counters.faults[f"{vendor.name} refuse"] += 1
            raise vendor.permanent_refusal()

    def _with_answer_faults(self, vendor: Vendor, reply: GatewayReply, random: SeededRandom) -> GatewayReply:
        """Returns the reply: unchanged, late or dropped."""
        if random.happens(self._faults.ambiguous):
            self._counters.faults[f"{vendor.name} ambiguous"] += 1
            return replace(reply, dropped=True)
        if random.happens(self._faults.slow):
            self._counters.faults[f"{vendor.name} slow"] += 1
            return replace(reply, after_ms=round(self._faults.slow_s * 1000))
        return reply


def _request_id(random: SeededRandom) -> str:
    digits = random.random_text("0123456789abcdef", 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
