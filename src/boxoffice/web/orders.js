// Orders on their way: placing one so that it is placed once, and following it until it is final.

import { Problem, call, saleUrl, send } from "./api.js";
import { patience, sleep } from "./clock.js";
import { recall, remember } from "./memory.js";
import { orderState } from "./words.js";

/**
 * A payment about to be made: its key is stored before anything is sent, so that a reload or a retry
 * repeats this order and never makes a second one.
 */
export function newAttempt(hold, method) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const attempt = { key, hold: hold.id, method };
  remember({ attempt });
  return attempt;
}

/**
 * Sends the attempt until there is an answer. `waiting(problem)` is told of each delay. Throws what
 * cannot be retried.
 */
export async function place(attempt, waiting) {
  for (let tries = 1; ; tries++) {
    const token = recall().admission;
    try {
      return await post(attempt, token);
    } catch (problem) {
      const renewed = recall().admission !== token; // another tab was let in anew meanwhile
      if (!problem.again && !renewed) throw problem;
      waiting(problem);
      await sleep(patience(problem, tries));
    }
  }
}

async function post(attempt, token) {
  const { body } = await call("POST", saleUrl("/orders"), {
    body: { hold: attempt.hold, paymentMethod: attempt.method },
    headers: { "idempotency-key": attempt.key },
    token,
  });
  return body;
}

/**
 * The order's states until it is final: as the server sends them, and by asking again where the stream
 * breaks off.
 */
export async function* follow(id, waiting) {
  for (let tries = 1; ; tries++) {
    try {
      for await (const order of stream(id)) {
        tries = 1;
        yield order;
        if (orderState(order.state).final) return;
      }
      const { body } = await call("GET", saleUrl(`/orders/${id}`), { token: recall().admission });
      yield body;
      if (orderState(body.state).final) return;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.again) throw problem;
      waiting(problem);
    }
    await sleep(Math.min(5, patience(null, tries)));
  }
}

/** Server-sent events over fetch, because an EventSource cannot carry the admission. */
async function* stream(id) {
  const headers = { authorization: `Bearer ${recall().admission}`, accept: "text/event-stream" };
  const response = await send(saleUrl(`/orders/${id}/events`), { headers, cache: "no-store" }).catch(
    () => null,
  );
  if (!response) return; // no stream to be had: the caller asks, and is told why
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ;) {
      // Cut off: the caller asks again.
      const { value, done } = await reader.read().catch(() => ({ done: true }));
      if (done) return;
      const events = (text + value).split(/\r?\n\r?\n/);
      text = events.pop();
      for (const event of events) yield* dataOf(event);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function* dataOf(event) {
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  if (lines.length > 0) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
}
