// Choosing seats: the map, the best available, general admission; and the hold that comes of it.

import { call, pageUrl, saleUrl } from "./api.js";
import { countDown, now, momentOf, patience, secondsUntil, sleep } from "./clock.js";
import { Hall } from "./hall.js";
import { recall, remember } from "./memory.js";
import { $, announce, ask, counter, linkTo, make, show, tell, title, untell } from "./page.js";
import { Plan } from "./plan.js";
import { openSale } from "./sale.js";
import { money, plural, seatInWords, titled } from "./words.js";

const REFRESH_SECONDS = 3;

let sale = null;
let hall = null;
let plan = null;
const chosen = new Set(); // names of seats
let best = null; // the counter of the best available

const inside = () => secondsUntil(recall().admittedUntil ?? 0) > 0;
const heldNow = () => {
  const { hold } = recall();
  return hold && momentOf(hold.expiresAt) > now() ? hold : null;
};

// ------------------------------------------------------------------ the map

function build() {
  const take = (section, places) => hold({ section, count: places, together: false });
  plan = new Plan(hall, sale.maxSeatsPerBuyer, { press: toggle, take });
  const choices = hall.sections.map(({ name }) => make("option", { value: name }, titled(name)));
  $("#where").append(...choices);
}

function drawStates() {
  const held = new Set(heldNow()?.seats);
  plan.update(hall, (name) => (held.has(name) ? "mine" : chosen.has(name) ? "chosen" : undefined));
}

// ------------------------------------------------------------------ choosing

const hint = (text, action = null) => tell(text, { kind: "warn", action });
const toLine = () => linkTo("Go to the line", "wait");
const toPayment = () => linkTo("Go to payment", "pay");

function toggle(name) {
  const full = !chosen.has(name) && chosen.size >= sale.maxSeatsPerBuyer;
  if (!inside()) return hint("You can look, but you need to be let in to choose.", toLine());
  if (heldNow()) return hint("You already hold seats. Pay for them, or give them back first.", toPayment());
  if (full) return hint(`One buyer may take up to ${plural(sale.maxSeatsPerBuyer, "seat")}.`);
  if (!chosen.delete(name)) chosen.add(name);
  untell();
  drawStates();
  drawBar();
}

function drawBar() {
  const names = [...chosen];
  show($("#bar"), names.length > 0);
  if (names.length === 0) return;
  const total = names.reduce((sum, name) => sum + priceOf(name), 0);
  $("#chosen").textContent = names.map(seatInWords).join(" · ");
  $("#price").textContent = `${plural(names.length, "seat")}, ${money(total, hall.currency)}`;
  announce(`${plural(names.length, "seat")} chosen, ${money(total, hall.currency)}`);
}

const priceOf = (name) => hall.sections.find((section) => section.name === name.split("/")[0]).priceMinor;

function unchoose() {
  chosen.clear();
  drawStates();
  drawBar();
}

// ------------------------------------------------------------------ holding

async function hold(wish) {
  busy(true);
  untell();
  try {
    const { body } = await call("POST", saleUrl("/holds"), { body: wish, token: recall().admission });
    remember({ hold: body });
    location.assign(pageUrl("pay"));
  } catch (problem) {
    await refused(problem);
  } finally {
    busy(false);
  }
}

function busy(now) {
  for (const button of document.querySelectorAll("#hold, #best [type=submit], [data-needs-entry]"))
    button.disabled = now;
}

async function refused(problem) {
  if (problem.code === "seats_taken") return taken(problem.extra.seats ?? []);
  if (problem.status === 401 || problem.status === 403) return outside(problem.message);
  if (problem.status === 410) return outside("This sale is over.");
  tell(problem.again ? `${problem.message} Please try again.` : problem.message);
  await refresh().catch(() => {});
}

async function taken(names) {
  for (const name of names) chosen.delete(name);
  const rest = chosen.size > 0 ? "The others are still chosen, not held yet." : "Please choose others.";
  tell(`Just gone to somebody else: ${names.map(seatInWords).join(" · ")}. ${rest}`);
  await refresh().catch(() => {});
  drawBar();
  plan.flash(names);
}

/** No longer let in: the map may still be looked at. */
function outside(text) {
  remember({ admittedUntil: null, hold: null });
  unchoose();
  drawDoor();
  tell(text, { action: toLine() });
}

let stopHeld = () => {};

function drawHeld() {
  const held = heldNow();
  stopHeld();
  show($("#held"), Boolean(held));
  show($("#best"), inside() && !held);
  if (!held) return;
  $("#held-seats").replaceChildren(...held.seats.map((name) => make("li", {}, seatInWords(name))));
  stopHeld = countDown($("#held-clock"), held.expiresAt, heldOver);
}

function heldOver() {
  tell("Your time for these seats is up, and they were given back. You can choose again.", { kind: "warn" });
  remember({ hold: null });
  drawHeld();
  drawStates();
}

async function release() {
  const { hold: held, admission } = recall();
  try {
    await call("DELETE", saleUrl(`/holds/${held.id}`), { token: admission });
  } catch (problem) {
    if (problem.again) return tell(`${problem.message} Please try again.`);
  }
  remember({ hold: null });
  drawHeld();
  await refresh();
}

// ------------------------------------------------------------------ being inside

let stopVisit = () => {};

/** What somebody sees who is let in, and what somebody who is not. */
function drawDoor() {
  stopVisit();
  show($("#visit"), inside());
  drawHeld();
  for (const button of document.querySelectorAll("[data-needs-entry]")) show(button, inside());
  if (inside()) stopVisit = countDown($("#visit-clock"), recall().admittedUntil, visitOver);
  else hint("You can look at the map. To choose seats you need to be let in from the line.", toLine());
}

const visitOver = () => outside("Your visit has ended. You can join the line again.");

async function leave() {
  if (!(await ask("Leave the sale? Seats that you hold are given back, and your visit ends.", "Leave")))
    return;
  const { admission } = recall();
  remember({ ticket: null, admittedUntil: null, hold: null });
  await call("DELETE", saleUrl("/places/me"), { token: admission }).catch(() => {}); // else it runs out
  location.assign(pageUrl());
}

// ------------------------------------------------------------------ start

async function refresh() {
  const { body } = await call("GET", saleUrl("/seats"));
  if (hall?.version === body.version) return;
  const first = hall === null;
  hall = new Hall(body);
  if (first) build();
  if (first) drawDoor();
  drawStates();
}

async function keepFresh() {
  for (let tries = 0; ;) {
    try {
      if (!document.hidden) await refresh();
      if (tries > 0 && hall) untell();
      tries = 0;
      await sleep(REFRESH_SECONDS);
    } catch (problem) {
      tell(`${problem.message} The map may be old; trying again.`, { kind: "warn" });
      await sleep(patience(problem, ++tries));
    }
  }
}

function listen() {
  $("#hold").onclick = () => hold({ seats: [...chosen] });
  $("#clear").onclick = unchoose;
  $("#release").onclick = release;
  $("#leave").onclick = leave;
  $("#pay").href = pageUrl("pay");
  $("#best").onsubmit = (event) => {
    event.preventDefault();
    const section = $("#where").value;
    hold({ ...(section && { section }), count: best.value, together: $("#together").checked });
  };
  window.addEventListener("pageshow", (event) => event.persisted && location.reload()); // back from payment
}

sale = await openSale();
title(`Seats · ${sale.title}`);
best = counter("How many seats", { value: Math.min(2, sale.maxSeatsPerBuyer), max: sale.maxSeatsPerBuyer });
$("#count").replaceChildren(best.element);
listen();
await keepFresh();
