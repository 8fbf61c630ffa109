// What this browser remembers of one sale: ticket, admission, hold, and the payment under way.
// It outlives a reload and a closed tab, and all tabs share it: always read it at the moment of use.

import { Problem, sale } from "./api.js";

const KEY = `boxoffice/${sale}`;

/** {ticket, aheadAtStart, admission, admittedUntil, hold, attempt}; members may be missing or null. */
export function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export function remember(changes) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...changes }));
  } catch {
    throw new Problem({
      code: "storage_blocked",
      detail:
        "This page must remember your place. Please allow this site to store data, and load the page again.",
    });
  }
}
