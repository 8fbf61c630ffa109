// An operator's call to the admin API, with the token that is asked for once and kept for this tab only;
// and the question who does something, and why, that goes with every action.

import { Problem, call } from "./api.js";
import { make } from "./page.js";

const TOKEN = "boxoffice/admin-token";
const WHO = "boxoffice/admin-who";

/** Like `call`; asks for the token when there is none or it is refused. */
export async function admin(method, path, options = {}) {
  for (let refused = false; ; refused = true) {
    const token = sessionStorage.getItem(TOKEN) ?? (await askToken(refused));
    try {
      return await call(method, `/admin/api${path}`, { ...options, token });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      // Else another call has asked for a new one already.
      if (sessionStorage.getItem(TOKEN) === token) forgetToken();
    }
  }
}

export const forgetToken = () => sessionStorage.removeItem(TOKEN);
export const problemOf = (error) =>
  error instanceof Problem ? error.detail || error.message : String(error);

let asking = null; // several calls at once share one question

function askToken(refused) {
  asking ??= form(
    "Sign in",
    refused ? "This token was not accepted." : "The token of the admin port. It is kept for this tab only.",
    [["token", "Token", { type: "password", autocomplete: "current-password" }]],
    "Go on",
    false,
  ).then(({ token }) => {
    sessionStorage.setItem(TOKEN, token.trim());
    asking = null;
    return token.trim();
  });
  return asking;
}

/** {who, why}, or null when it was called off. */
export async function askReason(heading, text, danger = true) {
  const answer = await form(
    heading,
    text,
    [
      ["who", "Who are you?", { value: sessionStorage.getItem(WHO) ?? "", autocomplete: "name" }],
      ["why", "Why? This is written to the log.", {}],
    ],
    heading,
    danger,
    true,
  );
  if (answer) sessionStorage.setItem(WHO, answer.who);
  return answer;
}

/** A dialog of required fields; the values by name, or null when called off (only if `optional`). */
function form(heading, text, fields, yes, danger, optional = false) {
  return new Promise((resolve) => {
    const end = (value) => (dialog.remove(), resolve(value));
    const submit = (event) => (event.preventDefault(), end(Object.fromEntries(new FormData(event.target))));
    const no = make("button", { type: "button", click: () => end(null) }, "Cancel");
    const go = make("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
    const dialog = make(
      "dialog",
      { "aria-labelledby": "form-heading", close: () => (optional ? end(null) : dialog.showModal()) },
      make(
        "form",
        { class: "stack", submit },
        make("h2", { id: "form-heading" }, heading),
        make("p", { class: "quiet" }, text),
        ...fields.map(field),
        make("div", { class: "row" }, go, optional ? no : null),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

function field([name, label, attributes]) {
  const input = make("input", { id: `ask-${name}`, name, required: true, maxlength: 120, ...attributes });
  return make("div", { class: "field" }, make("label", { for: `ask-${name}` }, label), input);
}
