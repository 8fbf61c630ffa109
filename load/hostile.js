// A crowd of which some mean ill: they forge tokens, share them, hold seats and never pay, hammer without waiting, and
// say that they come from elsewhere. What they try must be refused, each time, without a 5xx; the others want to buy as
// ever, and the verdict on the sale is on them all.
//
//   k6 run -e BASES=http://127.0.0.1:8083 -e SALE=tide-seoul -e BUYERS=300 -e RAMP_SECONDS=30 -e END_SECONDS=300 \
//     --log-format raw --console-output stories.ndjson load/hostile.js
//
// One who means ill says so in its story's plan, and how often it was refused. HOSTILE changes their shares.
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { b64decode, b64encode } from 'k6/encoding';
import * as flow from './flow.js';

export { setup } from './flow.js';

const END_SECONDS = Number(__ENV.END_SECONDS || 300);
const TRIES = Number(__ENV.TRIES || 40); // of each forger and hammerer
const MOST_JOINS = 200;
const SHARES = flow.sharesOf({ late: 0 });

// Of all, the share that ...
const HOSTILE = Object.assign(
  {
    forger: 0.05, // tries tokens that nobody gave it
    sharer: 0.05, // passes its ticket and its admission on
    grabber: 0.1, // holds what it can, again and again, and never pays
    hammerer: 0.05, // polls without waiting
    spoofer: 0.05, // joins again and again, each time from "another" address
  },
  JSON.parse(__ENV.HOSTILE || '{}'),
);
const WAYS = { forger: forge, sharer: share, grabber: grab, hammerer: hammer, spoofer: spoof };

const refused = new Counter('refused');

export const options = Object.assign({}, flow.COMMON, {
  scenarios: { hostile: flow.arrivals(flow.BUYERS, END_SECONDS) },
  thresholds: flow.thresholds(
    // Each kind must have been there, and refused.
    Object.fromEntries(kinds().map((kind) => [`refused{kind:${kind}}`, ['count>0']])),
  ),
});

export default function () {
  const id = exec.scenario.iterationInTest + 1;
  if (id > flow.BUYERS) return;
  const buyer = flow.makeBuyer('hostile', id, SHARES, flow.lastMs(END_SECONDS));
  const kind = kindOf(buyer);
  if (kind) Object.assign(buyer, { kind, plan: Object.assign(buyer.plan, { givesUp: false, dawdles: false, absent: false }) });
  if (kind) Object.assign(buyer.story, { plan: ['hostile', kind], refused: 0 });
  flow.live(buyer, kind ? WAYS[kind] : flow.buy);
}

function kinds() {
  return Object.keys(HOSTILE).filter((kind) => HOSTILE[kind] > 0);
}

function kindOf(buyer) {
  let left = buyer.random();
  return kinds().find((kind) => (left -= HOSTILE[kind]) < 0);
}

// What is tried must be refused, by one of these statuses.
function mustRefuse(buyer, what, reply, statuses) {
  if (statuses.indexOf(reply.status) < 0) throw new Error(`${what} was answered with ${reply.status} ${reply.code}`);
  buyer.story.refused += 1;
  refused.add(1, { kind: buyer.kind });
}

function forge(buyer) {
  flow.enter(buyer);
  for (let n = 0; n < TRIES; n++) {
    const token = forged(buyer, n);
    const tries = [
      ['whereabouts', 'GET', '/places/me', null],
      ['claim', 'POST', '/admissions', {}],
      ['hold', 'POST', '/holds', { count: 1 }],
      ['order', 'POST', '/orders', { hold: '1', paymentMethod: 'pm_card_visa' }],
      ['leave', 'DELETE', '/places/me', null],
    ];
    const [step, method, path, body] = tries[n % tries.length];
    mustRefuse(buyer, `a forged token (${token}) at ${method} ${path}`, flow.send(buyer, step, method, path, body, token, `f-${n}`), [401]);
    sleep(0.05 * buyer.random());
  }
  flow.poll(buyer); // its own ticket is as good as before
  flow.leave(buyer, buyer.ticket, 'forged');
}

// Its own ticket with a byte changed, anywhere: a lower number, another kind, another MAC; cut off, grown; a JWT of nobody.
function forged(buyer, n) {
  const token = buyer.ticket;
  if (n % 8 === 5) return token.slice(0, -1 - Math.floor(buyer.random() * 20));
  if (n % 8 === 6) return `${token}A`;
  if (n % 8 === 7) return 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJib3gtb2ZmaWNlIiwibnVtYmVyIjoxfQ.';
  const bytes = new Uint8Array(b64decode(token, 'rawurl'));
  const at = Math.floor(buyer.random() * bytes.length);
  bytes[at] ^= 1 + Math.floor(buyer.random() * 255);
  return b64encode(bytes.buffer, 'rawurl');
}

// Others, each in a browser of its own, with what one was given; and the one in two windows at once.
function share(buyer) {
  flow.enter(buyer);
  passOn(buyer, buyer.ticket, [
    ['whereabouts', 'GET', '/places/me', null],
    ['claim', 'POST', '/admissions', {}],
  ]);
  flow.wait(buyer);
  flow.claim(buyer);
  passOn(buyer, buyer.admission, [
    ['hold', 'POST', '/holds', { count: 1 }],
    ['leave', 'DELETE', '/places/me', null],
  ]);
  const older = buyer.admission;
  flow.claim(buyer);
  mustRefuse(buyer, 'the older of two windows', flow.send(buyer, 'hold', 'POST', '/holds', { count: 1 }, older), [403]);
  flow.leave(buyer, buyer.admission, 'shared');
}

function passOn(buyer, token, tries) {
  const [name] = buyer.cookie.split('=', 1);
  for (const cookie of ['', `${name}=abcdefghijklmnopqrstuvwx`, `${name}=;${name}=x`]) {
    const other = Object.assign({}, buyer, { cookie, address: `10.200.${buyer.id & 255}.7` });
    for (const [step, method, path, body] of tries) {
      mustRefuse(buyer, `a shared token at ${method} ${path}`, flow.send(other, step, method, path, body, token), [401]);
    }
  }
}

// As long as its turn lasts, and there are seats: more than its share is refused, and what it holds goes back unpaid.
function grab(buyer) {
  const most = flow.enter(buyer).maxSeatsPerBuyer;
  flow.wait(buyer);
  flow.claim(buyer);
  for (;;) {
    const reply = flow.send(buyer, 'hold', 'POST', '/holds', { count: most + 1, together: false }, buyer.admission);
    if (reply.status === 403 || reply.status === 410) throw new flow.Ended('grabbed');
    mustRefuse(buyer, 'more seats than a buyer may hold', reply, [409, 422, 429]);
    const held = flow.send(buyer, 'hold', 'POST', '/holds', { count: 1 }, buyer.admission);
    if (held.status === 410 || Date.now() > buyer.endsAtMs) flow.leave(buyer, buyer.admission, 'grabbed');
    sleep(held.status === 201 ? 0.2 : Math.max(1, held.later));
  }
}

// Too early a poll is refused by the pod that saw the last one: among so many, some are.
function hammer(buyer) {
  flow.enter(buyer);
  for (let n = 0; n < TRIES; n++) {
    const reply = flow.send(buyer, 'whereabouts', 'GET', '/places/me', null, buyer.ticket);
    if (reply.status === 429) mustRefuse(buyer, 'a poll too early', reply, [429]);
    else if (reply.status !== 200) throw new Error(`a poll too early was answered with ${reply.status} ${reply.code}`);
  }
  if (!buyer.story.refused) throw new Error(`${TRIES} polls without a wait, and none was refused`);
  flow.poll(buyer);
  flow.leave(buyer, buyer.ticket, 'hammered');
}

// Places for many, from one address: what stands before the address that the proxy adds is not believed. Nor is a request
// that another site's page sends.
function spoof(buyer) {
  const first = flow.send(buyer, 'join', 'POST', '/places', {}, '');
  const limit = Number((/q=(\d+)/.exec(first.headers['Ratelimit-Policy']) || [])[1]);
  for (let n = 0; n < Math.min(limit + 5, MOST_JOINS) && !buyer.story.refused; n++) {
    const chain = `192.0.2.${n % 256}, 198.51.100.${buyer.id % 256}, ${buyer.address}`;
    const other = Object.assign({}, buyer, { cookie: '', address: chain, headers: { Forwarded: `for=192.0.2.${n % 256}`, 'X-Real-IP': `192.0.2.${n % 256}` } });
    const reply = flow.send(other, 'join', 'POST', '/places', {}, '');
    if (reply.status === 429) mustRefuse(buyer, 'one place too many', reply, [429]);
    else if (reply.status !== 201) throw new Error(`a place for another was answered with ${reply.status} ${reply.code}`);
  }
  if (limit <= MOST_JOINS && !buyer.story.refused) throw new Error(`${limit + 5} places from one address, and none was refused`);
  const elsewhere = Object.assign({}, buyer, { headers: { Origin: 'https://tickets.example' } });
  mustRefuse(buyer, 'a request of another site', flow.send(elsewhere, 'join', 'POST', '/places', {}, ''), [403]);
  throw new flow.Ended('spoofed');
}
