// A ConcertSale as YAML text: reads and writes single fields of it and leaves every other line, and its
// comments, as they are (the list of sections is written anew). It knows block mappings two spaces deep and
// one level of {…} in them.

/** The lines of a text, with the place of each `key:` as a path such as "spec.hold.seconds". */
function* fieldsOf(lines) {
  const open = []; // {indent, key} of the mappings around
  for (const [at, line] of lines.entries()) {
    const [, space, key, rest] = /^( *)([A-Za-z]\w*):(?:\s+(.*))?$/.exec(line) ?? [];
    if (key === undefined) continue;
    while (open.length > 0 && open.at(-1).indent >= space.length) open.pop();
    open.push({ indent: space.length, key });
    yield { at, indent: space.length, path: open.map((part) => part.key).join("."), rest: rest ?? "" };
  }
}

/** The value of a field as text; undefined when it is not there. */
export function read(yaml, path) {
  for (const { path: parent, rest } of fieldsOf(yaml.split("\n"))) {
    if (parent === path) return plain(rest);
    const inside = path.startsWith(`${parent}.`) && /^\{(.*)\}/.exec(rest);
    if (inside) return flowPairs(inside[1])[path.slice(parent.length + 1)];
  }
  return undefined;
}

/** The text with one field set; it is added to its mapping when missing, removed when `value` is "". */
export function write(yaml, path, value) {
  const lines = yaml.split("\n");
  const cut = path.lastIndexOf(".");
  const [parent, key] = [path.slice(0, cut), path.slice(cut + 1)];
  const fields = [...fieldsOf(lines)];
  const own = fields.find((field) => field.path === path);
  if (own) lines.splice(own.at, 1, ...(value === "" ? [] : [withValue(lines[own.at], value)]));
  else if (value !== "")
    addTo(
      lines,
      fields.find((field) => field.path === parent),
      parent,
      key,
      value,
    );
  return lines.join("\n");
}

function withValue(line, value) {
  const [, head] = /^( *\w+:)/.exec(line);
  const comment = /\s+#[^"']*$/.exec(line)?.[0] ?? "";
  return `${head} ${scalar(value)}${comment}`;
}

function addTo(lines, owner, parent, key, value) {
  if (!owner) {
    const depth = parent.split(".").length - 1; // a mapping below spec that is not there yet
    lines.push(
      `${"  ".repeat(depth)}${parent.split(".").at(-1)}:`,
      `${"  ".repeat(depth + 1)}${key}: ${scalar(value)}`,
    );
    return;
  }
  const flow = /^( *\w+: *)\{(.*)\}(.*)$/.exec(lines[owner.at]);
  if (flow) {
    const pairs = Object.entries({ ...flowPairs(flow[2]), [key]: value });
    lines[owner.at] =
      `${flow[1]}{${pairs.map(([name, text]) => `${name}: ${scalar(text)}`).join(", ")}}${flow[3]}`;
  } else {
    lines.splice(owner.at + 1, 0, `${" ".repeat(owner.indent + 2)}${key}: ${scalar(value)}`);
  }
}

/** The sections of the seating as objects of texts. */
export function readSections(yaml) {
  const [start, end] = sectionLines(yaml.split("\n"));
  const sections = [];
  for (const line of yaml.split("\n").slice(start, end)) {
    const [, dash, body] = /^\s*(-\s+)?(.*)$/.exec(line);
    if (dash) sections.push({});
    const flow = /^\{(.*)\}/.exec(body);
    if (sections.length > 0) Object.assign(sections.at(-1), flow ? flowPairs(flow[1]) : flowPairs(body));
  }
  return sections;
}

export function writeSections(yaml, sections) {
  const lines = yaml.split("\n");
  const [start, end] = sectionLines(lines);
  const written = sections.map((section) => {
    const pairs = Object.entries(section).filter(([, value]) => value !== "" && value !== undefined);
    return `      - {${pairs.map(([key, value]) => `${key}: ${scalar(value)}`).join(", ")}}`;
  });
  lines.splice(start, end - start, ...written);
  return lines.join("\n");
}

/** [first, end) of the lines below spec.seating.sections; a mapping that is missing is not invented. */
function sectionLines(lines) {
  const fields = [...fieldsOf(lines)];
  const head = fields.find((field) => field.path === "spec.seating.sections");
  if (!head) return [lines.length, lines.length];
  const next = lines.findIndex(
    (line, at) => at > head.at && line.trim() !== "" && !isInside(line, head.indent),
  );
  return [head.at + 1, next < 0 ? lines.length : next];
}

const isInside = (line, indent) => line.search(/\S/) > indent || new RegExp(`^ {${indent}}- `).test(line);

function flowPairs(text) {
  const pairs = {};
  for (const [, key, value] of text.matchAll(/(\w+):\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^,}#]*)/g))
    pairs[key] = plain(value);
  return pairs;
}

/** A scalar without its quotes and without a comment behind it. */
function plain(text) {
  const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/.exec(text)?.[0];
  if (quoted?.startsWith('"')) return JSON.parse(quoted);
  if (quoted) return quoted.slice(1, -1).replaceAll("''", "'");
  const bare = text.replace(/(^|\s)#.*$/, "").trim();
  return bare === "null" || bare === "~" ? "" : bare;
}

/** Plain where YAML reads it as what it is, else in double quotes ("Off" alone would be a boolean). */
function scalar(value) {
  const word =
    /^[A-Za-z][\w./-]*( [\w./-]+)*$/.test(value) && !/^(true|false|yes|no|on|off|y|n|null)$/i.test(value);
  return word || /^(0|[1-9]\d*)$/.test(value) ? value : JSON.stringify(value);
}
