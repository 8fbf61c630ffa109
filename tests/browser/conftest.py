"""A whole stack with the pages on it, and a system Chromium to look at them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

from boxoffice.stack import Stack
from tests.integration.house import resource

DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


class Shop:
    """A running stack, as somebody outside sees it."""

    def __init__(self, stack: Stack, client: httpx2.AsyncClient) -> None:
        self.url, self.admin_url, self.admin_token = stack.urls[0], stack.admin_url, stack.admin_token
        self._client = client
        self._names = (f"night-{n}" for n in itertools.count(1))

    async def apply(self, **changes: Any) -> str:
        """Puts a sale up through the admin port and returns its name; `changes` as in `resource`."""
        name = next(self._names)
        await self.change(name, **changes)
        await self._until(name, lambda line: line is not None)
        return name

    async def change(self, name: str, **changes: Any) -> None:
        """Applies the sale (again), as it then is; `changes` as in `resource`."""
        bearer = {"authorization": f"Bearer {self.admin_token}"}
        document = resource(name=name, **changes)
        answer = await self._client.post(f"{self.admin_url}/admin/api/sales", json=document, headers=bearer)
        assert answer.status_code in (200, 201), answer.text

    async def until_lapsed(self, name: str) -> None:
        """Somebody was called and did not come."""
        await self._until(name, lambda line: line is not None and line["lapsed"] > 0)

    async def _until(self, name: str, holds: Callable[[dict[str, Any] | None], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds(await self._line(name)):
                await asyncio.sleep(0.05)

    async def _line(self, name: str) -> dict[str, Any] | None:
        answer = await self._client.get(f"{self.url}/api/v1/sales/{name}/line")
        return dict(answer.json()) if answer.status_code == 200 else None


class Visitor:
    """One browser of one person: a page, its requests, and whatever it complained of."""

    def __init__(self, shop: Shop, context: BrowserContext, page: Page) -> None:
        self.shop, self.context, self.page = shop, context, page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        """A refused request is the API's business; a policy that blocks our own page is a fault."""
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    async def go(self, sale: str, page: str = "") -> None:
        await self.page.goto(f"{self.shop.url}/concerts/{sale}{page and '/' + page}")

    async def join(self, sale: str) -> None:
        """To the waiting page, where nobody is called yet."""
        await self._take_place(sale)
        await self.page.wait_for_url("**/wait")

    async def _take_place(self, sale: str) -> None:
        await self.go(sale)
        await self.page.click("#join")

    async def enter(self, sale: str) -> None:
        """Through the line to the seat map; whoever is called at once hardly sees the waiting page."""
        await self._take_place(sale)
        await self.page.wait_for_url("**/seats")
        await self.page.wait_for_selector("#visit:visible")

    async def hold_best(self, sale: str) -> None:
        """Through the line to the payment page, with two seats."""
        await self.enter(sale)
        await self.page.click("#best [type=submit]")
        await self.page.wait_for_url("**/pay")
        await self.page.wait_for_selector("#submit:visible")

    async def pay(self, method: str) -> None:
        await self.page.check(f"[value={method}]")
        await self.page.click("#submit")

    async def until_paid(self) -> None:
        await self.page.wait_for_selector("[data-view=paid]:visible")

    async def text(self, selector: str) -> str:
        return await self.page.inner_text(selector)

    async def memory(self, sale: str) -> dict[str, Any]:
        """What the browser remembers of the sale."""
        script = "name => JSON.parse(localStorage.getItem(`boxoffice/${name}`) ?? '{}')"
        return dict(await self.page.evaluate(script, sale))


class Visitors:
    """Opens browsers, each with cookies and storage of its own."""

    def __init__(self, shop: Shop, browser: Browser) -> None:
        self.shop, self._browser = shop, browser
        self._open: list[Visitor] = []

    async def __call__(self, **options: Any) -> Visitor:
        context = await self._browser.new_context(**{**DESKTOP, "locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(self.shop, context, await context.new_page())
        self._open.append(visitor)
        return visitor

    async def close(self) -> None:
        for visitor in self._open:
            await visitor.context.close()
        assert [visitor.complaints for visitor in self._open if visitor.complaints] == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with Stack(tmp_path_factory.mktemp("pages")) as stack, httpx2.AsyncClient() as client:
        yield Shop(stack, client)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    async with async_playwright() as playwright, _launched(playwright, path) as browser:
        yield browser


@asynccontextmanager
async def _launched(playwright: Any, path: str | None) -> AsyncIterator[Browser]:
    """The system's Chromium, or playwright's own if that was installed. Skips when there is neither."""
    try:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    except Error as error:
        if path is None:
            pytest.skip(f"no chromium on this machine (apt-get install chromium): {str(error).splitlines()[0]}")
        raise
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(shop: Shop, browser: Browser) -> AsyncIterator[Visitors]:
    """`await visitor()` is a new person at the pages; whatever their browsers complained of fails the test."""
    visitors = Visitors(shop, browser)
    yield visitors
    await visitors.close()
