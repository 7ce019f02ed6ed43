"""Answers API calls: signature, quota, faults, parameters, and then what the call says; in that order, as gateways do."""

from collections.abc import Mapping
from dataclasses import replace

from adapters.vendors.calls import Operation
from simulator.counters import Counters
from simulator.messages import Asked, Refused, Reply, Request
from simulator.plan import Faults
from simulator.protocol import Hands, Setting, Vendor
from simulator.quotas import Quotas
from simulator.seeded_random import Dice


class Switchboard:
    def __init__(
        self,
        setting: Setting,
        vendors: Mapping[str, Vendor],
        faults: Faults,
        counters: Counters,
        quotas: Quotas,
        hands: Hands,
    ) -> None:
        self._setting = setting
        self._vendors = vendors
        self._faults = faults
        self._counters = counters
        self._quotas = quotas
        self._hands = hands
        self._number = 0

    def answer(self, vendor: Vendor, request: Request) -> Reply:
        self._number += 1
        dice = Dice(self._setting.seed, "call", self._number)
        try:
            asked = replace(vendor.read(request, self._setting.told(self._hands.now)), request_id=_request_id(dice))
            self._counters.calls[f"{vendor.name} {asked.action}"] += 1
            self._admit(vendor, asked, dice)
            vendor.check(asked)
            if dice.chance(self._faults.vanish):
                self._counters.faults[f"{vendor.name} vanish"] += 1
                return Reply(status=0, headers={}, body=b"", dropped=True)
            reply = vendor.reply(asked, vendor.perform(asked, self._hands))
        except Refused as refused:
            self._counters.errors[f"{vendor.name} {refused.code}"] += 1
            return vendor.refusal(request, refused, _request_id(dice))
        return self._spoiled(vendor, reply, dice)

    def _admit(self, vendor: Vendor, asked: Asked, dice: Dice) -> None:
        account = (vendor.name, asked.access_key_id)
        if not self._quotas.take(account, asked.action, asked.api.quota, self._setting.told(self._hands.now)):
            self._counters.quota_breaches[f"{vendor.name} {asked.action}"] += 1
            raise vendor.too_many()
        if dice.chance(self._faults.throttle):
            self._counters.faults[f"{vendor.name} throttle"] += 1
            raise vendor.too_many()
        if asked.api.operation is Operation.START and dice.chance(self._faults.refuse):
            self._counters.faults[f"{vendor.name} refuse"] += 1
            raise vendor.refused_for_good()

    def _spoiled(self, vendor: Vendor, reply: Reply, dice: Dice) -> Reply:
        """The same, or late, or not at all."""
        if dice.chance(self._faults.ambiguous):
            self._counters.faults[f"{vendor.name} ambiguous"] += 1
            return replace(reply, dropped=True)
        if dice.chance(self._faults.slow):
            self._counters.faults[f"{vendor.name} slow"] += 1
            return replace(reply, after_ms=round(self._faults.slow_s * 1000))
        return reply


def _request_id(dice: Dice) -> str:
    digits = dice.word("0123456789abcdef", 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
