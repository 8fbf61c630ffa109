// The drawing of one section with rows: every seat a small shape whose form tells its state, not its colour
// alone.

import { FREE, SOLD, seatName } from "./hall.js";
import { make, makeSvg } from "./page.js";
import { money, seatInWords } from "./words.js";

const CELL = 10; // the drawing's own units; a seat is 8 of them
const HITTABLE = 18; // pixels from seat to seat

// Free: an empty square. Taken for now: crossed once. Sold: a cross without a square. Chosen: full, with a
// tick.
export const SHAPES = {
  free: (x, y) => rounded(x, y),
  held: (x, y) => `${rounded(x, y)}m-.9 7.4l6.8 -6.8`,
  sold: (x, y) => `M${x + 3} ${y + 3}l4 4m0 -4l-4 4`,
  chosen: (x, y) => `${rounded(x, y)}m.5 4.2l1.6 1.8 2.8 -3.6`,
  mine: (x, y) => `M${x + 5} ${y + 1}a4 4 0 1 0 .01 0zm-2 4.2l1.6 1.8 2.8 -3.6`,
};
const rounded = (x, y) =>
  `M${x + 2.5} ${y + 1}h5q1.5 0 1.5 1.5v5q0 1.5 -1.5 1.5h-5q-1.5 0 -1.5 -1.5v-5q0 -1.5 1.5 -1.5z`;

export const SAYS = {
  free: "free",
  held: "taken for now",
  sold: "sold",
  chosen: "chosen",
  mine: "held for you",
};

export class SeatMap {
  /**
   * `press(name)` when a free or chosen seat is pressed; `look(text)` when a seat is pointed at;
   * `approach(seat)` when the drawing is pressed while it is too small to hit one seat.
   */
  constructor(section, currency, { press, look, approach }) {
    Object.assign(this, { section, press, look, approach });
    this.price = money(section.priceMinor, currency);
    this.columns = section.seatsPerRow;
    this.kinds = [];
    this.seats = Array.from({ length: section.size }, (_, at) => this.#seat(at));
    this.element = this.#drawing();
    this.#listen();
    this.#focusable(0);
  }

  #seat(at) {
    return makeSvg("path", { "data-at": at, role: "checkbox", tabindex: -1 });
  }

  #drawing() {
    const box = `0 0 ${this.columns * CELL} ${this.section.rows * CELL}`;
    this.ring = makeSvg("rect", { class: "ring", width: CELL, height: CELL, rx: 2, visibility: "hidden" });
    const group = { role: "group", "aria-label": `Seats of ${this.section.name}` };
    this.svg = makeSvg("svg", { viewBox: box, ...group }, ...this.seats, this.ring);
    this.labels = makeSvg(
      "svg",
      { viewBox: `0 0 ${CELL} ${this.section.rows * CELL}`, "aria-hidden": "true" },
      ...this.#rowLabels(),
    );
    this.scroller = make("div", { class: "scroller" }, this.svg);
    return make("div", { class: "block" }, this.labels, this.scroller);
  }

  #rowLabels() {
    return Array.from({ length: this.section.rows }, (_, row) =>
      makeSvg("text", { x: CELL - 2, y: row * CELL + CELL / 2 }, String(row + 1)),
    );
  }

  /** `kindOf(at, name)` for the seats that are not plainly free, held or sold. Only what changed is drawn. */
  update(hall, kindOf) {
    this.seats.forEach((seat, at) => {
      const state = hall.state(this.section.first + at);
      const kind =
        kindOf(seatName(this.section, at)) ?? (state === FREE ? "free" : state === SOLD ? "sold" : "held");
      if (kind !== this.kinds[at]) this.#dress(seat, at, kind);
    });
  }

  #dress(seat, at, kind) {
    this.kinds[at] = kind;
    seat.setAttribute("class", `seat ${kind}`);
    seat.setAttribute("d", SHAPES[kind]((at % this.columns) * CELL, Math.floor(at / this.columns) * CELL));
    seat.setAttribute("aria-checked", kind === "chosen" || kind === "mine");
    seat.setAttribute("aria-disabled", kind !== "free" && kind !== "chosen");
    seat.setAttribute("aria-label", this.describe(at));
  }

  describe(at) {
    return `${seatInWords(seatName(this.section, at))}, ${this.price}, ${SAYS[this.kinds[at]]}`;
  }

  /** `pitch`: pixels from seat to seat. */
  resize(pitch) {
    this.pitch = pitch;
    const height = this.section.rows * pitch;
    for (const [svg, width] of [
      [this.svg, this.columns * pitch],
      [this.labels, pitch],
    ]) {
      svg.setAttribute("width", width);
      svg.setAttribute("height", height);
    }
  }

  /** Marks seats that went to somebody else while they were chosen. */
  flash(names) {
    const lost = this.seats.filter((_, at) => names.has(seatName(this.section, at)));
    for (const seat of lost) seat.classList.add("gone");
    setTimeout(() => lost.forEach((seat) => seat.classList.remove("gone")), 6000);
  }

  #listen() {
    const at = (event) => event.target.dataset?.at && Number(event.target.dataset.at);
    const on = (type, act) =>
      this.svg.addEventListener(type, (event) => at(event) !== undefined && act(at(event), event));
    on("click", (seat) => (this.pitch < HITTABLE ? this.approach(this.seats[seat]) : this.#press(seat)));
    on("pointerover", (seat) => this.look(this.describe(seat)));
    on("focusin", (seat) => {
      this.look(this.describe(seat));
      this.#moveRing(seat);
    });
    on("keydown", (seat, event) => this.#key(seat, event));
    this.svg.addEventListener("focusout", () => this.ring.setAttribute("visibility", "hidden"));
  }

  #press(at) {
    this.#focusable(at);
    if (["free", "chosen"].includes(this.kinds[at])) this.press(seatName(this.section, at));
  }

  #key(at, event) {
    const last = this.seats.length - 1;
    const to = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - this.columns,
      ArrowDown: at + this.columns,
      Home: at - (at % this.columns),
      End: Math.min(last, at - (at % this.columns) + this.columns - 1),
    }[event.key];
    if (event.key === " " || event.key === "Enter") this.#press(at);
    else if (to === undefined) return;
    else if (to >= 0 && to <= last) this.#focus(to);
    event.preventDefault();
  }

  #focus(at) {
    this.#focusable(at);
    this.seats[at].focus();
    this.seats[at].scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** One seat of a section is in the tab order; the arrow keys move on from there. */
  #focusable(at) {
    this.seats[this.tabbed ?? at].setAttribute("tabindex", -1);
    this.seats[at].setAttribute("tabindex", 0);
    this.tabbed = at;
  }

  #moveRing(at) {
    if (!this.seats[at].matches(":focus-visible")) return;
    this.ring.setAttribute("x", (at % this.columns) * CELL);
    this.ring.setAttribute("y", Math.floor(at / this.columns) * CELL);
    this.ring.setAttribute("visibility", "visible");
  }
}
