// The seats of a hall as the API gives them: two bits a seat, in the order of the sections.

export const FREE = 0;
export const SOLD = 3; // 1 and 2: held, and being paid; for anybody else both mean "taken for now"

export class Hall {
  /** `answer`: the body of GET …/seats. */
  constructor(answer) {
    Object.assign(this, answer);
    this.bits = Uint8Array.from(atob(answer.map), (letter) => letter.charCodeAt(0));
  }

  state(index) {
    return (this.bits[index >> 2] >> (6 - 2 * (index & 3))) & 3;
  }
}

/** Seat `at` (from 0) of a section, by the name that the API knows. */
export function seatName(section, at) {
  if (section.kind === "general") return `${section.name}/${String(at + 1).padStart(4, "0")}`;
  const row = Math.floor(at / section.seatsPerRow) + 1;
  return `${section.name}/${row}/${(at % section.seatsPerRow) + 1}`;
}
