// The waiting page: asks where the buyer stands as often as told, and goes in by itself when called.

import { Problem, call, pageUrl, saleUrl } from "./api.js";
import { countDown, inZone, patience, secondsUntil, sleep } from "./clock.js";
import { offerJoin, takePlace } from "./join.js";
import { recall, remember } from "./memory.js";
import { $, announce, ask, show, tell, title, untell, view } from "./page.js";
import { openSale } from "./sale.js";
import { count, plural, saleState, waitInWords } from "./words.js";

const ENDED = {
  over: ["This sale is over", "Thank you for waiting. This sale has ended, and your place ended with it."],
  soldOut: ["Sold out", "Thank you for waiting. Every seat is sold, so the line has ended."],
};
const STANDING = ["hold", "drain", "allTaken", "recovering"]; // why nobody may be moving

let sale = null;
// A ticket that the shop no longer knows is renewed once by itself, then only when asked.
let rejoined = false;

/** Shows one view under a heading; `said` is spoken too. */
function scene(name, heading, said = heading) {
  view(name);
  $("#heading").textContent = heading;
  show($("#leave"), ["prequeue", "waiting", "called"].includes(name));
  announce(said);
}

// ------------------------------------------------------------------ the states

let stopClock = null;

function showPrequeue(place) {
  scene(
    "prequeue",
    "You are early, and in",
    `You have a place. The sale opens ${inZone(sale.opensTime, sale.timeZone)}.`,
  );
  $("#early-number").textContent = count(place.number);
  $("#opens-at").textContent = inZone(sale.opensTime, sale.timeZone);
  stopClock ??= countDown($("#opens-in"), sale.opensTime);
  title("The sale opens soon");
}

async function showWaiting(place) {
  const eta = waitInWords(place.etaSeconds);
  scene("waiting", "You are in the line", spoken(place, eta));
  $("#ahead").textContent = count(place.ahead);
  $("#ahead").toggleAttribute("data-long", place.ahead > 9999);
  $("#ahead-label").textContent = place.ahead === 1 ? "person ahead of you" : "people ahead of you";
  $("#number").textContent = count(place.number);
  $("#eta").textContent = eta;
  drawMoved(place.ahead);
  title(`${count(place.ahead)} ahead · ${sale.title}`);
  await drawStanding(eta === "");
}

/** Coarse on purpose: a screen reader speaks when something has changed that matters, not at each poll. */
function spoken(place, eta) {
  const step = 10 ** Math.max(0, String(place.ahead).length - 2);
  return `About ${plural(Math.ceil(place.ahead / step) * step, "person", "people")} ahead of you. ${eta}`;
}

function drawMoved(ahead) {
  const start = Math.max(recall().aheadAtStart ?? 0, ahead);
  if (start !== recall().aheadAtStart) remember({ aheadAtStart: start });
  $("#moved").value = start === 0 ? 1 : (start - ahead) / start;
}

/** When no time can be told, the line's own document says why. */
async function drawStanding(unknown) {
  const line = unknown ? await call("GET", saleUrl("/line")).catch(() => null) : null;
  const state = line?.body.state;
  show($("#standing"), STANDING.includes(state));
  $("#standing").textContent = saleState(state).says;
  if (unknown && !STANDING.includes(state)) $("#eta").textContent = "Working out how long it takes…";
}

function showCalled(text = "We are letting you in…") {
  scene("called", "It is your turn");
  $("#called-text").textContent = text;
  title("It is your turn");
}

function showEnded(state) {
  remember({ ticket: null });
  showEnd(...ENDED[state]);
}

function showEnd(heading, text) {
  scene("ended", heading);
  $("#ended-text").textContent = text;
  title(heading);
}

function showJoin(heading, text, button = "Join the line") {
  remember({ ticket: null });
  scene("join", heading);
  $("#join-text").textContent = text;
  $("#join").textContent = button;
  title(heading);
  offerJoin(sale, wait);
}

const showLapsed = () =>
  showJoin(
    "Your turn has passed",
    "You were called, but nobody was here to go in, so the place went to the next in line. You can join again, at the end.",
    "Join again",
  );

// ------------------------------------------------------------------ the way through

/** Polls until called or ended. */
async function wait() {
  for (let tries = 0; recall().ticket;) {
    try {
      const place = await whereAmI();
      if (tries > 0) untell();
      tries = 0;
      if (await step(place)) return;
      await sleep(place.wait);
    } catch (problem) {
      if (await setback(problem, ++tries)) return;
    }
  }
}

async function whereAmI() {
  const { body, retryAfter } = await call("GET", saleUrl("/places/me"), { token: recall().ticket });
  if (body.ticket) remember({ ticket: body.ticket }); // the newest ticket is the one that counts
  return { ...body, wait: retryAfter || body.pollAfterSeconds || 5 };
}

/** Shows where the buyer stands; true when the wait is over. */
async function step(place) {
  if (place.state === "called") return goIn();
  if (place.state === "lapsed") showLapsed();
  else if (ENDED[place.state]) showEnded(place.state);
  else if (place.state === "prequeue") showPrequeue(place);
  else await showWaiting(place);
  return !["prequeue", "waiting"].includes(place.state);
}

/** Swaps the ticket for an admission; true when inside, false when it is not time yet after all. */
async function goIn() {
  showCalled();
  for (let tries = 1; ; tries++) {
    try {
      const { body } = await call("POST", saleUrl("/admissions"), { body: {}, token: recall().ticket });
      remember({ admission: body.admission, admittedUntil: body.expiresAt, hold: null });
      location.replace(pageUrl("seats"));
      return true;
    } catch (problem) {
      if (problem.code === "not_called") return false;
      if (problem.code !== "crowded" && !problem.again) throw problem;
      showCalled(
        problem.code === "crowded"
          ? "The hall is full this very second. You are next, and your turn is kept."
          : `${problem.message} We keep trying to let you in.`,
      );
      await sleep(patience(problem, tries));
    }
  }
}

/** What to do about a problem; true when the wait cannot go on. */
async function setback(problem, tries) {
  if (problem.code === "lapsed") return (showLapsed(), true);
  if (problem.status === 410) return (showEnded(problem.code === "sold_out" ? "soldOut" : "over"), true);
  if (problem.status === 401 || problem.status === 404) return renew(problem);
  if (problem.status === 429)
    await sleep(patience(problem, tries)); // asked too early: nothing to worry about
  else if (problem.again) await standBy(problem, tries);
  else throw problem;
  return false;
}

async function standBy(problem, tries) {
  tell(`${problem.message} Your place is kept; this page goes on by itself.`, { kind: "warn" });
  await sleep(patience(problem, tries));
}

/**
 * The ticket is not known any more. The shop still knows the visitor, so joining again gives the same
 * place back.
 */
async function renew(problem) {
  if (!(problem instanceof Problem) || rejoined) {
    showJoin(
      "We lost track of your place",
      "Join to get it back: if the shop still has it, it is the same place.",
    );
    return true;
  }
  rejoined = true;
  await takePlace(sale);
  return false;
}

// ------------------------------------------------------------------ start

$("#leave").onclick = async () => {
  if (
    !(await ask(
      "Leave the line? Your place goes to the next, and you would join again at the end.",
      "Leave the line",
    ))
  )
    return;
  const { ticket } = recall();
  remember({ ticket: null, aheadAtStart: null });
  await call("DELETE", saleUrl("/places/me"), { token: ticket }).catch(() => {}); // else it lapses by itself
  location.assign(pageUrl());
};

async function start() {
  sale = await openSale();
  const { ticket, admission, admittedUntil } = recall();
  if (admission && secondsUntil(admittedUntil) > 0) location.replace(pageUrl("seats"));
  else if (ticket) await wait();
  else if (saleState(sale.state).joinable) showJoin("Join the line", saleState(sale.state).says);
  else showEnd(saleState(sale.state).label, saleState(sale.state).says);
}

start();
