"""One run: a node, its base, a campaign or two, a fault in the midst of the last, and what the ledgers say to it."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.system import channels
from tests.system.house import House
from tests.system.judge import Campaign, Judgement, gone, judge, least_rate, rate_kept
from tests.system.processes import Failed, rss, until
from tests.system.standing import watch
from tests.system.trial import DEAD_SECONDS, log_lines, starts


class Run(House):
    """A house with a campaign on its way, and a fault."""

    async def go(self) -> Judgement:
        """All of it (Failed when it cannot be brought to its end)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            try:
                await self._build(nursery)
                await self._campaigns()
                await self._end()
            finally:
                with trio.CancelScope(shield=True):
                    await self._clear()
                nursery.cancel_scope.cancel()
        return judge(self, round(trio.current_time() - began, 1))

    @property
    def log(self) -> Path:
        """The node's log."""
        return self.node.data / "logs" / "node.log"

    async def _campaigns(self) -> None:
        compared = "platform" in self.plan.values or self.kind.compared is not None
        if compared and not self.kind.later:
            await self._fire(disturbed=False)
        await self._answer(sick=True)
        await self._fire()
        if compared and self.kind.later:
            await self._fire(disturbed=False)
        ratio = rate_kept(self, self.ledger())
        if ratio is not None and ratio < least_rate(self):
            # is it the fault, or somebody else on this machine? Another look at the undisturbed rate shows it
            self.note("rate_at_first", ratio)
            await self._answer(sick=False)
            await self._fire(disturbed=False)

    async def _answer(self, *, sick: bool) -> None:
        """Let the twins answer as the plan has it, or as healthy ones."""
        for platform, twin in self.twins.items():
            script = self._script(platform, sick=sick)
            if script != twin.script.read_text():
                await twin.restart(script)

    async def _fire(self, *, disturbed: bool = True) -> Campaign:
        base = await self._export()
        before = {each["id"] for each in (await self.node.get("/v1/campaigns"))["items"]}
        around = nullcontext() if self.kind.around is None else self.kind.around(self, disturbed)
        async with around, trio.open_nursery() as nursery:
            campaign = await self._send(base, disturbed, nursery)
            await self._done(campaign)
            nursery.cancel_scope.cancel()
        if disturbed and self.kind.finish is not None:
            await self.kind.finish(self, self.plan.values)
        campaign.after = await self.without_the_dead()
        campaign.problems = (await self.node.get(f"/v1/campaigns/{campaign.id}/verify", timeout=60.0))["problems"]
        now = (await self.node.get("/v1/campaigns"))["items"]
        self.fired += [each["id"] for each in now if each["id"] not in before | self.known]
        return campaign

    async def _send(self, base: dict[str, str], disturbed: bool, nursery: trio.Nursery) -> Campaign:
        before, began = self.accepted(), time.time_ns() // 1_000_000
        own = disturbed and self.kind.fire is not None
        fired = await self.kind.fire(self, self.plan.values) if own and self.kind.fire else await self.fire(disturbed)
        campaign = Campaign(fired["id"], base, disturbed, began)
        self.campaigns.append(campaign)
        if disturbed:
            if not self.kind.dumb:
                nursery.start_soon(watch, self, campaign.id)
            share = self.plan.at if self.kind.at is None else self.kind.at
            due = before + int(share * len(base))
            await until(lambda: self.accepted() >= due, f"{due} pushes", 60)
            before_it = len(starts(self.log))
            await self.kind.act(self, self.plan.values)
            if self.ended_at is not None:
                await self._recovered(fired["id"])
                if len(took := starts(self.log)) > before_it:
                    self.note("tarantool_s", took[-1])
            if self.plan.fault == "half-open":
                self.in_flight(self.plan.values["platform"])
            if "unanswered" in self.plan.values:
                self.bound += self.plan.values["unanswered"] * self.plan.values["times"]
                self.may_repeat(self.plan.values["times"], self.plan.values["platform"])
        return campaign

    async def fire(self, disturbed: bool = True, key: str | None = None, url: str | None = None) -> Any:
        """Fire the campaign, once under ``key``, at another ``url`` than the node's own; answers its report."""
        title = "disturbed" if disturbed else "undisturbed"
        body: dict[str, Any] = {"message": {"title": title, "body": "under fire"}}
        if self.kind.ttl is not None:
            body["ttl_seconds"] = self.kind.ttl
        headers = {} if key is None else {"idempotency-key": key}
        return await self.node.post("/v1/campaigns", body, headers=headers, url=url)

    async def another(self) -> None:
        """Fire one campaign more and wait for its end; to be done when the disturbed one is over. Who died in that one
        has left the base before: else this one would find some of them, and some not."""
        campaign = Campaign("", await self.without_the_dead(), disturbed=False)
        campaign.id = (await self.fire(disturbed=False))["id"]
        self.campaigns.append(campaign)
        await self._done(campaign)
        campaign.after = await self.without_the_dead()
        campaign.problems = (await self.node.get(f"/v1/campaigns/{campaign.id}/verify", timeout=60.0))["problems"]

    async def without_the_dead(self) -> dict[str, str]:
        """The base once the dead have left it: they are judged when the campaign has ended."""
        deadline = trio.current_time() + DEAD_SECONDS
        while any(gone(token) for token in await self._tokens()):
            if trio.current_time() > deadline:
                break
            await trio.sleep(0.3)
        return await self._export()

    async def _done(self, campaign: Campaign) -> None:
        deadline = trio.current_time() + self.kind.limit
        while trio.current_time() < deadline:
            try:
                campaign.report = await self.node.get(f"/v1/campaigns/{campaign.id}")
                if campaign.report["state"] == "done":
                    return
            except (httpx.HTTPError, OSError):
                if not self.node.running:
                    raise Failed(f"the node ended by itself: {self.node.said()[-600:]}") from None
            await trio.sleep(0.1)

    async def _recovered(self, id: str) -> None:
        """How long after the fault's end the node served, and how long until a push was accepted or all was done."""
        assert self.ended_at is not None
        before = self.accepted()
        serving = None
        limit = trio.current_time() + 120
        while trio.current_time() < limit:
            with suppress(httpx.HTTPError, OSError, ValueError):
                if serving is None:
                    status = await self.node.get("/v1/status", timeout=2.0)
                    told = {worker["pid"] for worker in status["workers"] if worker["serving"]} - self.killed
                    if status["ready"] and len(told) == self.plan.workers:
                        serving = round(trio.current_time() - self.ended_at, 2)
                        self.note("serving_s", serving)
                moved = self.accepted() > before
                if not moved:
                    report = await self.node.get(f"/v1/campaigns/{id}", timeout=2.0)
                    moved = report["state"] == "done"
                if serving is not None and moved:
                    self.note("progress_s", round(trio.current_time() - self.ended_at, 2))
                    return
            await trio.sleep(0.03)

    async def _export(self) -> dict[str, str]:
        """The base: token → channel, which nobody changes just now."""
        base = await self._tokens()
        count = await self.node.get("/v1/subscribers/count")
        self.law("count and export agree", count["total"] == len(base), f"{count['total']} and {len(base)}")
        return base

    async def kinds(self, channel: str) -> Counter[str]:
        """How many subscribers of a channel have a target of each kind."""
        return Counter([row["kind"] for row in await self._rows() if row["channel"] == channel])

    async def _tokens(self) -> dict[str, str]:
        phone = self.kind.phone or channels.target
        return {phone(row["token"]): row["channel"] for row in await self._rows()}

    async def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.node.get(f"/v1/subscribers?cursor={cursor}&limit=5000", timeout=30.0)
            rows += page["items"]
            cursor = page["next"]
        return rows

    async def _end(self) -> None:
        self.note("rss_mb", [rss(pid) >> 20 for pid in self.node.workers()])
        self.node.signal(signal.SIGTERM)
        code = await self.node.ended(60)
        self.law("the node ends with exit code 0", code == 0, f"exit code {code}: {self.node.said()[-300:]}")
        await self.gone()
        for twin in self.twins.values():
            twin.signal(signal.SIGTERM)
            await twin.ended(30)
        self.notes["trouble"] = list(self._trouble())

    def _trouble(self) -> Iterator[str]:
        """Errors in the node's log that are no fault's own words: each is looked at."""
        seen = set()
        for entry in log_lines(self.log):
            if "Traceback" in str(entry.get("exception")) or entry.get("level") in ("error", "critical"):
                words = (entry.get(key) for key in ("event", "child", "channel", "reason", "why"))
                text = " ".join(str(word) for word in words if word is not None)[:200]
                if text not in seen:
                    seen.add(text)
                    yield text


@contextmanager
def kept(folder: Path, keep: Callable[[], bool]) -> Iterator[None]:
    """Begin with no folder, and leave none unless it is wanted."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run that broke a law: its base would be counted too
    try:
        yield
    finally:
        if not keep():
            shutil.rmtree(folder, ignore_errors=True)
