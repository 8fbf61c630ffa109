// The API's document for reading: a block for each operation and each schema, made from /openapi.json.

import { call } from "./api.js";
import { $, make } from "./page.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const BOUNDS = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format"];

function draw(api) {
  $("#about").textContent = api.info.description;
  $("#version").textContent = api.openapi;
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((each) => item[each])) {
      const operation = item[method];
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      $("#contents").append(make("li", {}, link(operation.operationId, operation.summary)));
      const resolved = parameters.map((each) => resolve(api, each));
      $("#operations").append(block(method, path, operation, resolved));
    }
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) $("#schemas").append(described(name, schema));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const resolve = (api, { $ref, ...rest }) => ($ref ? api.components.parameters[$ref.split("/").pop()] : rest);
const link = (id, text) => make("a", { href: `#${id}` }, text);
const code = (text) => make("code", {}, text);

function block(method, path, operation, parameters) {
  return make(
    "section",
    { class: "operation", id: operation.operationId },
    make("h2", {}, operation.summary),
    make("p", {}, make("code", { class: "verb" }, method.toUpperCase()), " ", code(path)),
    operation.security ? make("p", { class: "quiet" }, `Send: ${needs(operation.security)}.`) : null,
    parameters.length ? table(parameters.map(parameterRow)) : null,
    ...(operation.requestBody ? bodyOf(operation.requestBody) : []),
    ...Object.entries(operation.responses).map(([status, response]) => answer(status, response)),
  );
}

const needs = (security) =>
  security.map((one) => Object.keys(one).join(" and ") || "nothing").join(", or ");

function parameterRow({ name, in: where, schema, required, description, example }) {
  const said = [description, example && `Such as ${example}`].filter(Boolean).join(" ");
  return [code(name), make("span", {}, `${where}${required ? ", required" : ""}`), typeOf(schema), said];
}

function bodyOf({ content, required }) {
  const [[type, media]] = Object.entries(content);
  return [
    make("p", {}, `Body${required ? "" : " (may be left out)"}: `, typeOf(media.schema), " as ", code(type)),
    ...examplesOf(media),
  ];
}

function answer(status, { description, content = {}, headers = {} }) {
  const [[type, media] = []] = Object.entries(content);
  const told = Object.entries(headers).map(([name, header]) => [
    code(name),
    make("span", {}, header.required ? "always" : "sometimes"),
    typeOf(header.schema),
    header.description ?? "",
  ]);
  return make(
    "details",
    status < "300" ? { open: true } : {},
    make("summary", {}, make("span", { class: "answered", "data-kind": status[0] }, status), ` ${description}`),
    media?.schema ? make("p", {}, typeOf(media.schema), " as ", code(type)) : null,
    told.length ? table(told) : null,
    ...(media ? examplesOf(media) : []),
  );
}

function examplesOf({ example, examples = {} }) {
  const all = example === undefined ? Object.entries(examples) : [["", { value: example }]];
  return all.flatMap(([title, { value }]) => [
    ...(title && all.length > 1 ? [make("p", { class: "quiet" }, title)] : []),
    make("pre", { tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2)),
  ]);
}

function described(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, each]) => [
    code(field),
    make("span", {}, schema.required?.includes(field) ? "always" : "sometimes"),
    typeOf(each),
    each.description ?? "",
  ]);
  return make("section", { class: "schema", id: `schema-${name}` }, make("h3", {}, name), table(rows));
}

function table(rows) {
  const cells = (row) => row.map((cell, at) => make(at ? "td" : "th", at ? {} : { scope: "row" }, cell));
  return make("table", { class: "members" }, make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row)))));
}

/** What a value may be, in a few words; a schema with a name is a link to it. */
function typeOf(schema = {}) {
  if (schema.$ref) return link(`schema-${schema.$ref.split("/").pop()}`, schema.$ref.split("/").pop());
  const parts = schema.anyOf ?? (schema.items && [schema.items]) ?? [];
  const words = make("span", {}, schema.items ? "list of " : "");
  parts.forEach((part, at) => words.append(at ? " or " : "", typeOf(part)));
  if (!parts.length) words.append(plain(schema));
  return words;
}

function plain(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "object" && schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  const bounds = BOUNDS.filter((name) => name in schema).map((name) => `${name} ${schema[name]}`);
  return [schema.type ?? "anything", ...bounds].join(", ");
}

draw((await call("GET", "/openapi.json")).body);
