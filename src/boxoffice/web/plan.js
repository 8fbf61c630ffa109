// The plan of a hall: its sections one below the other, drawn or counted, with their prices, and the size
// of it all.

import { $, counter, make, makeSvg } from "./page.js";
import { SAYS, SHAPES, SeatMap } from "./seatmap.js";
import { count, money, plural, titled } from "./words.js";

// Pixels from seat to seat: what a finger or a mouse can hit, and the ends of the scale.
const COMFORTABLE = matchMedia("(pointer: coarse)").matches ? 32 : 24;
const ROOMY = 36;
const SMALLEST = 6;
const LARGEST = 60;
const STEP = 1.3;

export class Plan {
  /**
   * Draws into #map, #legend, #readout and #left. `press(name)`: a seat was pressed. `take(section,
   * count)`: places of general admission, `most` at a time, were asked for.
   */
  constructor(hall, most, { press, take }) {
    Object.assign(this, { currency: hall.currency, most, press, take, maps: [] });
    const parts = hall.sections.map((section) => this.#part(section));
    $("#map").replaceChildren(make("div", { class: "stack" }, ...parts));
    $("#legend").replaceChildren(...Object.keys(SHAPES).map(legendItem));
    $("#smaller").onclick = () => this.#resize(this.pitch / STEP);
    $("#larger").onclick = () => this.#resize(this.pitch * STEP);
    // The widest section in full if its seats can still be hit, else seats that can be hit and sections
    // that scroll.
    this.#resize(Math.max(COMFORTABLE, Math.min(ROOMY, this.#fitting())));
  }

  /** `kindOf(name)`: chosen, mine, or undefined for what the hall says. */
  update(hall, kindOf) {
    for (const map of this.maps) map.update(hall, kindOf);
    for (const { name, free } of hall.sections) {
      $(`[data-free="${CSS.escape(name)}"]`).textContent = `${count(free)} free`;
    }
    $("#left").textContent = `${count(hall.free)} of ${plural(hall.total, "seat")} free`;
  }

  /** Marks seats that went to somebody else while they were chosen. */
  flash(names) {
    for (const map of this.maps) map.flash(new Set(names));
  }

  #part(section) {
    const content = section.kind === "general" ? this.#places(section) : [this.#rows(section)];
    const name = titled(section.name);
    return make("section", { class: "tight", "aria-label": name }, this.#head(section), ...content);
  }

  #head(section) {
    const free = make("span", { "data-free": section.name, class: "digits" });
    const price = make("p", {}, `${money(section.priceMinor, this.currency)} · `, free);
    return make("div", { class: "section-head apart" }, make("h3", {}, titled(section.name)), price);
  }

  #rows(section) {
    const look = (text) => {
      $("#readout").textContent = text;
    };
    const approach = (seat) => this.#approach(seat);
    const map = new SeatMap(section, this.currency, { press: this.press, look, approach });
    this.maps.push(map);
    return map.element;
  }

  #places(section) {
    const range = { value: Math.min(2, this.most), max: this.most };
    const picker = counter(`Places in ${titled(section.name)}`, range);
    const click = () => this.take(section.name, picker.value);
    const button = make(
      "button",
      { type: "button", class: "primary", "data-needs-entry": true, click },
      "Hold places",
    );
    const what = "Standing or free seating: you get a place, not a certain seat.";
    return [make("p", { class: "quiet small" }, what), make("div", { class: "row" }, picker.element, button)];
  }

  #fitting() {
    return ($("#map").clientWidth - 40) / Math.max(1, ...this.maps.map((map) => map.columns));
  }

  #resize(wanted) {
    this.pitch = Math.max(SMALLEST, Math.min(LARGEST, wanted));
    for (const map of this.maps) map.resize(this.pitch);
    $("#smaller").disabled = this.pitch <= Math.max(SMALLEST, Math.min(this.#fitting(), COMFORTABLE));
    $("#larger").disabled = this.pitch >= LARGEST;
  }

  /** From the overview to where it was pressed. */
  #approach(seat) {
    this.#resize(COMFORTABLE);
    seat.scrollIntoView({ block: "center", inline: "center" });
  }
}

function legendItem(kind) {
  const shape = makeSvg("path", { class: `seat ${kind}`, d: SHAPES[kind](0, 0) });
  const sample = makeSvg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, shape);
  return make("li", {}, sample, titled(SAYS[kind]));
}
