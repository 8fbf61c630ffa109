// One request to the API: JSON in, JSON out; whatever goes wrong is a Problem that can be shown as it is.

const TIMEOUT_MS = 15_000;

/** The sale in this page's address: /concerts/<sale>/… */
export const sale = decodeURIComponent(location.pathname.split("/")[2] ?? "");

export const saleUrl = (rest = "") => `/api/v1/sales/${encodeURIComponent(sale)}${rest}`;
export const pageUrl = (name = "") => `/concerts/${encodeURIComponent(sale)}${name && `/${name}`}`;

// Said instead of the server's own words where a buyer needs to know what to do.
const WORDS = {
  offline: "You seem to be offline.",
  timeout: "The shop takes longer than usual to answer.",
  recovering: "The shop is putting its records back in order.",
  store_unavailable: "The shop cannot be reached for the moment.",
  too_many_requests: "Too many requests from your network just now.",
  over: "This sale is over.",
  joining_closed: "Nobody new may join this line any more.",
  line_full: "The line is full for the moment.",
  superseded: "You continued on another device or in another window. This one is no longer in use.",
  not_admitted: "You need to be let in from the line before you can do this.",
  not_enough_seats: "There are not that many free seats left there. Try fewer, or look anywhere.",
  hold_gone: "Your seats were given back because the time was up.",
  over_cap: "That is more seats than one buyer may take.",
};

export class Problem extends Error {
  /**
   * `status` 0: no answer at all, or a fault of this browser. `retryAfter`: seconds, 0 when not told.
   * `detail`: the server's own words. `extra`: other members of the document.
   */
  constructor({ status = 0, code = "offline", detail = "", retryAfter = 0, extra = {} }) {
    super(
      WORDS[code] ??
        (status >= 500 || !detail
          ? `The shop is in trouble for the moment (${status} ${code}).`
          : sentence(detail)),
    );
    Object.assign(this, { status, code, detail, retryAfter, extra });
  }

  /** The same request may be sent again: it never arrived, or the shop asked for a moment. */
  get again() {
    return (
      ["offline", "timeout", "publishing"].includes(this.code) || this.status === 429 || this.status >= 500
    );
  }
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** Returns {status, body, retryAfter}; throws Problem. */
export async function call(method, url, { body, token, headers = {}, type = "application/json" } = {}) {
  const response = await send(url, {
    method,
    cache: "no-cache", // the browser keeps the ETag and asks again with it
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": type }),
      ...(method === "POST" && { traceparent: visit() }),
      ...headers,
    },
    body: typeof body === "object" ? JSON.stringify(body) : body,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return { status: response.status, body: await read(response), retryAfter: retryAfterOf(response) };
}

const hex = (count) =>
  Array.from(crypto.getRandomValues(new Uint8Array(count)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const newTrace = `00-${hex(16)}-${hex(8)}-02`; // 02: it is for the shop to choose whether this is followed

/** One trace (W3C Trace Context) of all steps that this tab takes in this sale. */
function visit() {
  const key = `boxoffice/trace/${sale}`;
  try {
    if (!sessionStorage.getItem(key)) sessionStorage.setItem(key, newTrace);
    return sessionStorage.getItem(key);
  } catch {
    return newTrace;
  }
}

/** A response that is not an error, its body unread. */
export async function send(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    throw new Problem({ code: error.name === "TimeoutError" ? "timeout" : "offline" });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function read(response) {
  try {
    const json = response.headers.get("content-type")?.includes("json");
    return json ? await response.json() : await response.text();
  } catch {
    throw new Problem({ code: "offline" }); // cut off in the middle
  }
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const { code = `http_${response.status}`, detail = "", ...extra } = body;
  return new Problem({ status: response.status, code, detail, retryAfter: retryAfterOf(response), extra });
}

const retryAfterOf = (response) => Number.parseFloat(response.headers.get("retry-after")) || 0;
