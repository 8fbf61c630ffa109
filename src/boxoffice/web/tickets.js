// The buyer's orders of one sale.

import { call, saleUrl } from "./api.js";
import { inZone, momentOf, patience, sleep } from "./clock.js";
import { recall } from "./memory.js";
import { $, announce, linkTo, make, show, tell, title, untell } from "./page.js";
import { openSale } from "./sale.js";
import { money, orderState, seatInWords } from "./words.js";

const REFRESH_SECONDS = 3;

function ticket(order, sale) {
  const state = orderState(order.state);
  return make(
    "li",
    { class: "card ticket", "data-tone": state.tone },
    make(
      "div",
      { class: "apart" },
      make("span", { class: "pill", "data-tone": state.tone }, state.label),
      make("strong", {}, money(order.amountMinor, order.currency)),
    ),
    make(
      "ul",
      { class: "seat-list", role: "list" },
      ...order.seats.map((name) => make("li", {}, seatInWords(name))),
    ),
    state.says ? make("p", {}, state.says) : null,
    order.hold && order.hold === recall().hold?.id
      ? make("p", {}, linkTo("Pay with another card", "pay"))
      : null,
    make(
      "p",
      { class: "quiet small" },
      `${inZone(order.placedAt, sale.timeZone)} · Order `,
      make("code", {}, order.id),
    ),
  );
}

function draw(orders, sale) {
  show($("#loading"), false);
  show($("#none"), orders.length === 0);
  const newestFirst = [...orders].sort((a, b) => momentOf(b.placedAt) - momentOf(a.placedAt));
  $("#orders").replaceChildren(...newestFirst.map((order) => ticket(order, sale)));
  const paid = orders.filter((order) => order.state === "paid").length;
  announce(`${paid} of ${orders.length} orders paid`);
}

/** Draws the orders; true while one of them is still on its way. */
async function refresh(sale) {
  const { admission } = recall();
  if (!admission) return (draw([], sale), false);
  const { body } = await call("GET", saleUrl("/orders"), { token: admission });
  draw(body.orders, sale);
  return body.orders.some((order) => !orderState(order.state).final);
}

async function follow(sale) {
  for (let tries = 0; ;) {
    try {
      if (!(await refresh(sale))) return;
      if (tries > 0) untell();
      tries = 0;
      await sleep(REFRESH_SECONDS);
    } catch (problem) {
      if (!problem.again) return unreadable(problem);
      tell(`${problem.message} Your orders are safe; trying again.`, { kind: "warn" });
      await sleep(patience(problem, ++tries));
    }
  }
}

function unreadable(problem) {
  show($("#loading"), false);
  const text =
    problem.status === 401 || problem.status === 403
      ? "This browser may no longer see the orders of this sale: the visit has ended, or went on on another device. The orders stand."
      : problem.message;
  tell(text, { action: linkTo("See the concert", "") });
}

const sale = await openSale();
title(`Tickets · ${sale.title}`);
await follow(sale);
