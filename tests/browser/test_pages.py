"""The pages in a real browser, on a real stack: the way through, and everything that may get in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, Request, Route, expect

from boxoffice.openapi import DOCUMENT
from boxoffice.tracing import well_formed
from tests.browser.conftest import PATIENCE_MS, PHONE, Shop, Visitor, Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")

HALL = {
    "sections": [
        {"name": "stalls", "rows": 6, "seatsPerRow": 12, "priceMinor": 121000},
        {"name": "floor", "capacity": 300, "priceMinor": 88000},
    ]
}


async def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the screen."""
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(await page.evaluate(script))


def orders_sent(visitor: Visitor) -> list[tuple[str, Any]]:
    """(Idempotency-Key, body) of each order the page sends from now on."""
    sent: list[tuple[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/orders"):
            sent.append((request.headers["idempotency-key"], request.post_data_json))

    visitor.page.on("request", note)
    return sent


# ---------------------------------------------------------------- the way through


async def test_from_the_list_of_concerts_to_a_ticket(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    page = buyer.page
    await page.goto(shop.url)
    await page.click(f'a[href="/concerts/{sale}"]')
    await expect(page.locator("h1")).to_have_text("A Night for Tests")
    await page.click("#join")
    await page.wait_for_url("**/seats")
    await page.click('[aria-label^="Stalls, row 2, seat 5,"]')
    await page.click('[aria-label^="Stalls, row 2, seat 6,"]')
    await expect(page.locator("#price")).to_contain_text("242,000")
    await page.click("#hold")
    await page.wait_for_url("**/pay")
    await expect(page.locator("#amount")).to_have_text("₩242,000")
    await buyer.pay("pm_card_visa")
    await buyer.until_paid()
    await expect(page.locator("#paid-seats li")).to_have_text(["Stalls, row 2, seat 5", "Stalls, row 2, seat 6"])
    await page.click("[data-view=paid] >> text=Your tickets")
    await expect(page.locator(".ticket .pill")).to_have_text("Paid")
    assert "Tickets" in await page.title()


async def test_a_phone_pays_a_declined_order_with_another_card(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor(**PHONE)
    await buyer.hold_best(sale)
    sent = orders_sent(buyer)
    await buyer.pay("pm_card_declined")
    await expect(buyer.page.locator("#notice")).to_contain_text("declined")
    await buyer.pay("pm_card_slow")
    await buyer.until_paid()
    (first_key, first), (second_key, second) = sent
    assert first_key != second_key
    assert first["hold"] == second["hold"]
    await buyer.go(sale, "tickets")
    await expect(buyer.page.locator(".ticket .pill")).to_have_text(["Paid", "Declined"])


async def test_an_order_whose_answer_is_unclear_is_not_paid_again(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.hold_best(sale)
    sent = orders_sent(buyer)
    await buyer.pay("pm_card_fault")
    await buyer.until_paid()
    assert len(sent) == 1


async def test_general_admission_is_a_count(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.enter(sale)
    floor = buyer.page.locator('section[aria-label="Floor"]')
    await expect(floor.locator(".seat")).to_have_count(0)
    await floor.get_by_label("one more").click()
    await floor.get_by_text("Hold places").click()
    await buyer.page.wait_for_url("**/pay")
    await expect(buyer.page.locator("#seats li")).to_have_text(["Floor, place 1", "Floor, place 2", "Floor, place 3"])
    await buyer.page.click("#release")
    await buyer.page.wait_for_url("**/seats")
    await expect(floor.locator("[data-free]")).to_have_text("300 free")


async def test_seats_can_be_chosen_by_keyboard(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.enter(sale)
    page = buyer.page
    await page.focus('#map [tabindex="0"]')
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Space"):
        await page.keyboard.press(key)
    await expect(page.locator("#chosen")).to_have_text("Stalls, row 2, seat 3")
    await expect(page.locator('#map [aria-checked="true"]')).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.locator("#bar")).to_be_hidden()


async def test_proof_of_work_is_done_by_the_page(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, abuse={"proofOfWork": "Always"})
    buyer = await visitor()
    await buyer.enter(sale)


# ---------------------------------------------------------------- waiting


async def test_the_waiting_page_moves_by_itself_and_outlives_the_network(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, admission={"initialActive": 1, "maxActive": 1, "fallbackActive": 1})
    inside, waiting = await visitor(), await visitor(**PHONE)
    await inside.enter(sale)
    await waiting.join(sale)
    page = waiting.page
    await expect(page.locator("#number")).to_have_text("2")
    await page.reload()
    await expect(page.locator("#number")).to_have_text("2")
    await waiting.context.set_offline(True)
    await expect(page.locator("#notice")).to_contain_text("offline")
    await waiting.context.set_offline(False)
    await inside.page.click("#leave")
    await inside.page.get_by_role("button", name="Leave").last.click()
    await page.wait_for_url("**/seats")


async def test_an_early_ticket_becomes_a_number_at_the_opening(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, opens_in=15)
    buyer = await visitor()
    await buyer.join(sale)
    await expect(buyer.page.locator("[data-view=prequeue]")).to_be_visible()
    before = (await buyer.memory(sale))["ticket"]
    await buyer.page.wait_for_url("**/seats", timeout=2 * PATIENCE_MS)
    assert (await buyer.memory(sale))["ticket"] != before


async def test_who_is_not_there_when_called_may_join_again(shop: Shop, visitor: Visitors) -> None:
    claim = {"line": {"claimSeconds": 15}, "seating": HALL}
    sale = await shop.apply(**claim, policy="Hold")
    buyer = await visitor()
    await buyer.join(sale)
    await buyer.page.goto("about:blank")
    await shop.change(sale, **claim)  # called only now, when nobody is at the page any more
    await shop.until_lapsed(sale)
    await buyer.go(sale, "wait")
    await expect(buyer.page.locator("h1")).to_have_text("Your turn has passed")
    await buyer.page.get_by_role("button", name="Join again").click()
    await buyer.page.wait_for_url("**/seats")


async def test_leaving_the_line_gives_the_place_up(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, opens_in=600)
    buyer = await visitor()
    await buyer.join(sale)
    await buyer.page.click("#leave")
    await buyer.page.get_by_role("button", name="Leave the line").last.click()
    await expect(buyer.page.locator("#join")).to_be_visible()
    assert not (await buyer.memory(sale))["ticket"]


async def test_the_countdown_does_not_ask_the_phones_clock(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, opens_in=1800)
    buyer = await visitor()
    wrong = "{ const now = Date.now; Date.now = () => now() + 86400e3; }"
    await buyer.context.add_init_script(wrong)
    await buyer.go(sale)
    await expect(buyer.page.locator("#clock")).to_contain_text("29:")


async def test_a_sale_on_hold_says_so_to_those_who_wait(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, policy="Hold")
    buyer = await visitor()
    await buyer.join(sale)
    await expect(buyer.page.locator("#standing")).to_contain_text("Nobody is let in for the moment")


# ---------------------------------------------------------------- what may go wrong


async def test_seats_that_went_to_somebody_else_are_named(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    quick, slow = await visitor(), await visitor()
    for buyer in (quick, slow):
        await buyer.enter(sale)
        await buyer.page.click('[aria-label^="Stalls, row 1, seat 1,"]')
    await slow.page.click('[aria-label^="Stalls, row 1, seat 2,"]')
    await quick.page.click("#hold")
    await quick.page.wait_for_url("**/pay")
    await slow.page.click("#hold")
    await expect(slow.page.locator("#notice")).to_contain_text("Stalls, row 1, seat 1.")
    await expect(slow.page.locator("#chosen")).to_have_text("Stalls, row 1, seat 2")
    gone = slow.page.locator('[aria-label^="Stalls, row 1, seat 1,"]')
    await expect(gone).to_have_attribute("aria-label", "Stalls, row 1, seat 1, ₩121,000, taken for now")


async def test_a_lost_answer_and_a_reload_are_one_order(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.hold_best(sale)
    sent, lost = orders_sent(buyer), asyncio.Event()

    async def lose(route: Route) -> None:
        await route.fetch()
        lost.set()
        await route.abort()

    await buyer.page.route("**/orders", lose)
    await buyer.pay("pm_card_visa")
    await lost.wait()
    await expect(buyer.page.locator("#notice")).to_contain_text("will not be charged twice")
    await buyer.page.unroute("**/orders")
    await buyer.page.reload()
    await buyer.until_paid()
    assert len(sent) >= 2
    assert len({key for key, _ in sent}) == 1
    await buyer.go(sale, "tickets")
    await expect(buyer.page.locator(".ticket")).to_have_count(1)


async def test_a_hold_that_runs_out_is_said(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL, hold={"seconds": 15})
    buyer = await visitor()
    await buyer.hold_best(sale)
    await expect(buyer.page.locator("h1")).to_have_text("Your time is up")
    await buyer.page.click("[data-view=none] >> text=Choose seats")
    await expect(buyer.page.locator("#best")).to_be_visible()


async def test_who_was_not_let_in_may_look_and_is_shown_the_way(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.go(sale, "seats")
    await expect(buyer.page.locator("#map .seat").first).to_be_visible()
    await expect(buyer.page.locator("#notice a")).to_have_attribute("href", f"/concerts/{sale}/wait")
    await expect(buyer.page.locator("#best")).to_be_hidden()


async def test_a_second_window_takes_over_and_the_first_says_so(shop: Shop, visitor: Visitors) -> None:
    """The newest session of a place wins; here the first window holds an admission of before."""
    sale = await shop.apply(seating=HALL)
    buyer = await visitor()
    await buyer.enter(sale)
    old = (await buyer.memory(sale))["admission"]
    forget = f"localStorage.setItem('boxoffice/{sale}', JSON.stringify({{}}))"
    await buyer.page.evaluate(forget)
    await buyer.enter(sale)
    restore = "([name, old]) => { const key = `boxoffice/${name}`; const known = JSON.parse(localStorage.getItem(key));"
    restore += " localStorage.setItem(key, JSON.stringify({ ...known, admission: old })); }"
    await buyer.page.evaluate(restore, [sale, old])
    await buyer.page.click("#best [type=submit]")
    await expect(buyer.page.locator("#notice")).to_contain_text("another")


async def test_a_concert_that_does_not_exist(shop: Shop, visitor: Visitors) -> None:
    buyer = await visitor()
    for page in ("", "wait", "seats", "pay", "tickets"):
        await buyer.go("no-such-night", page)
        await expect(buyer.page.locator("#notice")).to_contain_text("There is no such concert")


async def test_every_page_fits_a_phone(shop: Shop, visitor: Visitors) -> None:
    seating = {"sections": [{"name": "stalls", "rows": 50, "seatsPerRow": 100, "priceMinor": 8900}]}
    sale = await shop.apply(seating=seating)
    buyer = await visitor(**PHONE, color_scheme="dark")
    await buyer.hold_best(sale)
    for page in ("", "seats", "pay", "tickets"):
        await buyer.go(sale, page)
        await expect(buyer.page.locator("#notice")).to_be_hidden()
        assert await overflow(buyer.page) == 0, page
    await buyer.go(sale, "seats")
    await expect(buyer.page.locator("#map .seat")).to_have_count(5000)


# ---------------------------------------------------------------- operators


async def sign_in(page: Page, shop: Shop, path: str) -> None:
    await page.goto(f"{shop.admin_url}{path}")
    await page.fill("[name=token]", shop.admin_token)
    await page.keyboard.press("Enter")


async def test_the_dashboard_steers_a_sale(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    page = (await visitor()).page
    await page.goto(f"{shop.admin_url}/admin/dashboard")
    await page.fill("[name=token]", "not the token")
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog")).to_contain_text("not accepted")
    await page.fill("[name=token]", shop.admin_token)
    await page.keyboard.press("Enter")
    card = page.locator(f'section[aria-label="{sale}"]')
    await expect(card.locator('[data-part="sold"]')).to_have_text("0 / 372")
    await card.get_by_role("button", name="Hold", exact=True).click()
    await page.fill("[name=who]", "Mina")
    await page.fill("[name=why]", "the hall is not ready")
    await page.keyboard.press("Enter")
    await expect(card.locator('[data-part="override"]')).to_contain_text("Hold by Mina: “the hall is not ready”")
    await expect(card.locator('[data-part="state"]')).to_have_text("Paused")
    await card.get_by_role("button", name="Resume").click()
    await page.fill("[name=why]", "it is now")
    await page.keyboard.press("Enter")
    await expect(card.locator('[data-part="override"]')).to_be_hidden()


async def test_the_dashboard_is_live(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply(seating=HALL)
    page = (await visitor()).page
    await sign_in(page, shop, "/admin/dashboard")
    card = page.locator(f'section[aria-label="{sale}"]')
    await expect(card.locator('[data-part="held"]')).to_have_text("0")
    buyer = await visitor()
    await buyer.hold_best(sale)
    await expect(card.locator('[data-part="held"]')).to_have_text("2")
    await buyer.pay("pm_card_visa")
    await expect(card.locator('[data-part="sold"]')).to_have_text("2 / 372")
    await expect(card.locator('[data-part="revenue"]')).to_have_text("₩242,000")


async def test_a_sale_is_made_and_its_errors_are_said_by_field(shop: Shop, visitor: Visitors) -> None:
    page = (await visitor()).page
    await sign_in(page, shop, "/admin/sales/_new")
    await page.get_by_label("Name in addresses").fill("made-by-hand")
    await page.get_by_label("Title").fill("Made: by hand")
    await page.get_by_label("Seats for one buyer").fill("99")
    await page.click("#apply")
    await expect(page.get_by_label("Seats for one buyer")).to_be_focused()
    await expect(page.locator('[data-error="spec.hold.maxSeatsPerBuyer"]')).to_contain_text("maxSeatsPerBuyer")
    await page.get_by_label("Seats for one buyer").fill("2")
    await page.get_by_role("group", name="Section 1").get_by_label("Rows").fill("3")
    await page.click("#apply")
    await expect(page.locator("#notice")).to_contain_text("made-by-hand is applied")
    await page.goto(f"{shop.admin_url}/admin/sales/made-by-hand")
    await expect(page.get_by_label("Title")).to_have_value("Made: by hand")
    await expect(page.get_by_role("group", name="Section 1").get_by_label("Rows")).to_have_value("3")
    assert "maxSeatsPerBuyer: 2" in await page.input_value("#yaml")


# ---------------------------------------------------------------- the API's own page


async def test_each_operation_and_each_schema_of_the_api_is_told(shop: Shop, visitor: Visitors) -> None:
    page = (await visitor(**PHONE)).page
    await page.goto(f"{shop.url}/docs")
    operations = sum(1 for item in DOCUMENT["paths"].values() for name in item if name != "parameters")
    await expect(page.locator(".operation")).to_have_count(operations)
    await expect(page.locator(".schema")).to_have_count(len(DOCUMENT["components"]["schemas"]))
    await expect(page.locator("#order pre").first).to_contain_text('"paymentMethod": "pm_card_visa"')
    await page.locator("#hold").get_by_role("link", name="HoldRequest").click()
    await expect(page.locator("#schema-HoldRequest")).to_be_in_viewport()
    assert await overflow(page) == 0


async def test_one_visit_is_one_trace(shop: Shop, visitor: Visitors) -> None:
    sale = await shop.apply()
    buyer = await visitor()
    sent: list[tuple[str, str]] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            sent.append((request.url.rpartition("/")[2], request.headers["traceparent"]))

    buyer.page.on("request", note)
    await buyer.hold_best(sale)
    await buyer.pay("pm_card_visa")
    await buyer.until_paid()
    assert {step for step, _ in sent} == {"places", "admissions", "holds", "orders"}
    [trace] = {trace for _, trace in sent}
    assert well_formed(trace.encode())
    assert trace.endswith("-02"), "the shop chooses"
