// The dashboard: every sale's figures, live, the four things an operator can do to it, and the dead letters.

import { sleep } from "./clock.js";
import { admin, askReason, forgetToken, problemOf } from "./operator.js";
import { $, make, show, tell, untell } from "./page.js";
import { count, money, plural, saleState } from "./words.js";

const REFRESH_SECONDS = 2;

const ACTIONS = {
  hold: ["Hold", "Nobody new is let in. Those inside go on; the line is kept."],
  drain: ["Drain", "Nobody new may join the line or is let in. Those inside go on."],
  resume: ["Resume", "The policy of the sale’s own resource counts again."],
  close: ["Close", "The sale ends: the line and everybody’s visit. Orders already placed are still settled."],
};
const FIGURES = {
  waiting: ["Waiting", (s) => count(s.waiting)],
  active: ["Inside / target", (s) => `${count(s.active)} / ${count(s.activeTarget)}`],
  rate: ["Let in a minute", (s) => count(s.ratePerMinute)],
  held: ["Held", (s) => count(s.held)],
  paying: ["Being paid", (s) => count(s.paying)],
  sold: ["Sold", (s) => `${count(s.sold)} / ${count(s.total)}`],
  revenue: ["Revenue", (s) => (s.revenueMinor === null ? "not known" : money(s.revenueMinor, s.currency))],
};

// By name: a card stays, only its words change, so that focus and a half-made click stay too.
const cards = new Map();

function card(name) {
  const part = (tag, key, attributes = {}) => make(tag, { "data-part": key, ...attributes });
  const figures = Object.entries(FIGURES).map(([key, [label]]) =>
    make("div", {}, make("dt", {}, label), part("dd", key)),
  );
  const buttons = Object.entries(ACTIONS).map(([action, [label, text]]) =>
    make(
      "button",
      {
        type: "button",
        class: action === "close" ? "little danger" : "little",
        click: () => act(name, action, label, text),
      },
      label,
    ),
  );
  const audit = make(
    "button",
    { type: "button", class: "little", click: (event) => runAudit(name, event.target) },
    "Audit",
  );
  const edit = make(
    "a",
    { class: "button little", href: `/admin/sales/${encodeURIComponent(name)}` },
    "Edit",
  );
  return make(
    "section",
    { class: "card stack", "aria-label": name },
    make(
      "div",
      { class: "apart" },
      make("div", { class: "tight" }, part("h2", "title"), part("p", "about", { class: "quiet small" })),
      part("span", "state", { class: "pill" }),
    ),
    part("p", "override", { class: "notice" }),
    make("dl", { class: "figures" }, ...figures),
    make(
      "div",
      { class: "tight" },
      part("progress", "bar", { max: 1000, "aria-label": "Share of the seats that is sold" }),
      part("p", "through", { class: "quiet small" }),
    ),
    make("div", { class: "row" }, ...buttons, audit, edit),
  );
}

function fill(element, sale) {
  const part = (key) => $(`[data-part="${key}"]`, element);
  const write = (key, text) => {
    part(key).textContent = text;
  };
  write("title", sale.title);
  write("about", `${sale.name} · policy ${sale.policy} · mode ${sale.mode}`);
  write("state", saleState(sale.state).label);
  part("state").dataset.tone = saleState(sale.state).tone;
  show(part("override"), Boolean(sale.override));
  write("override", sale.override ? overrideInWords(sale.override) : "");
  for (const [key, [, text]] of Object.entries(FIGURES)) write(key, text(sale));
  part("bar").value = sale.sellThroughPerMille;
  write("through", `${(sale.sellThroughPerMille / 10).toFixed(1)} % sold, ${count(sale.free)} free`);
}

function overrideInWords({ policy, who, why, until }) {
  const end = until ? `, until ${new Date(until).toLocaleString()}` : "";
  return `Overridden to ${policy} by ${who}: “${why}”${end}`;
}

function draw(sales) {
  for (const sale of sales) {
    if (!cards.has(sale.name)) cards.set(sale.name, card(sale.name));
    const element = cards.get(sale.name);
    fill(element, sale);
    if (!element.isConnected) $("#sales").append(element);
  }
  for (const [name, element] of cards) {
    if (!sales.some((sale) => sale.name === name)) {
      element.remove();
      cards.delete(name);
    }
  }
}

async function act(name, action, label, text) {
  const reason = await askReason(label, `${name}: ${text}`, action !== "resume");
  if (!reason) return;
  try {
    await admin("POST", `/sales/${encodeURIComponent(name)}/${action}`, { body: reason });
    tell(`${label}: done for ${name}.`, { kind: "good" });
    await refresh();
  } catch (error) {
    tell(`${label} of ${name} failed: ${problemOf(error)}`);
  }
}

// ------------------------------------------------------------------ audit

async function runAudit(name, button) {
  button.disabled = true;
  try {
    const { body } = await admin("GET", `/sales/${encodeURIComponent(name)}/audit`);
    showAudit(name, body);
  } catch (error) {
    tell(`The audit of ${name} failed: ${problemOf(error)}`);
  } finally {
    button.disabled = false;
  }
}

function showAudit(name, { differences = [], ...rest }) {
  const clean = differences.length === 0;
  const items = differences.map((difference) => make("li", {}, inWords(difference)));
  const facts = Object.entries(rest).map(([key, value]) => make("li", {}, `${key}: ${inWords(value)}`));
  const close = make("button", { type: "button", class: "primary", click: () => dialog.remove() }, "Close");
  const dialog = make(
    "dialog",
    { "aria-labelledby": "audit-heading" },
    make(
      "div",
      { class: "stack" },
      make(
        "h2",
        { id: "audit-heading" },
        `Audit of ${name}: ${clean ? "no differences" : plural(differences.length, "difference")}`,
      ),
      make("ul", { class: "findings small", role: "list" }, ...items, ...facts),
      make("p", {}, close),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

const inWords = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

// ------------------------------------------------------------------ dead letters

async function refreshLetters() {
  try {
    const { body } = await admin("GET", "/dead-letters");
    const none = make("li", {}, "None. Every record could be settled.");
    $("#letters").replaceChildren(
      ...(body.deadLetters.length > 0 ? body.deadLetters.map(letterItem) : [none]),
    );
  } catch (error) {
    $("#letters").replaceChildren(make("li", {}, `They cannot be read: ${problemOf(error)}`));
  }
}

function letterItem({ id, ...facts }) {
  const told = Object.entries(facts).filter(([, value]) => value !== "" && value !== null);
  const text = told.map(([key, value]) => `${key}: ${inWords(value)}`).join(" · ");
  const button = (action, label) =>
    make("button", { type: "button", class: "little", click: () => decide(id, action, label) }, label);
  return make(
    "li",
    { class: "apart" },
    make("span", {}, make("strong", {}, `#${id} `), text),
    make("span", { class: "row" }, button("replay", "Replay"), button("discard", "Discard")),
  );
}

async function decide(id, action, label) {
  const text =
    action === "replay"
      ? "The record is tried once more."
      : "The record is set aside for good. It is not an order any more.";
  const reason = await askReason(`${label} #${id}`, text, action === "discard");
  if (!reason) return;
  try {
    await admin("POST", `/dead-letters/${encodeURIComponent(id)}/${action}`, { body: reason });
    await refreshLetters();
  } catch (error) {
    tell(`${label} of #${id} failed: ${problemOf(error)}`);
  }
}

// ------------------------------------------------------------------ live

async function refresh() {
  const { body } = await admin("GET", "/sales");
  show($("#inside"));
  show($("#forget"));
  draw(body.sales);
  if (body.sales.length === 0)
    $("#sales").replaceChildren(make("p", { class: "quiet" }, "There are no sales yet."));
  $("#fresh").textContent = "Live";
}

async function live() {
  for (let failed = false; ; await sleep(REFRESH_SECONDS)) {
    if (document.hidden) continue;
    try {
      await refresh();
      if (failed) untell();
      failed = false;
    } catch (error) {
      failed = true;
      $("#fresh").textContent = "Not live";
      tell(`The figures are old: ${problemOf(error)} Trying again.`, { kind: "warn" });
    }
  }
}

$("#forget").onclick = () => (forgetToken(), location.reload());
$("#letters-refresh").onclick = refreshLetters;
live();
refreshLetters();
