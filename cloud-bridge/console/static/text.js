// Words, times and ages in the page's language. The messages come with the page, from
// the same catalogue as its markup.

import { h } from "./dom.js";

export const boot = JSON.parse(document.getElementById("boot").textContent);

// apart keeps text that runs from right to left to itself, within a sentence that does not
// (Unicode Standard Annex 9, section 2.4: first strong isolate).
const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
export const apart = (text) => (rightToLeft.test(text) ? "\u2068" + text + "\u2069" : String(text));

// t is the message of key, with {name} replaced from values.
export function t(key, values = {}) {
  const text = boot.messages[key];
  if (text === undefined) {
    console.error("no message for " + key);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => apart(values[name] ?? ""));
}

// tx is the message of a value that a device or the centre named; a value without a
// message shows itself.
export function tx(prefix, value, values = {}) {
  const key = prefix + "." + value;
  return boot.messages[key] === undefined ? String(value) : t(key, values);
}

// The centre's clock, carried on by this machine's steady one: the desk's wall clock may
// be wrong, and ages must not be.
let centre = { at: Date.now(), steady: performance.now() };

export function setCentreClock(iso) {
  const at = Date.parse(iso);
  if (Number.isFinite(at)) centre = { at, steady: performance.now() };
}

export const now = () => centre.at + performance.now() - centre.steady;

const pad = (n) => String(n).padStart(2, "0");

// stopwatch is h:mm:ss or m:ss.
export function stopwatch(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const m = Math.floor(s / 60) % 60, hours = Math.floor(s / 3600);
  return hours ? `${hours}:${pad(m)}:${pad(s % 60)}` : `${m}:${pad(s % 60)}`;
}

// span is a length of time in words, rough enough to be read at a glance.
export function span(ms, round = Math.floor) {
  const s = Math.max(0, round(ms / 1000));
  if (s < 120) return t("span.s", { n: s });
  if (s < 120 * 60) return t("span.m", { n: round(s / 60) });
  if (s < 48 * 3600) return t("span.h", { n: round(s / 3600) });
  return t("span.d", { n: round(s / 86400) });
}

// within is an uncertainty, never made to look smaller than it is.
export const within = (ms) => (ms < 1000 ? t("span.ms", { n: ms }) : span(ms, Math.ceil));

const clockFormat = new Intl.DateTimeFormat(boot.lang, { timeZone: boot.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(boot.lang, { timeZone: boot.zone, month: "short", day: "numeric" });
const yearFormat = new Intl.DateTimeFormat(boot.lang, { timeZone: boot.zone, year: "numeric", month: "short", day: "numeric" });

// clock is a time of day in the district's zone, with the day where it is not today, and
// the year where it is not this one.
export function clock(at) {
  const date = new Date(at), today = new Date(now());
  const time = clockFormat.format(date), full = yearFormat.format(date);
  if (full === yearFormat.format(today)) return time;
  const year = (d) => yearFormat.formatToParts(d).find((p) => p.type === "year").value;
  return `${year(date) === year(today) ? dayFormat.format(date) : full} ${time}`;
}

const wholeFormat = new Intl.DateTimeFormat(boot.lang, { timeZone: boot.zone, year: "numeric", month: "long", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// moment is a date and time in full, as on paper.
export const moment = (at) => wholeFormat.format(new Date(at));

// minute is clock without its seconds, for what is planned.
export const minute = (at) => clock(at).replace(/:\d\d$/, "");

// areas are the grid's, by id; the page has them once it is fetched.
export const areas = new Map();

// areaName is where something lies, from the smallest area on.
export const areaName = (area) => [area.cell, area.village, area.township, area.district].filter(Boolean).map((id) => apart(areas.get(id)?.name ?? id)).join(" · ");

export function distance(metres) {
  return metres < 950 ? t("distance.m", { n: Math.round(metres / 10) * 10 }) : t("distance.km", { n: (metres / 1000).toFixed(1) });
}

// ticking is an element whose text is an age, brought up to date once a second: a
// stopwatch, or the message key around a span.
export function ticking(since, key = "", attributes = {}) {
  const element = h("time", { ...attributes, "data-since": since, "data-key": key });
  tick(element);
  return element;
}

function tick(element) {
  const age = now() - Number(element.dataset.since);
  const text = element.dataset.key ? t(element.dataset.key, { span: span(age) }) : stopwatch(age);
  if (element.textContent !== text) element.textContent = text;
}

export function tickAll() {
  for (const element of document.querySelectorAll("[data-since]")) tick(element);
}
