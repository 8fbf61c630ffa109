// Making and changing a sale: fields for what is usual, and the resource itself, which is what is sent.

import { admin, problemOf } from "./operator.js";
import { $, make, show, tell, title } from "./page.js";
import { read, readSections, write, writeSections } from "./resource.js";

const NEW = "_new"; // no sale can have this name
const name = decodeURIComponent(location.pathname.split("/")[3] ?? NEW);

const TEMPLATE = `apiVersion: boxoffice.dev/v1alpha1
kind: ConcertSale
metadata:
  name: my-concert
spec:
  concert: my-concert
  title: My concert
  venue: The hall
  timeZone: Asia/Seoul
  currency: KRW
  preQueueTime: "2030-05-01T19:30:00+09:00"
  opensTime: "2030-05-01T20:00:00+09:00"
  closesTime: "2030-05-01T22:00:00+09:00"
  policy: Open
  seating:
    sections:
      - {name: stalls, rows: 10, seatsPerRow: 20, priceMinor: 88000}
      - {name: floor, capacity: 100, priceMinor: 66000}
  line:
    order: FIFO
    maxWaiting: 100000
    claimSeconds: 60
  admission:
    mode: Auto
    initialActive: 200
    sessionSeconds: 300
  hold:
    seconds: 180
    maxSeatsPerBuyer: 4
  abuse:
    joinsPerMinutePerAddress: 60
    proofOfWork: "Off"
`;

// [path, label, choices]
const FIELDS = {
  what: [
    ["metadata.name", "Name in addresses"],
    ["spec.title", "Title"],
    ["spec.concert", "Concert (its nights)"],
    ["spec.venue", "Venue"],
    ["spec.currency", "Currency (ISO 4217)"],
    ["spec.policy", "Policy", ["Open", "Hold", "Drain", "Closed"]],
  ],
  when: [
    ["spec.timeZone", "Time zone (IANA)"],
    ["spec.preQueueTime", "The line opens"],
    ["spec.opensTime", "The sale opens"],
    ["spec.closesTime", "The sale ends"],
  ],
  how: [
    ["spec.line.maxWaiting", "Most people in the line"],
    ["spec.line.claimSeconds", "Seconds to come when called"],
    ["spec.admission.mode", "Admission", ["Auto", "Advise", "Manual"]],
    ["spec.admission.initialActive", "Inside at first"],
    ["spec.admission.maxActive", "Inside at most"],
    ["spec.admission.sessionSeconds", "Seconds inside"],
    ["spec.hold.seconds", "Seconds to pay"],
    ["spec.hold.maxSeatsPerBuyer", "Seats for one buyer"],
    ["spec.abuse.joinsPerMinutePerAddress", "Joins a minute and address"],
    ["spec.abuse.proofOfWork", "Proof of work", ["Off", "Always"]],
  ],
};
const SECTION = [
  ["name", "Section"],
  ["kind", "Kind", ["rows", "general"]],
  ["rows", "Rows"],
  ["seatsPerRow", "Seats a row"],
  ["capacity", "Places"],
  ["priceMinor", "Price (minor)"],
];

const inputs = new Map(); // by path

// ------------------------------------------------------------------ fields and text are one

function drawFields() {
  for (const [group, fields] of Object.entries(FIELDS)) {
    $(`#${group}`).replaceChildren(
      ...fields.map(([path, label, choices]) => field(path, label, choices, () => edit(path))),
    );
  }
  $('[id="metadata.name"]').readOnly = name !== NEW;
}

function field(path, label, choices, changed) {
  const input = choices
    ? make(
        "select",
        { id: path, change: changed },
        make("option", { value: "" }, "default"),
        ...choices.map((choice) => make("option", {}, choice)),
      )
    : make("input", { id: path, input: changed, autocomplete: "off", spellcheck: "false" });
  inputs.set(path, input);
  const error = make("p", { class: "field-error", "data-error": path, id: `${path}-error`, hidden: true });
  return make("div", { class: "field" }, make("label", { for: path }, label), input, error);
}

function edit(path) {
  clearErrors();
  $("#yaml").value = write($("#yaml").value, path, inputs.get(path).value.trim());
}

function fillFields() {
  const yaml = $("#yaml").value;
  for (const [path] of Object.values(FIELDS).flat()) inputs.get(path).value = read(yaml, path) ?? "";
  drawSections(readSections(yaml));
}

// ------------------------------------------------------------------ sections

function drawSections(sections) {
  $("#sections").replaceChildren(...sections.map(sectionRow));
}

function sectionRow(section, at) {
  const general = "capacity" in section;
  const shown = SECTION.filter(([key]) =>
    general ? !["rows", "seatsPerRow"].includes(key) : key !== "capacity",
  );
  const fields = shown.map(([key, label, choices]) => {
    const path = `spec.seating.sections[${at}].${key}`;
    const element = field(path, label, choices, () => editSection(at, key, inputs.get(path).value.trim()));
    if (choices) $("option", element).remove(); // there is no default kind
    inputs.get(path).value = key === "kind" ? (general ? "general" : "rows") : (section[key] ?? "");
    return element;
  });
  const remove = make(
    "button",
    {
      type: "button",
      class: "little",
      "aria-label": `Remove section ${section.name ?? ""}`,
      click: () => changeSections((all) => all.toSpliced(at, 1)),
    },
    "Remove",
  );
  return make(
    "div",
    { class: "section-row", role: "group", "aria-label": `Section ${at + 1}` },
    ...fields,
    remove,
  );
}

function editSection(at, key, value) {
  const { name: title = "", priceMinor = "" } = readSections($("#yaml").value)[at];
  const empty =
    value === "general"
      ? { name: title, capacity: "100", priceMinor }
      : { name: title, rows: "10", seatsPerRow: "20", priceMinor };
  const change = (section) => (key === "kind" ? empty : { ...section, [key]: value });
  changeSections((all) => all.map((section, i) => (i === at ? change(section) : section)), key === "kind");
}

function changeSections(change, redraw = true) {
  clearErrors();
  const sections = change(readSections($("#yaml").value));
  $("#yaml").value = writeSections($("#yaml").value, sections);
  if (redraw) drawSections(sections);
}

// ------------------------------------------------------------------ errors by field

function clearErrors() {
  for (const error of document.querySelectorAll(".field-error")) show(error, false);
  for (const input of inputs.values()) input.removeAttribute("aria-invalid");
}

/**
 * Beside the field that the answer names, or else beside the nearest one around it; and always below
 * the text.
 */
function showError(problem) {
  const path = problem.extra.field ?? /^(metadata|spec)[\w.[\]]*/.exec(problem.detail)?.[0] ?? "";
  $("#yaml-error").textContent = problem.detail;
  show($("#yaml-error"));
  $("#yaml").setAttribute("aria-invalid", "true");
  inputs.set("yaml", $("#yaml"));
  const error = errorBeside(path);
  if (!error) return $("#yaml").focus();
  error.textContent = problem.detail;
  show(error);
  const input = inputs.get(error.dataset.error);
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", error.id);
  (input ?? $("#yaml")).focus();
}

function errorBeside(path) {
  for (let at = path; at; at = at.replace(/(\.|\[)[^.[]*$/, "")) {
    const error = $(`[data-error="${CSS.escape(at)}"]`);
    if (error || !/[.[]/.test(at)) return error;
  }
  return null;
}

// ------------------------------------------------------------------ load and apply

async function load() {
  if (name === NEW) return (await admin("GET", "/sales"), TEMPLATE); // signs in before anything is typed
  const { body } = await admin("GET", `/sales/${encodeURIComponent(name)}`, {
    headers: { accept: "application/yaml" },
  });
  return body;
}

async function apply(event) {
  event.preventDefault();
  clearErrors();
  $("#apply").disabled = true;
  try {
    await admin("POST", "/sales", { body: $("#yaml").value, type: "application/yaml" });
    applied(read($("#yaml").value, "metadata.name"));
  } catch (problem) {
    if (problem.status === 422 || problem.status === 400) showError(problem);
    else tell(`Not applied: ${problemOf(problem)}`);
  } finally {
    $("#apply").disabled = false;
  }
}

function applied(saleName) {
  tell(`${saleName} is applied.`, {
    kind: "good",
    action: make("a", { href: "/admin/dashboard" }, "Dashboard"),
  });
  if (name === NEW) history.replaceState(null, "", `/admin/sales/${encodeURIComponent(saleName)}`);
  scrollTo({ top: 0 });
}

$("#heading").textContent = name === NEW ? "New sale" : name;
title(name === NEW ? "New sale" : name);
drawFields();
$("#inside").onsubmit = apply;
$("#yaml").oninput = () => {
  clearErrors();
  fillFields();
};
$("#add-section").onclick = () =>
  changeSections((all) => [
    ...all,
    { name: `section-${all.length + 1}`, rows: "10", seatsPerRow: "20", priceMinor: "50000" },
  ]);
$("#yaml").value = await load();
fillFields();
show($("#inside"));
