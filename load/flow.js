// The way through the house that all crowds have in common: enter, wait, claim, look, hold, pay, and wait for the
// receipt; and the story that each buyer tells in the end, one line of JSON. Who does what follows from SEED and the
// buyer's number alone. Several runners (k6's execution segments) share one crowd: numbers are those of the whole test.
import http from 'k6/http';
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { b64decode } from 'k6/encoding';

export const BASES = (__ENV.BASES || 'http://127.0.0.1:8083').split(',');
export const SALE = __ENV.SALE || 'tide-seoul';
export const BUYERS = Number(__ENV.BUYERS || 1000);
export const RUNNERS = Number(__ENV.RUNNERS || 1); // of equal segments; `parallelism` of a TestRun
export const SEED = Number(__ENV.SEED || 1);
export const RAMP_SECONDS = Number(__ENV.RAMP_SECONDS || 10);
const THINK_SECONDS = Number(__ENV.THINK_SECONDS || 0); // inside, before seats are held: so long on average
const CONTESTED = __ENV.CONTESTED || 'front'; // the section that everybody wants
const FINAL = ['paid', 'declined', 'refused', 'refunded'];

// Of all buyers, the share that ...
const SHARES = {
  late: 0.05, // arrives after the ramp
  dawdles: 0.05, // is called, and claims some seconds later
  absent: 0.03, // is called, and comes when the turn is over
  givesUp: 0.04, // leaves the line
  lapses: 0.05, // holds seats and does not pay in time
  declined: 0.1, // pays with a card that is declined, then with another
  quits: 0.02, // pays with a card that is declined, and leaves
  twice: 0.08, // sends the payment twice at once
  slow: 0.01, // has a bank that takes two seconds
  fault: 0.01, // meets a fault of the gateway
  pair: 0.2, // wants two seats
  contested: 0.8, // tries the contested section first
};

// The shares of a scenario; SHARES overrides any of them.
export function sharesOf(changes) {
  return Object.assign({}, SHARES, changes, JSON.parse(__ENV.SHARES || '{}'));
}

const stories = new Counter('stories');

const KNOWN_SECONDS = Math.min(30, Number(__ENV.END_SECONDS || 30));

// Before the crowd comes, all of BASES know the sale: pods look for new ones once a second.
export function setup() {
  const until = Date.now() + 1000 * KNOWN_SECONDS;
  for (const base of BASES) {
    while (!knows(base, Date.now() > until)) sleep(0.1);
  }
}

function knows(base, isLate) {
  const reply = http.get(addressOf(base, ''), { timeout: '2s' });
  if (reply.status === 200) return true;
  if (isLate) throw new Error(`${base} does not know ${SALE}: ${reply.error || `${reply.status} ${codeOf(reply)}`}`);
  return false;
}

// Some thresholds hold where there is no sample: the count of stories cannot, and the others hang on it.
export function thresholds(more) {
  const least = Math.max(1, Math.floor(BUYERS / RUNNERS));
  return Object.assign(
    {
      stories: [`count>=${least}`],
      http_reqs: ['count>0'],
      http_req_failed: ['rate==0'],
      checks: ['rate==1'],
      dropped_iterations: ['count==0'],
    },
    more,
  );
}

// No answer, or one of 5xx, is a failure; a refusal is an answer.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 499 }));

export const COMMON = {
  systemTags: ['status'], // few tags: the figures come from the stories
  summaryTrendStats: ['p(95)'],
};

// BUYERS arrive one after the other within RAMP_SECONDS, whether or not those before them have been served; `inside` of
// them at most are under way at a time. The executor starts one too many or too few at its end: it goes on a little, and
// who comes after the last buyer goes home.
export function arrivals(inside, endSeconds) {
  const after = Math.max(20, Math.ceil((2 * BUYERS) / RAMP_SECONDS));
  const duration = Math.ceil(RAMP_SECONDS * (1 + after / BUYERS));
  return {
    executor: 'constant-arrival-rate',
    rate: BUYERS,
    timeUnit: `${RAMP_SECONDS}s`,
    duration: `${duration}s`,
    preAllocatedVUs: inside + after + 10,
    maxVUs: inside + after + 10,
    gracefulStop: `${Math.max(1, endSeconds - duration)}s`,
  };
}

export class Ended extends Error {} // the buyer's way ends here; the message says how

// When those who still wait, in line or for seats, go home: so long before the end that who is inside has time to pay.
export function lastMs(endSeconds) {
  return exec.scenario.startTime + 1000 * (endSeconds - Math.min(60, endSeconds / 4));
}

// A buyer with plans of its own, who goes home at `endsAtMs` if it still waits.
export function makeBuyer(crowd, id, shares, endsAtMs) {
  const random = randomFrom(SEED * 1000003 + id);
  const plan = planOf(random, shares);
  const story = { crowd, buyer: id, of: BUYERS, plan: plan.names, number: 0, etas: [], calledAtMs: 0 };
  Object.assign(story, { beganAtMs: Date.now(), steps: [], first: [], orders: [], end: '' });
  return {
    id,
    random,
    plan,
    endsAtMs: endsAtMs || Infinity,
    address: `10.${(id >> 16) & 255}.${(id >> 8) & 255}.${id & 255}`,
    cookie: '',
    ticket: '',
    admission: '',
    untilMs: 0, // the end of its turn inside
    pollSeconds: 2,
    keys: 0,
    trace: newTrace(),
    story,
  };
}

function planOf(random, shares) {
  const plan = { names: [] };
  for (const name of Object.keys(shares)) {
    plan[name] = random() < shares[name];
    if (plan[name] && name !== 'contested') plan.names.push(name);
  }
  plan.arrivesMs = 1000 * RAMP_SECONDS * (plan.late ? 1 + random() : random());
  plan.count = plan.pair ? 2 : 1;
  plan.patience = 1 + Math.floor(random() * 4); // polls
  return plan;
}

// Goes a way to its end, whatever that is, and tells the story.
export function live(buyer, way) {
  const story = buyer.story;
  story.beganAtMs = Date.now();
  try {
    way(buyer);
  } catch (error) {
    story.end = error instanceof Ended ? error.message : 'broken';
    if (!(error instanceof Ended)) story.problem = String(error);
  }
  check(story, { 'a way to the end': (told) => told.end !== 'broken' });
  story.endedAtMs = Date.now();
  stories.add(1);
  console.log(JSON.stringify(story));
}

export function buy(buyer) {
  enter(buyer);
  wait(buyer);
  claim(buyer);
  pay(buyer, choose(buyer));
}

// enter: the concert's page, then a place in line.
export function enter(buyer) {
  const concert = answer(buyer, 'concert', 'GET', '', null, '', [200]);
  const joined = answer(buyer, 'join', 'POST', '/places', {}, '', [200, 201]);
  buyer.ticket = joined.ticket;
  buyer.story.number = joined.number;
  buyer.pollSeconds = joined.pollAfterSeconds;
  return concert;
}

// wait: ask as often as the server says, no more.
export function wait(buyer) {
  for (let polls = 1; ; polls++) {
    const here = poll(buyer);
    if (here.state === 'called') return;
    if (here.state === 'lapsed' || here.state === 'over' || here.state === 'soldOut') throw new Ended(here.state);
    if (buyer.plan.givesUp && polls >= buyer.plan.patience) leave(buyer, buyer.ticket, 'gaveUp');
    if (Date.now() > buyer.endsAtMs) leave(buyer, buyer.ticket, 'stillWaiting');
  }
}

export function poll(buyer) {
  sleep(buyer.pollSeconds);
  const here = answer(buyer, 'whereabouts', 'GET', '/places/me', null, buyer.ticket, [200]);
  if (here.ticket) buyer.ticket = here.ticket;
  buyer.story.number = here.number || buyer.story.number;
  if (here.etaSeconds) buyer.story.etas.push([Date.now(), here.etaSeconds.p90]);
  buyer.pollSeconds = here.retryAfter || here.pollAfterSeconds;
  return here;
}

// claim: the called place becomes a turn inside.
export function claim(buyer) {
  if (buyer.plan.dawdles) sleep(1 + 4 * buyer.random());
  if (buyer.plan.absent) sleep(Number(__ENV.CLAIM_SECONDS || 15) + 3);
  const turn = answer(buyer, 'claim', 'POST', '/admissions', {}, buyer.ticket, [201]);
  buyer.admission = turn.admission;
  buyer.untilMs = Date.now() + 1000 * turn.expiresInSeconds;
  buyer.story.number = turn.number;
  buyer.story.calledAtMs = turn.calledAtMs;
}

// hold: the favourite seats first, then what the map shows free, then whatever there is.
function choose(buyer) {
  if (THINK_SECONDS) sleep(THINK_SECONDS * (0.5 + buyer.random()));
  for (let tries = 0; ; tries++) {
    const map = look(buyer);
    const wish = tries < 3 ? seatsWished(buyer, map, tries === 0) : { count: 1 + (tries === 3 && buyer.plan.pair) };
    if (wish.seats && tries === 0) buyer.story.first = wish.seats;
    const free = map.free > 0 || tries === 0;
    const held = free && answer(buyer, 'hold', 'POST', '/holds', wish, buyer.admission, [201, 409]);
    if (held && held.id) return held;
    if (!free) waitForSeats(buyer);
    else sleep(0.3 + 0.7 * buyer.random());
  }
}

function look(buyer) {
  const seen = answer(buyer, 'map', 'GET', '/seats', null, '', [200]);
  seen.states = new Uint8Array(b64decode(seen.map));
  return seen;
}

function seatsWished(buyer, map, first) {
  const front = first && buyer.plan.contested;
  const sections = map.sections.filter((section) => !front || section.name === CONTESTED);
  const names = [];
  let wanted = sections.flatMap((section) => freeIn(map.states, section).map((seat) => nameOf(section, seat)));
  // All gone already: a favourite is asked for all the same, it might come back.
  if (front && wanted.length < buyer.plan.count) wanted = sections.flatMap(seatsOf);
  while (names.length < buyer.plan.count && wanted.length) {
    names.push(wanted.splice(Math.floor(buyer.random() * wanted.length), 1)[0]);
  }
  return names.length ? { seats: names } : { count: 1 };
}

function seatsOf(section) {
  return Array.from({ length: section.size }, (_, at) => nameOf(section, section.first + at));
}

function freeIn(states, section) {
  const seats = [];
  for (let seat = section.first; seat < section.first + section.size; seat++) {
    if (((states[seat >> 2] >> (6 - 2 * (seat & 3))) & 3) === 0) seats.push(seat);
  }
  return seats;
}

function nameOf(section, seat) {
  const at = seat - section.first;
  if (section.kind === 'general') return `${section.name}/${String(at + 1).padStart(4, '0')}`;
  return `${section.name}/${1 + Math.floor(at / section.seatsPerRow)}/${1 + (at % section.seatsPerRow)}`;
}

// All taken for now: seats may come back, until the line says that they will not.
function waitForSeats(buyer) {
  sleep(1.5 + buyer.random());
  const line = answer(buyer, 'line', 'GET', '/line', null, '', [200]);
  if (line.state === 'soldOut' || line.state === 'closed') leave(buyer, buyer.admission, line.state);
  if (Date.now() > buyer.endsAtMs) leave(buyer, buyer.admission, 'stillWaiting');
}

// pay: an order, the receipt, and another card when the first one is declined.
function pay(buyer, hold) {
  if (buyer.plan.lapses) letLapse(buyer, hold);
  const declines = buyer.plan.declined || buyer.plan.quits;
  const first = order(buyer, hold.id, declines ? 'pm_card_declined' : cardOf(buyer.plan), buyer.plan.twice);
  if (first.state !== 'declined') throw new Ended(first.state);
  if (buyer.plan.quits || !first.hold) leave(buyer, buyer.admission, 'declined');
  throw new Ended(order(buyer, first.hold, cardOf(buyer.plan), false).state);
}

function cardOf(plan) {
  if (plan.slow) return 'pm_card_slow';
  return plan.fault ? 'pm_card_fault' : 'pm_card_visa';
}

function letLapse(buyer, hold) {
  sleep(hold.expiresInSeconds + 2);
  const late = answer(buyer, 'order', 'POST', '/orders', payment(hold.id, 'pm_card_visa'), buyer.admission, [202, 409], nextKey(buyer));
  if (late.id) throw new Error('a hold that had lapsed was paid');
  leave(buyer, buyer.admission, 'holdLapsed');
}

function order(buyer, hold, method, twice) {
  const key = nextKey(buyer);
  const began = Date.now();
  const told = { id: '', state: '', seats: [], amountMinor: 0, settledMs: 0 };
  buyer.story.orders.push(told);
  const ids = twice ? sendTwice(buyer, hold, method, key) : [];
  const placed = answer(buyer, 'order', 'POST', '/orders', payment(hold, method), buyer.admission, [202], key);
  if (ids.some((id) => id !== placed.id)) throw new Error(`one payment, several orders: ${ids} ${placed.id}`);
  let now = placed;
  while (FINAL.indexOf(now.state) < 0) {
    Object.assign(told, { id: now.id, state: now.state });
    sleep(0.5);
    now = answer(buyer, 'receipt', 'GET', `/orders/${placed.id}`, null, buyer.admission, [200]);
  }
  Object.assign(told, { id: now.id, state: now.state, seats: now.seats, amountMinor: now.amountMinor });
  told.settledMs = Date.now() - began;
  return now;
}

// The same payment twice at the same moment, as a double click sends it.
function sendTwice(buyer, hold, method, key) {
  const params = paramsOf(buyer, buyer.admission, key);
  const request = ['POST', urlOf(buyer, '/orders'), JSON.stringify(payment(hold, method)), params];
  const replies = http.batch([request, request]);
  for (const reply of replies) note(buyer, 'order', reply, reply.status === 409 ? codeOf(reply) : '');
  return replies.filter((reply) => reply.status === 202).map((reply) => JSON.parse(reply.body).id);
}

function payment(hold, method) {
  return { hold, paymentMethod: method };
}

function nextKey(buyer) {
  buyer.keys += 1;
  return `${SEED}-${buyer.id}-${buyer.keys}`;
}

export function leave(buyer, token, how) {
  answer(buyer, 'leave', 'DELETE', '/places/me', null, token, [204]);
  throw new Ended(how);
}

// One step over HTTP. "Later" (425, 429, 503, and 409 of an order being published) is obeyed; a turn that is over
// ends the buyer's way; any other answer that was not expected breaks the story.
export function answer(buyer, step, method, path, body, token, expected, key) {
  for (;;) {
    const reply = send(buyer, step, method, path, body, token, key);
    const code = reply.code;
    if (reply.status === 425 || reply.status === 429 || reply.status === 503 || code === 'publishing') {
      sleep((reply.later || 1) + 0.5 * buyer.random());
      continue;
    }
    if (reply.status === 410) throw new Ended(code);
    if (code === 'not_admitted' && Date.now() > buyer.untilMs) throw new Ended('sessionOver');
    if (expected.indexOf(reply.status) < 0) throw new Error(`${method} ${path}: ${reply.status} ${code} ${reply.error}`);
    keepCookie(buyer, reply);
    const doc = reply.body ? JSON.parse(reply.body) : {};
    doc.retryAfter = reply.later;
    return doc;
  }
}

// One request, and whatever is answered: with its `code`, where it is a refusal, and the seconds to `later`.
export function send(buyer, step, method, path, body, token, key) {
  const text = body === null ? null : JSON.stringify(body);
  const reply = http.request(method, urlOf(buyer, path), text, paramsOf(buyer, token, key));
  const { status, headers, error } = reply;
  const code = status >= 400 ? codeOf(reply) : '';
  note(buyer, step, reply, code);
  return { status, headers, error, body: reply.body, code, later: Number(headers['Retry-After'] || 0) };
}

function urlOf(buyer, path) {
  return addressOf(BASES[Math.floor(buyer.random() * BASES.length)], path);
}

function addressOf(base, path) {
  return `${base}/api/v1/sales/${SALE}${path}`;
}

function paramsOf(buyer, token, key) {
  const headers = { 'X-Forwarded-For': buyer.address, 'Content-Type': 'application/json', traceparent: buyer.trace };
  if (buyer.cookie) headers.Cookie = buyer.cookie;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers['Idempotency-Key'] = key;
  Object.assign(headers, buyer.headers);
  return { headers, jar: new http.CookieJar(), timeout: '30s' }; // whose cookie is whose, the flow knows
}

// One of all that a buyer asks, as the pages send it; 02: the app chooses whether it is followed.
function newTrace() {
  const hex = (count) =>
    Array.from({ length: count }, () => Math.floor(256 * Math.random()).toString(16).padStart(2, '0')).join('');
  return `00-${hex(16)}-${hex(8)}-02`;
}

function note(buyer, step, reply, code) {
  const { beganAtMs, steps } = buyer.story;
  steps.push([step, Math.round(reply.timings.duration * 10) / 10, reply.status, code, Date.now() - beganAtMs]);
}

function codeOf(reply) {
  try {
    return JSON.parse(reply.body).code || '';
  } catch (_) {
    return '';
  }
}

export function keepCookie(buyer, reply) {
  const set = reply.headers['Set-Cookie'];
  if (set) buyer.cookie = set.split(';', 1)[0];
}

// A small generator (mulberry32): the same seed, the same crowd.
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
