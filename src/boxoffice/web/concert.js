// One concert: where and when, the time left by the shop's clock, and the way into the line.

import { pageUrl } from "./api.js";
import { countDown, inZone, loadSale, patience, secondsUntil, whereYouAre } from "./clock.js";
import { offerJoin } from "./join.js";
import { recall } from "./memory.js";
import { $, make, show, tell, title, untell } from "./page.js";
import { money, plural, saleState } from "./words.js";

const REFRESH_SECONDS = 20;
const SPREAD_SECONDS = 1.5; // those who wait for the same moment do not ask again in the same instant

function drawFacts(sale) {
  const times = [
    ["The line opens", sale.preQueueTime],
    ["The sale opens", sale.opensTime],
    ["The sale ends", sale.closesTime],
  ];
  const rows = times
    .filter(([, time]) => time)
    .map(([label, time]) => {
      const here = whereYouAre(time, sale.timeZone);
      return fact(label, inZone(time, sale.timeZone), here && `${here} where you are`);
    });
  const seats = fact(
    "Seats",
    `${plural(sale.total, "seat")}, from ${money(sale.fromPriceMinor, sale.currency)}`,
  );
  $("#facts").replaceChildren(
    ...rows,
    seats,
    fact("For one buyer", `up to ${plural(sale.maxSeatsPerBuyer, "seat")}`),
  );
}

function fact(label, text, note = "") {
  return make(
    "div",
    {},
    make("dt", {}, label),
    make("dd", {}, text),
    note ? make("dd", { class: "quiet small" }, note) : null,
  );
}

function drawHead(sale) {
  title(sale.title);
  $("#title").textContent = sale.title;
  $("#venue").textContent = sale.venue;
  $("#state").textContent = saleState(sale.state).label;
  $("#state").dataset.tone = saleState(sale.state).tone;
  $("#offer").textContent = saleState(sale.state).says;
}

/** The next moment worth waiting for: [what, when], or null. */
function nextMoment(sale) {
  const moments = [
    ["The line opens in", sale.preQueueTime],
    ["The sale opens in", sale.opensTime],
  ];
  return moments.find(([, time]) => time && secondsUntil(time) > 0) ?? null;
}

let stopClock = () => {};

function drawCountdown(sale) {
  const next = nextMoment(sale);
  stopClock();
  show($("#countdown"), next !== null);
  if (!next) return;
  $("#countdown-label").textContent = next[0];
  stopClock = countDown($("#clock"), next[1], () => refreshIn(Math.random() * SPREAD_SECONDS));
}

function drawWay(sale) {
  const { ticket, admission, admittedUntil } = recall();
  const inside = admission && secondsUntil(admittedUntil) > 0;
  const known = inside || ticket;
  show($("#join"), !known && saleState(sale.state).joinable);
  show($("#resume"), Boolean(known) && sale.state !== "closed");
  $("#resume").textContent = inside ? "Go on to the seats" : "Go to your place in the line";
  $("#resume").href = pageUrl(inside ? "seats" : "wait");
  show($("#tickets"), Boolean(admission));
  $("#tickets a").href = pageUrl("tickets");
}

function draw(sale) {
  show($("#loading"), false);
  show($("#concert"));
  drawHead(sale);
  drawFacts(sale);
  drawCountdown(sale);
  drawWay(sale);
  offerJoin(sale, () => location.assign(pageUrl("wait")));
}

let timer = 0;
let tries = 0;

function refreshIn(seconds) {
  clearTimeout(timer);
  timer = setTimeout(refresh, seconds * 1000);
}

async function refresh() {
  try {
    draw(await loadSale());
    if (tries > 0) untell();
    tries = 0;
    refreshIn(REFRESH_SECONDS);
  } catch (problem) {
    if (problem.status === 404) return missing();
    tell(`${problem.message} Trying again by itself.`, { kind: "warn" });
    refreshIn(patience(problem, ++tries));
  }
}

function missing() {
  show($("#loading"), false);
  tell("There is no such concert.", { action: make("a", { href: "/concerts" }, "All concerts") });
}

refresh();
// Back from another page: it may be old.
window.addEventListener("pageshow", (event) => event.persisted && refresh());
