// A long line: buyers arrive evenly, whether or not those before them were let in, and poll as they are told. The hall is
// small or its pace slow, so that most of what the servers do is to tell people that they wait.
//
//   k6 run -e BASES=http://127.0.0.1:8083 -e SALE=tide-seoul -e BUYERS=3000 -e RAMP_SECONDS=120 -e END_SECONDS=600 \
//     --log-format raw --console-output stories.ndjson load/crowd.js
//
// Whoever still waits shortly before END_SECONDS leaves the line. Every waiting buyer takes a VU: some 3,000 for a runner
// with 2 GiB.
import exec from 'k6/execution';
import { BUYERS, COMMON, arrivals, buy, lastMs, live, makeBuyer, sharesOf, thresholds } from './flow.js';

export { setup } from './flow.js';

const END_SECONDS = Number(__ENV.END_SECONDS || 600);
const SHARES = sharesOf({ late: 0, contested: 0.3 });

export const options = Object.assign({}, COMMON, {
  scenarios: { crowd: arrivals(BUYERS, END_SECONDS) },
  thresholds: thresholds(),
});

export default function () {
  const id = exec.scenario.iterationInTest + 1;
  if (id <= BUYERS) live(makeBuyer('crowd', id, SHARES, lastMs(END_SECONDS)), buy);
}
