// Looks for the number behind an ALTCHA challenge, away from the page so that it stays alive.

import { sha256 } from "./sha256.js";

const CHUNK = 2000;

self.onmessage = ({ data: { challenge, salt, most } }) => {
  for (let number = 0; number <= most; number++) {
    if (sha256(salt + number) === challenge) return self.postMessage({ number });
    if (number % CHUNK === 0) self.postMessage({ progress: number / most });
  }
  self.postMessage({ number: null });
};
