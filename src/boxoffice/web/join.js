// Taking a place in the line: the button on the concert's page and on the waiting page.

import { prove } from "./altcha.js";
import { call, saleUrl } from "./api.js";
import { patience, sleep } from "./clock.js";
import { remember } from "./memory.js";
import { $, show, tell, untell } from "./page.js";

const PROOFS = 3;

/** Makes #join take a place (showing #proof and #progress) and then call `joined`. */
export function offerJoin(sale, joined) {
  $("#join").onclick = async () => {
    $("#join").disabled = true;
    untell();
    try {
      await takePlace(sale);
      joined();
    } catch (problem) {
      tell(refusal(problem));
    } finally {
      idle();
    }
  };
}

/** Joins, however often it takes; throws a Problem that trying again does not help. */
export async function takePlace(sale) {
  for (let tries = 1, needsProof = sale.proofOfWork === "Always"; ; tries++) {
    try {
      return await join(needsProof ? await prove(showProof) : undefined);
    } catch (problem) {
      if (problem.code === "proof_required" && tries <= PROOFS)
        needsProof = true; // switched on since, or expired
      else if (problem.again) await waitFor(problem, tries);
      else throw problem;
    }
  }
}

async function join(proof) {
  say("Taking a place for you…");
  const { body } = await call("POST", saleUrl("/places"), { body: proof ? { proof } : {} });
  remember({ ticket: body.ticket, aheadAtStart: body.ahead });
  return body;
}

async function waitFor(problem, tries) {
  const seconds = patience(problem, tries);
  say(`${problem.message} Trying again in ${Math.ceil(seconds)} s…`);
  await sleep(seconds);
}

function refusal(problem) {
  if (problem.code === "proof_required")
    return "The check that you are not a robot was not accepted. Please try again.";
  if (problem.status === 425) return "The line is not open yet. The button works when it opens.";
  return problem.message;
}

function showProof(share) {
  say("Checking that you are not a robot. This takes a few seconds…");
  show($("#proof"));
  $("#proof").value = share;
}

function say(text) {
  show($("#proof"), false);
  if ($("#progress").textContent !== text) $("#progress").textContent = text;
}

function idle() {
  $("#join").disabled = false;
  say("");
}
