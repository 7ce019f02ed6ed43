"""Answers API calls: signature, quota, faults, parameters, and then what the call says; in that order, as gateways do."""

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
    def __init__(
        self,
        setting: WorldContext,
        vendors: Mapping[str, Vendor],
        faults: Faults,
        counters: Counters,
        quotas: Quotas,
        hands: WorldControl,
    ) -> None:
        self._setting = setting
        self._vendors = vendors
        self._faults = faults
        self._counters = counters
        self._quotas = quotas
        self._hands = hands
        self._number = 0

    def answer(self, vendor: Vendor, request: Request) -> GatewayReply:
        self._number += 1
        dice = SeededRandom(self._setting.seed, "call", self._number)
        try:
            asked = replace(vendor.read_call(request, self._setting.outside_ms(self._hands.now)), request_id=_request_id(dice))
            self._counters.calls[f"{vendor.name} {asked.action}"] += 1
            self._check_quota_and_faults(vendor, asked, dice)
            vendor.check_call(asked)
            if dice.happens(self._faults.vanish):
                self._counters.faults[f"{vendor.name} vanish"] += 1
                return GatewayReply(status=0, headers={}, body=b"", dropped=True)
            reply = vendor.success_reply(asked, vendor.perform(asked, self._hands))
        except CallRefused as refused:
            self._counters.errors[f"{vendor.name} {refused.code}"] += 1
            return vendor.error_reply(request, refused, _request_id(dice))
        return self._with_answer_faults(vendor, reply, dice)

    def _check_quota_and_faults(self, vendor: Vendor, asked: ReceivedCall, dice: SeededRandom) -> None:
        account = (vendor.name, asked.access_key_id)
        if not self._quotas.try_take(account, asked.action, asked.api.quota, self._setting.outside_ms(self._hands.now)):
            self._counters.quota_breaches[f"{vendor.name} {asked.action}"] += 1
            raise vendor.throttled()
        if dice.happens(self._faults.throttle):
            self._counters.faults[f"{vendor.name} throttle"] += 1
            raise vendor.throttled()
        if asked.api.operation is Operation.START and dice.happens(self._faults.refuse):
            self._counters.faults[f"{vendor.name} refuse"] += 1
            raise vendor.permanent_refusal()

    def _with_answer_faults(self, vendor: Vendor, reply: GatewayReply, dice: SeededRandom) -> GatewayReply:
        """The same, or late, or not at all."""
        if dice.happens(self._faults.ambiguous):
            self._counters.faults[f"{vendor.name} ambiguous"] += 1
            return replace(reply, dropped=True)
        if dice.happens(self._faults.slow):
            self._counters.faults[f"{vendor.name} slow"] += 1
            return replace(reply, after_ms=round(self._faults.slow_s * 1000))
        return reply


def _request_id(dice: SeededRandom) -> str:
    digits = dice.random_text("0123456789abcdef", 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
