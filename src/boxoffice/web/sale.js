// The sale that a page is about, loaded however long it takes, with its title in place.

import { Problem } from "./api.js";
import { loadSale, patience, sleep } from "./clock.js";
import { $, linkTo, make, tell, untell, view } from "./page.js";

export async function openSale() {
  for (let tries = 1; ; tries++) {
    try {
      const sale = await loadSale();
      if (tries > 1) untell();
      $("#title").replaceChildren(linkTo(sale.title, ""));
      return sale;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.again) return missing(problem);
      tell(`${problem.message} Trying again by itself.`, { kind: "warn" });
      await sleep(patience(problem, tries));
    }
  }
}

/** Says why there is nothing to show; the page goes no further. */
function missing(problem) {
  view("nothing");
  const text = problem.status === 404 ? "There is no such concert." : problem.message;
  tell(text, { action: make("a", { href: "/concerts" }, "All concerts") });
  return new Promise(() => {});
}
