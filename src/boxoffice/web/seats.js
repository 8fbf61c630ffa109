// Choosing seats: the map, the best available, general admission; and the hold that comes of it.

import { call, pageUrl, saleUrl } from "./api.js";
import { countDown, now, momentOf, patience, secondsUntil, sleep } from "./clock.js";
import { Hall } from "./hall.js";
import { recall, remember } from "./memory.js";
import { $, announce, ask, counter, linkTo, make, makeSvg, show, tell, title, untell } from "./page.js";
import { openSale } from "./sale.js";
import { SAYS, SHAPES, SeatMap } from "./seatmap.js";
import { count, money, plural, seatInWords, titled } from "./words.js";

const REFRESH_SECONDS = 3;
const COMFORTABLE = matchMedia("(pointer: coarse)").matches ? 32 : 24; // pixels from seat to seat that can be hit
const SMALLEST = 6; // for the overview
const LARGEST = 60;

let sale = null;
let hall = null;
let maps = []; // one SeatMap for each section with rows
let pitch = COMFORTABLE;
const chosen = new Set(); // names of seats
let best = null; // the counter of the best available

const inside = () => secondsUntil(recall().admittedUntil ?? 0) > 0;
const heldNow = () => {
  const { hold } = recall();
  return hold && momentOf(hold.expiresAt) > now() ? hold : null;
};

// ------------------------------------------------------------------ the map

function build() {
  const parts = hall.sections.map((section) => (section.kind === "general" ? generalPart(section) : rowsPart(section)));
  $("#map").replaceChildren(make("div", { class: "stack" }, ...parts));
  $("#where").append(...hall.sections.map((section) => make("option", { value: section.name }, titled(section.name))));
  resize(roomy());
}

function rowsPart(section) {
  const look = (text) => { $("#readout").textContent = text; };
  const map = new SeatMap(section, hall.currency, { press: toggle, look, approach });
  maps.push(map);
  return make("section", { "aria-label": titled(section.name) }, sectionHead(section), map.element);
}

function generalPart(section) {
  const picker = counter(`Places in ${titled(section.name)}`, { value: Math.min(2, sale.maxSeatsPerBuyer), max: sale.maxSeatsPerBuyer });
  const take = () => hold({ section: section.name, count: picker.value, together: false });
  const button = make("button", { type: "button", class: "primary", "data-needs-entry": true, click: take }, "Hold places");
  const text = make("p", { class: "quiet small" }, "Standing or free seating: you get a place, not a certain seat.");
  return make("section", { "aria-label": titled(section.name) }, sectionHead(section), text, make("div", { class: "row" }, picker.element, button));
}

function sectionHead(section) {
  return make(
    "div", { class: "section-head apart" },
    make("h3", {}, titled(section.name)),
    make("p", {}, `${money(section.priceMinor, hall.currency)} · `, make("span", { "data-free": section.name, class: "digits" })),
  );
}

function drawStates() {
  const held = new Set(heldNow()?.seats);
  const kindOf = (name) => (held.has(name) ? "mine" : chosen.has(name) ? "chosen" : undefined);
  for (const map of maps) map.update(hall, kindOf);
  for (const section of hall.sections) $(`[data-free="${CSS.escape(section.name)}"]`).textContent = `${count(section.free)} free`;
  $("#left").textContent = `${count(hall.free)} of ${plural(hall.total, "seat")} free`;
}

function drawLegend() {
  const items = Object.keys(SHAPES).map((kind) => {
    const sample = makeSvg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, makeSvg("path", { class: `seat ${kind}`, d: SHAPES[kind](0, 0) }));
    return make("li", {}, sample, titled(SAYS[kind]));
  });
  $("#legend").replaceChildren(...items);
}

/** The widest section in full if its seats can still be hit, else seats that can be hit and sections that scroll. */
const roomy = () => Math.max(COMFORTABLE, Math.min(36, fitting()));

const fitting = () => ($("#map").clientWidth - 40) / Math.max(1, ...maps.map((map) => map.columns));

function resize(wanted) {
  pitch = Math.max(SMALLEST, Math.min(LARGEST, wanted));
  for (const map of maps) map.resize(pitch);
  $("#smaller").disabled = pitch <= Math.max(SMALLEST, Math.min(fitting(), COMFORTABLE));
  $("#larger").disabled = pitch >= LARGEST;
}

function approach(seat) {
  resize(COMFORTABLE);
  seat.scrollIntoView({ block: "center", inline: "center" });
}

// ------------------------------------------------------------------ choosing

function toggle(name) {
  if (!inside()) return tell("You can look, but you need to be let in to choose.", { kind: "warn", action: linkTo("Go to the line", "wait") });
  if (heldNow()) return tell("You already hold seats. Pay for them, or give them back first.", { kind: "warn", action: linkTo("Go to payment", "pay") });
  if (!chosen.delete(name)) {
    if (chosen.size >= sale.maxSeatsPerBuyer) return tell(`One buyer may take up to ${plural(sale.maxSeatsPerBuyer, "seat")}.`, { kind: "warn" });
    chosen.add(name);
  }
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
  for (const button of document.querySelectorAll("#hold, #best [type=submit], [data-needs-entry]")) button.disabled = now;
}

async function refused(problem) {
  if (problem.code === "seats_taken") return taken(problem.extra.seats ?? []);
  if (problem.status === 401 || problem.status === 403) return outside(problem.message);
  if (problem.status === 410) return outside("This sale is over.");
  tell(problem.again ? `${problem.message} Please try again.` : problem.message);
  await refresh().catch(() => {});
}

async function taken(names) {
  const gone = new Set(names);
  for (const name of names) chosen.delete(name);
  const rest = chosen.size > 0 ? "The others are still chosen, not held yet." : "Please choose others.";
  tell(`Just gone to somebody else: ${names.map(seatInWords).join(" · ")}. ${rest}`);
  await refresh().catch(() => {});
  drawBar();
  for (const map of maps) map.flash(gone);
}

/** No longer let in: the map may still be looked at. */
function outside(text) {
  remember({ admittedUntil: null, hold: null });
  unchoose();
  drawDoor();
  tell(text, { action: linkTo("Go to the line", "wait") });
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
  if (inside()) stopVisit = countDown($("#visit-clock"), recall().admittedUntil, () => outside("Your visit has ended. You can join the line again."));
  else tell("You can look at the map. To choose seats you need to be let in from the line.", { kind: "warn", action: linkTo("Go to the line", "wait") });
}

async function leave() {
  if (!(await ask("Leave the sale? Seats that you hold are given back, and your visit ends.", "Leave"))) return;
  const { admission } = recall();
  remember({ ticket: null, admittedUntil: null, hold: null, attempt: null });
  await call("DELETE", saleUrl("/places/me"), { token: admission }).catch(() => {}); // else it runs out by itself
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
  for (let tries = 0; ; ) {
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
  $("#smaller").onclick = () => resize(pitch / 1.3);
  $("#larger").onclick = () => resize(pitch * 1.3);
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
drawLegend();
listen();
await keepFresh();
