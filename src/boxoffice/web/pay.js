// Paying for what is held: one attempt at a time, repeated under its own key until its outcome is known.

import { call, pageUrl, saleUrl } from "./api.js";
import { countDown, momentOf, now } from "./clock.js";
import { recall, remember } from "./memory.js";
import { follow, newAttempt, place } from "./orders.js";
import { $, announce, linkTo, make, show, tell, title, untell, view } from "./page.js";
import { openSale } from "./sale.js";
import { money, orderState, plural, seatInWords } from "./words.js";

const METHODS = [
  ["pm_card_visa", "Test card that pays", "Visa ·· 4242"],
  ["pm_card_declined", "Test card that is declined", "The bank says no; you can try another card"],
  ["pm_card_slow", "Test card that is slow", "Takes about two seconds, then pays"],
  ["pm_card_fault", "Test card with a fault", "The provider stumbles once; it is paid later by itself"],
];

let sale = null;
let stopClock = () => {};

function scene(name, heading) {
  stopClock();
  view(name);
  $("#heading").textContent = heading;
  title(heading);
  announce(heading);
}

const seatItems = (names) => names.map((name) => make("li", {}, seatInWords(name)));

// ------------------------------------------------------------------ before paying

function drawMethods() {
  const cards = METHODS.map(([value, name, note], at) =>
    make(
      "label",
      { class: "method" },
      make("input", { type: "radio", name: "method", value, checked: at === 0 }),
      make("span", {}, make("strong", {}, name), make("br"), make("span", { class: "quiet small" }, note)),
    ),
  );
  $("#methods").replaceChildren(...cards);
}

function showForm(hold) {
  scene("form", "Payment");
  const amount = money(hold.amountMinor, hold.currency);
  $("#seats").replaceChildren(...seatItems(hold.seats));
  $("#amount").textContent = amount;
  $("#submit").textContent = `Pay ${amount}`;
  stopClock = countDown($("#clock"), hold.expiresAt, holdOver);
}

function holdOver() {
  remember({ hold: null });
  showNone(
    "Your time is up",
    "The time for these seats ran out and they were given back. Nothing was charged.",
  );
}

function showNone(heading, text) {
  scene("none", heading);
  $("#none-text").textContent = text;
}

async function release() {
  const { hold, admission } = recall();
  try {
    await call("DELETE", saleUrl(`/holds/${hold.id}`), { token: admission });
  } catch (problem) {
    if (problem.again) return tell(`${problem.message} Please try again.`);
  }
  remember({ hold: null });
  location.assign(pageUrl("seats"));
}

// ------------------------------------------------------------------ paying

async function pay(attempt) {
  untell();
  showWorking(
    "Placing your order…",
    "Please keep this page open. Reloading it is safe: it is the same order.",
  );
  try {
    const order = await place(attempt, showDelay);
    untell();
    await watch(order);
  } catch (problem) {
    failed(problem);
  }
}

function showWorking(heading, text) {
  scene("working", "Payment");
  $("#working-heading").textContent = heading;
  $("#working-text").textContent = text;
}

const showDelay = (problem) =>
  tell(`${problem.message} We keep trying with the same order; you will not be charged twice.`, {
    kind: "warn",
  });

async function watch(order) {
  showOrder(order);
  if (orderState(order.state).final) return;
  for await (const next of follow(order.id, showDelay)) {
    untell();
    showOrder(next);
  }
}

function showOrder(order) {
  const outcome = { paid: showPaid, declined: showDeclined, refused: showRefused, refunded: showRefused }[
    order.state
  ];
  if (outcome) return outcome(order);
  const { label, says } = orderState(order.state);
  showWorking(`${label}…`, says);
  $("#working-order").textContent = `Order ${order.id}`;
}

/**
 * The attempt has come to its end; `hold` is what is left of the hold that it was for. A newer hold is
 * not touched.
 */
function close(hold = null) {
  const { attempt, hold: current } = recall();
  remember({ attempt: null, hold: current && current.id !== attempt?.hold ? current : hold });
}

function showPaid(order) {
  close();
  if (!recall().hold) remember({ ticket: null, admittedUntil: null }); // the visit ends with the purchase
  scene("paid", "You are going!");
  $("#paid-seats").replaceChildren(...seatItems(order.seats));
  $("#paid-text").textContent =
    `${plural(order.seats.length, "seat")} paid, ${money(order.amountMinor, order.currency)}. Enjoy ${sale.title}.`;
}

function showDeclined(order) {
  const { amountMinor, currency, seats } = order;
  close(order.hold ? { id: order.hold, expiresAt: order.holdExpiresAt, amountMinor, currency, seats } : null);
  const reason = order.reason ? ` The bank said: ${order.reason}.` : "";
  if (!order.hold)
    return showNone("Payment declined", `Nothing was charged.${reason} The seats were given back.`);
  showForm(recall().hold);
  tell(
    `The card was declined and nothing was charged.${reason} Your seats are still held: choose another card.`,
  );
}

function showRefused(order) {
  close();
  showNone(
    orderState(order.state).label,
    `${orderState(order.state).says} You can choose other seats while your visit lasts.`,
  );
}

/** The order was not placed, or cannot be seen from here any more. */
function failed(problem) {
  if (problem.status === 401 || problem.status === 403) return shutOut(problem);
  const gone = problem.code === "hold_gone";
  close(gone ? null : recall().hold);
  if (gone && !recall().hold) return showNone("Your time is up", `${problem.message} Nothing was charged.`);
  start();
  tell(`${problem.message} If you are not sure whether you paid, look at your tickets first.`, {
    action: linkTo("Your tickets", "tickets"),
  });
}

/** The attempt is kept: whoever is let in again finds out what became of it. */
function shutOut(problem) {
  showNone("Payment", "Your tickets show what has been ordered. To buy more, go to the line.");
  tell(problem.message, { action: linkTo("Go to the line", "wait") });
}

// ------------------------------------------------------------------ start

/** Goes on where this browser was: with the payment under way, else with the seats that it holds. */
function start() {
  const { attempt, hold } = recall();
  if (attempt) return pay(attempt);
  if (hold && momentOf(hold.expiresAt) > now()) return showForm(hold);
  remember({ hold: null });
  showNone("Payment", "You hold no seats just now, so there is nothing to pay.");
}

drawMethods();
$("#release").onclick = release;
$("#payment").onsubmit = (event) => {
  event.preventDefault();
  const { hold, attempt } = recall(); // another tab may already be paying
  if (!hold) return start();
  pay(attempt ?? newAttempt(hold, new FormData(event.target).get("method")));
};
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
sale = await openSale();
show($("#notice"), false);
start();
