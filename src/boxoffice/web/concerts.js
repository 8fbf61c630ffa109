// The list of concerts.

import { call } from "./api.js";
import { inZone, patience, sleep } from "./clock.js";
import { $, make, show, tell, untell } from "./page.js";
import { count, money, saleState } from "./words.js";

const REFRESH_SECONDS = 15;

function card(sale) {
  const state = saleState(sale.state);
  return make(
    "li",
    {},
    make(
      "a",
      { class: "card", href: `/concerts/${encodeURIComponent(sale.name)}` },
      make("p", {}, make("span", { class: "pill", "data-tone": state.tone }, state.label)),
      make("h2", {}, sale.title),
      make(
        "p",
        { class: "quiet" },
        sale.venue,
        make("br"),
        `Sale opens ${inZone(sale.opensTime, sale.timeZone)}`,
      ),
      make(
        "p",
        { class: "apart" },
        make("strong", {}, `from ${money(sale.fromPriceMinor, sale.currency)}`),
        make("span", { class: "quiet small" }, `${count(sale.free)} of ${count(sale.total)} free`),
      ),
    ),
  );
}

function draw(sales) {
  show($("#loading"), sales.length === 0);
  $("#loading").textContent = "No concert is on sale just now. Please come back later.";
  const cards = sales.map(card);
  const focused = document.activeElement?.closest("#concerts a")?.href; // kept over the refresh
  $("#concerts").replaceChildren(...cards);
  cards
    .map((item) => item.firstChild)
    .find((link) => link.href === focused)
    ?.focus();
}

let last = "";
for (let tries = 0; ;) {
  try {
    const { body } = await call("GET", "/api/v1/sales");
    if (JSON.stringify(body) !== last) draw(body.sales);
    last = JSON.stringify(body);
    untell();
    tries = 0;
    await sleep(REFRESH_SECONDS);
  } catch (problem) {
    tell(`${problem.message} Trying again by itself.`, { kind: "warn" });
    await sleep(patience(problem, ++tries));
  }
}
