// What every page has: elements, notices, one view at a time, and a question before a step without return.

import { pageUrl } from "./api.js";

export const $ = (selector, root = document) => root.querySelector(selector);
export const show = (element, visible = true) => {
  element.hidden = !visible;
};

/**
 * An element with attributes; a function is a listener, `true` a bare attribute, null and false are
 * left out.
 */
export function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Says `text` at the head of the page. `kind`: bad | warn | good. `action`: an element to press. */
export function tell(text, { kind = "bad", action = null } = {}) {
  const notice = $("#notice");
  notice.dataset.kind = kind;
  notice.setAttribute("role", kind === "bad" ? "alert" : "status");
  notice.replaceChildren(make("span", {}, text), ...(action ? [action] : []));
  show(notice);
}

export const untell = () => show($("#notice"), false);

export const linkTo = (text, name) => make("a", { href: pageUrl(name) }, text);

/** Spoken by a screen reader, not seen. The same words are not said twice. */
export function announce(text) {
  const live = $("#announce");
  if (live.textContent !== text) live.textContent = text;
}

export function view(name) {
  for (const part of document.querySelectorAll("[data-view]")) show(part, part.dataset.view === name);
}

export function title(text) {
  document.title = `${text} · Boxoffice`;
}

/** Asks before a step without return. True when `yes` was pressed. */
export function ask(text, yes, no = "No, go back") {
  return new Promise((resolve) => {
    const answer = (value) => () => (dialog.close(), resolve(value));
    const dialog = make(
      "dialog",
      { class: "ask", close: () => (dialog.remove(), resolve(false)) },
      make(
        "div",
        { class: "stack" },
        make("p", {}, text),
        make(
          "div",
          { class: "row" },
          make("button", { type: "button", click: answer(false) }, no),
          make("button", { type: "button", class: "danger", click: answer(true) }, yes),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A picker of a small number: − 2 +. `changed` is told each new value. */
export function counter(label, { value, max }, changed = () => {}) {
  const output = make("output", { "aria-live": "polite" });
  const step = (by) => () => set(Math.max(1, Math.min(max, Number(output.value) + by)));
  const less = make(
    "button",
    { type: "button", class: "square", "aria-label": `${label}: one fewer`, click: step(-1) },
    "−",
  );
  const more = make(
    "button",
    { type: "button", class: "square", "aria-label": `${label}: one more`, click: step(1) },
    "+",
  );
  const set = (number) => {
    output.value = number;
    less.disabled = number <= 1;
    more.disabled = number >= max;
    changed(number);
  };
  set(value);
  const element = make("div", { class: "counter", role: "group", "aria-label": label }, less, output, more);
  return {
    element,
    get value() {
      return Number(output.value);
    },
  };
}

for (const link of document.querySelectorAll("[data-to]")) link.href = pageUrl(link.dataset.to);

// Whatever was not foreseen is said as well: a page that stands still without a word is the worst answer.
const unforeseen = (error) =>
  tell(error?.message || "Something went wrong on this page. Please load it again.");
window.addEventListener("unhandledrejection", (event) => unforeseen(event.reason));
window.addEventListener("error", (event) => unforeseen(event.error));
