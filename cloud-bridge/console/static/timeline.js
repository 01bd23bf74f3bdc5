// The history of an incident. The centre writes its few words in English, for the audit
// record; here they are put into the page's language. What people wrote stays as it is.

import { h } from "./dom.js";
import { devices } from "./model.js";
import { boot, clock, span, t, tx, within } from "./text.js";

const nameOf = (id) => devices.get(id)?.name || id;
const person = (by) => (["centre", "drill_end", "officer"].includes(by) ? tx("by", by) : nameOf(by));

// What a unit said without a link came later than it was given; it stands where it was given.
const lateAfter = 5000; // ms

// entry is one line of the history of incident i.
export function entry(i, step) {
  const words = remark(step), at = place(step);
  return h("li", {}, h("time", { class: "num" }, clock(step.given_at ?? step.at)),
    h("span", {}, h("b", {}, step.what === "opened" && step.by === "centre" ? t("what.found") : tx("what", step.what)),
      step.by && step.by !== i.device ? h("bdi", {}, person(step.by)) : null,
      words && h("span", { class: "dim", dir: "auto" }, words),
      step.again ? h("span", { class: "dim" }, t("timeline.again", { n: step.again })) : null,
      step.screen === "unit" && !step.given_at ? h("span", { class: "doubt" }, t("steps.unsure")) : null,
      step.given_at && Date.parse(step.at) - Date.parse(step.given_at) > lateAfter ? h("span", { class: "doubt" }, t("timeline.came", { at: clock(step.at) })) : null,
      at && !["opened", "pressed"].includes(step.what) ? at : null));
}

// calm leaves out what a box or a screen only confirms once more, and counts it: each change
// of an incident is told to them anew.
export function calm(steps) {
  const out = [], last = new Map(); // by what and whose
  for (const step of steps) {
    const key = step.what + " " + step.by, before = last.get(key);
    if (["shown", "unit_shown"].includes(step.what) && before?.detail === step.detail) {
      before.again = (before.again ?? 0) + 1;
      continue;
    }
    const copy = { ...step };
    last.set(key, copy);
    out.push(copy);
  }
  return out;
}

// place is where somebody was who took a step: at which screen, or where the device was,
// how old that fix was, and how good.
function place(step) {
  if (!step.where) return null;
  const fix = /^(-?[\d.]+),(-?[\d.]+)(?:, ([\d.]+) s old)?(?:, hdop ([\d.]+))?(?:, (given|learned|held))?$/.exec(step.where);
  if (fix) {
    const [, lat, lon, age, hdop, source] = fix, old = Number(age) * 1000;
    return h("span", { class: (source === "held" || old > 60_000 ? "doubt" : "dim") + " from num" }, [
      t("timeline.at", { lat, lon }), source ? tx("place_is", source) : "",
      age === undefined || source === "given" || source === "learned" ? "" : t("timeline.fix", { span: span(old) }),
      hdop ? t("timeline.within", { n: Math.ceil(5 * Number(hdop)), hdop }) : "",
    ].filter(Boolean).join(" · "));
  }
  const [address, ...agent] = step.where.split(" ");
  return h("span", { class: "dim from", title: step.where }, [tx("screen", step.screen), browser(agent.join(" ")), address].filter(Boolean).join(" · "));
}

// browser is a browser's name for people: its full name is in the tooltip, and in the record.
export function browser(agent) {
  const known = [["Edge", /Edg(?:e|A|iOS)?\/(\d+)/], ["Opera", /OPR\/(\d+)/], ["Firefox", /(?:Firefox|FxiOS)\/(\d+)/], ["Chrome", /(?:Chrome|CriOS|Chromium)\/(\d+)/], ["Safari", /Version\/(\d+).*Safari/]];
  const system = [["Android", /Android/], ["iOS", /iPhone|iPad/], ["Windows", /Windows/], ["macOS", /Mac OS X/], ["Linux", /Linux|X11/]].find(([, is]) => is.test(agent))?.[0];
  for (const [name, is] of known) {
    const found = is.exec(agent.replace(/Headless(?=Chrome)/, ""));
    if (found) return `${name} ${found[1]}${system ? ` (${system})` : ""}`;
  }
  return agent.split(/[ (]/, 1)[0].slice(0, 24); // a program's
}

// remark is what an entry says beside who and what; "" is nothing.
function remark({ what, detail }) {
  if (!detail) return "";
  switch (what) {
    case "opened": return opened(detail);
    case "pressed": case "texted": case "followed": return t("what.press_number", { n: detail.replace(/^press /, "") });
    case "shown": return tx("state", detail);
    case "dispatched": case "unit_added": return nameOf(detail);
    case "closed": return detail.replace(/^[a-z_]+/, (code) => tx("code", code));
    case "taken_over": return t("remark.from", { who: detail.replace(/^from /, "") || t("refusal_nobody") });
    case "note": return named(detail);
    case "asked": return detail.replace(/^[a-z_]+/, (step) => tx("step", step));
    case "approved": case "denied": return detail.replace(/^([a-z_]+), which (.*?) asked: /s, (_, step, by) => t("remark.asked", { step: tx("step", step), by }) + t("list.colon"));
    case "escalated": return overrun(detail);
    case "stranger": return detail.replace(/^(\S+) of (\S+), which was not sent$/, (_, answer, id) => t("remark.stranger", { answer: tx("answer", answer), unit: nameOf(id) }));
    case "sound_asked": return detail.replace(/^(\d+) boxes of (.*), for (\S+)$/s, (_, n, group, long) => t("remark.sounds", { n, group, span: span(duration(long)) }));
    case "sounded": return tx("sounded", { "over the centre": "centre", "over the neighbours' own network": "group" }[detail] ?? detail);
    case "not_sounded": return tx("sound_why", detail);
    case "attachment": return file(detail);
    case "redated": case "doubted": return redated(detail);
    case "unit_closed": return unit(detail.replace(/ \(([a-z_]+)\)$/, (_, code) => ` (${tx("code", code)})`));
    case "unit_shown": case "unit_accepted": case "unit_refused": case "en_route": case "on_scene": case "checked": case "need_help": return unit(detail);
    default: return detail;
  }
}

// redated says what was said at another time than was believed: "on_scene of P-7:
// 2026-…Z ± 1s, before: 2026-…Z", "… not known before", "… its device says 2026-…Z, which
// cannot be".
function redated(detail) {
  const [, what, who, at, around, end, was] = /^(\w+) of (.*?): (?:its device says )?(\S+Z)(?: ± (\S+))?, (before: (\S+Z)|not known before|which cannot be)$/s.exec(detail) ?? [];
  if (!what) return detail;
  const name = { shown: "unit_shown", accepted: "unit_accepted", refused: "unit_refused", press: "opened" }[what] ?? what;
  const values = { what: tx("what", name), who: person(who), at: clock(at), within: around ? t("redated.within", { span: within(duration(around)) }) : "", was: was && clock(was) };
  return was ? t("redated.to", values) : end === "which cannot be" ? t("redated.doubt", values) : t("redated.new", values);
}

// unit is what a unit said: its name and a note.
function unit(detail) {
  const taken = " (it was taken back before)";
  const back = detail.endsWith(taken), [name, ...note] = (back ? detail.slice(0, -taken.length) : detail).split(": ");
  return [nameOf(name), ...note].join(t("list.colon")) + (back ? " " + t("remark.taken_back") : "");
}

// opened says what was asked for or found: "panic", "district_link_lost: 5 of 9 …".
function opened(detail) {
  const [kind, rest] = detail.split(/: (.*)/s, 2);
  const many = /^(\d+) of (\d+) devices/.exec(rest ?? "");
  const twins = [...(rest ?? "").matchAll(/([0-9a-f]{16}) \(boot (\d+)\)/g)].map(([, stream, boot]) => t("fact.twin_one", { stream, boot }));
  const again = /^pressed again, incident (\d+) is closed$/.exec(rest ?? "");
  const said = many ? t("fact.of", { silent: many[1], of: many[2] })
    : twins.length ? t("fact.twin", { streams: twins.join(t("list.comma")) })
    : again ? t("remark.again", { id: again[1] })
    : rest === "the broker cannot be reached" ? t("fact.broker") : rest;
  return tx("kind", kind) + (said ? ` – ${said}` : "");
}

// overrun says which limit passed, and whose turn it is: "no unit sent after 1m0s: village".
function overrun(detail) {
  const found = /^(unacknowledged|no unit sent|no unit on scene) after (\S+): (\w*)$/.exec(detail);
  if (!found) return detail;
  const what = { unacknowledged: "acknowledge", "no unit sent": "dispatch", "no unit on scene": "arrive" }[found[1]];
  return t("remark.overrun", { what: tx("overrun", what), span: span(duration(found[2])), tier: tx("tier", found[3]) });
}

// named takes the names of files out of a note: they are listed with the incident.
function named(note) {
  let n = 0;
  const text = note.replace(/ ?\[[0-9a-f]{32}\]/g, () => { n++; return ""; }).trim();
  return [text, n ? t("remark.photos", { n }) : ""].filter(Boolean).join(" · ");
}

// file says that a file of a unit is here: "<hash> whole, 41234 bytes".
function file(detail) {
  const found = /^[0-9a-f]+ (\w+), (\d+) bytes$/.exec(detail);
  return found ? tx("remark.file", found[1], { size: size(Number(found[2])) }) : detail;
}

const size = (bytes) => new Intl.NumberFormat(boot.lang, { style: "unit", unit: bytes < 1e6 ? "kilobyte" : "megabyte", unitDisplay: "short", maximumFractionDigits: bytes < 1e6 ? 0 : 1 }).format(Math.max(0.1, bytes / (bytes < 1e6 ? 1e3 : 1e6)));

// duration reads a length of time as the centre writes it, in ms: "1m30s".
function duration(text) {
  const unit = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  return [...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce((sum, [, n, u]) => sum + Number(n) * unit[u], 0);
}
