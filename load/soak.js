// Long and steady: buyers arrive evenly for hours, and most of them bring their seats back, so that there is always
// something to hold, pay and settle. A sale that ends before the crowd does is not a soak: that fails.
//
//   k6 run -e BASES=http://127.0.0.1:8083 -e SALE=tide-seoul -e BUYERS=14400 -e RAMP_SECONDS=14400 \
//     --log-format raw --console-output stories.ndjson load/soak.js
//
// BUYERS in RAMP_SECONDS is the pace; LONGEST_SECONDS, how long one is under way at most, gives the number of VUs.
import exec from 'k6/execution';
import { BUYERS, COMMON, Ended, RAMP_SECONDS, arrivals, buy, lastMs, live, makeBuyer, sharesOf, thresholds } from './flow.js';

export { setup } from './flow.js';

const LONGEST_SECONDS = Number(__ENV.LONGEST_SECONDS || 300);
const END_SECONDS = Number(__ENV.END_SECONDS || RAMP_SECONDS + LONGEST_SECONDS);
const INSIDE = Math.min(BUYERS, Math.ceil((BUYERS * LONGEST_SECONDS) / RAMP_SECONDS));
const SHARES = sharesOf({ late: 0, absent: 0.02, quits: 0.7, contested: 0.1 });
const OVER = ['soldOut', 'over', 'closed'];

export const options = Object.assign({}, COMMON, {
  scenarios: { soak: arrivals(INSIDE, END_SECONDS) },
  thresholds: thresholds(),
});

export default function () {
  const id = exec.scenario.iterationInTest + 1;
  if (id <= BUYERS) live(makeBuyer('soak', id, SHARES, lastMs(END_SECONDS)), buyWhileItLasts);
}

function buyWhileItLasts(buyer) {
  try {
    buy(buyer);
  } catch (error) {
    if (error instanceof Ended && OVER.indexOf(error.message) >= 0) throw new Error(`the sale is ${error.message} before the soak is`);
    throw error;
  }
}
