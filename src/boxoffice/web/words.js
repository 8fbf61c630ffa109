// How the pages write things: money, counts, waits, seats, states.

/**
 * The pages are written in English: dates and numbers follow the reader's kind of English, if there is
 * one.
 */
export const language = navigator.languages.find((tag) => tag.startsWith("en")) ?? "en-GB";

const numbers = new Intl.NumberFormat(language);
export const count = (number) => numbers.format(number);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Minor units of the currency, of which some have none: 4500 is 45.00 in USD, 4,500 in KRW. */
export function money(minor, currency) {
  const format = new Intl.NumberFormat(language, { style: "currency", currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** {p50, p90} in seconds as a range in words; "" when nothing is known. */
export function waitInWords(eta) {
  if (!eta) return "";
  if (eta.p90 < 60) return "Less than a minute to go";
  const [low, high] = [eta.p50, eta.p90].map(roundly);
  if (low.text === high.text) return `About ${low.text} ${low.unit} to go`;
  const unit = low.unit === high.unit ? "" : ` ${low.unit}`;
  return `About ${low.text}${unit} to ${high.text} ${high.unit} to go`;
}

function roundly(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60));
  if (minutes < 60) return { text: String(minutes), unit: minutes === 1 ? "minute" : "minutes" };
  const hours = Math.round(minutes / 30) / 2;
  return { text: count(hours), unit: hours === 1 ? "hour" : "hours" };
}

/** "stalls/3/12" as "Stalls, row 3, seat 12"; "floor/0017" as "Floor, place 17". */
export function seatInWords(name) {
  const [section, row, seat] = name.split("/");
  if (seat === undefined) return `${titled(section)}, place ${Number(row)}`;
  return `${titled(section)}, row ${row}, seat ${seat}`;
}

export const titled = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " ");

/** What a sale's state means to a buyer. `joinable`: a place in line can be had. */
export const SALE_STATES = {
  scheduled: {
    label: "Coming soon",
    tone: "",
    joinable: false,
    says: "Keep this page open, or come back then: you can join here as soon as the line opens.",
  },
  prequeue: {
    label: "Line open",
    tone: "good",
    joinable: true,
    says: "Take a place now; those who are here first are called first.",
  },
  open: {
    label: "On sale",
    tone: "good",
    joinable: true,
    says: "Take a place in the line. You are let in when it is your turn.",
  },
  allTaken: {
    label: "All taken for now",
    tone: "warn",
    joinable: true,
    says: "Every seat is in somebody’s hands just now. Seats that come back go to the next in line.",
  },
  hold: {
    label: "Paused",
    tone: "warn",
    joinable: true,
    says: "Nobody is let in for the moment. You can take a place; it is kept.",
  },
  drain: {
    label: "Line closed",
    tone: "warn",
    joinable: false,
    says: "Nobody new can join. Those in the line still get their turn.",
  },
  soldOut: { label: "Sold out", tone: "", joinable: false, says: "Every seat is sold." },
  closed: { label: "Sale over", tone: "", joinable: false, says: "This sale has ended." },
  recovering: {
    label: "One moment",
    tone: "warn",
    joinable: false,
    says: "The shop is putting its records back in order. It goes on by itself; no place and no order is lost.",
  },
};

export const saleState = (state) =>
  SALE_STATES[state] ?? { label: state, tone: "", joinable: true, says: "" };

/** What an order's state means to the buyer. `final`: it will not change by itself any more. */
export const ORDER_STATES = {
  accepted: {
    label: "Being paid",
    tone: "warn",
    final: false,
    says: "We have your order. The payment is on its way.",
  },
  pending: {
    label: "Being paid",
    tone: "warn",
    final: false,
    says: "Your order is safe with us. The payment follows in a moment.",
  },
  unresolved: {
    label: "Being checked",
    tone: "warn",
    final: false,
    says: "The payment provider has not given a clear answer. Your seats are kept and we keep asking: please do not pay again.",
  },
  paid: { label: "Paid", tone: "good", final: true, says: "" },
  declined: {
    label: "Declined",
    tone: "bad",
    final: true,
    says: "The card was declined. Nothing was charged.",
  },
  refused: {
    label: "Not sold",
    tone: "bad",
    final: true,
    says: "The seats had been sold to somebody else. Nothing was charged.",
  },
  refunded: {
    label: "Refunded",
    tone: "",
    final: true,
    says: "The amount was given back, and the seats with it.",
  },
};

export const orderState = (state) =>
  ORDER_STATES[state] ?? { label: state, tone: "", final: false, says: "" };
