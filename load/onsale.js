// An on-sale as a crowd lives it, over real HTTP: all come within some seconds, and want the same seats.
//
//   k6 run -e BASES=http://127.0.0.1:8083 -e SALE=tide-seoul -e BUYERS=1000 -e SEED=1 \
//     --log-format raw --console-output stories.ndjson load/onsale.js
//
// Every VU is one buyer with one iteration, an address (X-Forwarded-For) and a visitor cookie of its own. Who does
// what, and when, follows from SEED alone. Buyers arrive at moments of their own, whether or not those before them
// have been served. Each ends with one line of JSON, its story: what it did, was told and was sold. The verdict on the
// sale is somebody else's, from these stories, the ledger and the gateway's list of charges; k6's own is on the service:
// no answer missing, none of 5xx, and every buyer came to an end (`--no-thresholds` for a crowd that meets faults).
import { sleep } from 'k6';
import exec from 'k6/execution';
import { BUYERS, COMMON, buy, live, makeBuyer, sharesOf, thresholds } from './flow.js';

export { setup } from './flow.js';

const START_MS = Number(__ENV.START_MS || 0); // the first arrival, Unix ms; 0: when all are ready
const END_SECONDS = Number(__ENV.END_SECONDS || 180);
const SHARES = sharesOf();

export const options = Object.assign({}, COMMON, {
  scenarios: {
    onsale: {
      executor: 'per-vu-iterations',
      vus: BUYERS,
      iterations: 1,
      maxDuration: `${END_SECONDS}s`,
      gracefulStop: '1s',
    },
  },
  thresholds: thresholds(),
});

export default function () {
  const buyer = makeBuyer('onsale', exec.vu.idInTest, SHARES);
  sleep(Math.max(0, ((START_MS || exec.scenario.startTime) + buyer.plan.arrivesMs - Date.now()) / 1000));
  live(buyer, buy);
}
