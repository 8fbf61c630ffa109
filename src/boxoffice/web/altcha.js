// Proof of work by the ALTCHA protocol, version 1: find `number` with SHA-256(salt + number) = challenge.

import { Problem, call, saleUrl } from "./api.js";

/**
 * Fetches a challenge and solves it. `progress` is told 0..1. Returns the payload; a payload is good
 * for one try.
 */
export async function prove(progress) {
  const { body: task } = await call("GET", saleUrl("/challenge"));
  if (task.algorithm !== "SHA-256")
    throw new Problem({ code: "challenge", detail: "This page is too old. Please load it again." });
  const { algorithm, challenge, salt, signature } = task;
  const number = await search({ challenge, salt, most: task.maxnumber ?? task.maxNumber ?? 1e6 }, progress);
  return btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
}

function search(task, progress) {
  const worker = new Worker("/assets/altcha-worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    const fail = (detail) => reject(new Problem({ code: "challenge", detail }));
    worker.onerror = () =>
      fail("The check that you are not a robot could not start. Please load the page again.");
    worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) progress(data.progress);
      else if (data.number === null) fail("The check that you are not a robot failed. Please try again.");
      else resolve(data.number);
    };
    worker.postMessage(task);
  }).finally(() => worker.terminate());
}
