"""The benchmark of pages asks as a client does that stays until it is answered."""

import asyncio
from pathlib import Path

from tests.benchmarks.pages import House


def test_a_page_is_answered_while_the_client_stays(tmp_path: Path) -> None:
    house = House(tmp_path, tasks=20, callbacks=40)

    async def ask() -> tuple[int, bytes]:
        async with asyncio.timeout(20):
            return await house.get("/v1/tasks")

    status, body = asyncio.run(ask())
    house.ledger.close()
    assert (status, body.count(b'"vendor_task_id"')) == (200, 20)
