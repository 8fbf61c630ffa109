// Time as the shop sees it. The device's own clock is never asked what time it is, only how long something
// took.

import { Problem, call, saleUrl } from "./api.js";
import { language } from "./words.js";

let serverMs = 0;
let readAt = 0;

/** Loads the sale and sets the clock by it. */
export async function loadSale() {
  const asked = performance.now();
  const { body } = await call("GET", saleUrl());
  readAt = performance.now();
  serverMs = momentOf(body.serverTime) + (readAt - asked) / 2;
  return body;
}

/** Milliseconds since 1970 by the server. */
export const now = () => serverMs + performance.now() - readAt;
export const momentOf = (time) => new Date(time).getTime();
export const secondsUntil = (time) => (momentOf(time) - now()) / 1000;

// A sleeping device may stop the interval clock as well: set it again when the page is seen.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && serverMs) loadSale().catch(() => {});
});

/** Ends after `seconds`; at once when the network comes back, or when the page is seen and the time is up. */
export function sleep(seconds) {
  const due = Date.now() + seconds * 1000;
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const end = () => (listeners.abort(), clearTimeout(timer), resolve());
    const timer = setTimeout(end, seconds * 1000);
    window.addEventListener("online", end, listeners);
    document.addEventListener("visibilitychange", () => Date.now() >= due && end(), listeners);
  });
}

/**
 * Seconds before try number `tries` (from 1): as told, or doubling to 30, spread so that a crowd does
 * not return as one.
 */
export function patience(problem, tries) {
  const told = problem instanceof Problem ? problem.retryAfter : 0;
  return (told || Math.min(30, 2 ** tries / 2)) * (1 + Math.random() / 4);
}

/**
 * Writes the time left into `element` every second, then calls `over` once. Returns a function that
 * stops it.
 */
export function countDown(element, until, over = () => {}) {
  const tick = () => {
    const left = secondsUntil(until);
    element.textContent = countdown(left);
    if (left > 0) return;
    clearInterval(timer);
    over();
  };
  const timer = setInterval(tick, 1000);
  tick();
  return () => clearInterval(timer);
}

/** 4:59, 1:05:00, or 3 days 4 h. */
export function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  const days = Math.floor(left / 86_400);
  const hours = Math.floor((left % 86_400) / 3600);
  if (days > 0) return `${days} ${days === 1 ? "day" : "days"} ${hours} h`;
  const minutes = Math.floor((left % 3600) / 60);
  const parts = hours > 0 ? [hours, pad(minutes)] : [minutes];
  return [...parts, pad(left % 60)].join(":");
}

const pad = (number) => String(number).padStart(2, "0");

/** In the sale's own zone, which is named: "Fri 4 Dec, 20:00 GMT+9". */
export function inZone(time, timeZone) {
  const options = {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    timeZoneName: "short",
  };
  return new Intl.DateTimeFormat(language, { ...options, hourCycle: "h23", timeZone }).format(new Date(time));
}

/** The same moment where the reader is; "" when the clock on their wall says the same. */
export function whereYouAre(time, timeZone) {
  const at = (zone) => new Intl.DateTimeFormat(language, { ...SHORT, timeZone: zone }).format(new Date(time));
  return at(undefined) === at(timeZone) ? "" : at(undefined);
}

const SHORT = { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
