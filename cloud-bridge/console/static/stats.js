// The page of statistics. The figures are the centre's; the page draws them, real incidents
// by themselves, and lets the same be had as CSV.

import { Refusal, get } from "./api.js";
import { $, h } from "./dom.js";
import { refusal } from "./refusal.js";
import { apart, boot, span, t, tx } from "./text.js";

const form = $("period");
const day = (d) => new Intl.DateTimeFormat("sv-SE", { timeZone: boot.zone, dateStyle: "short" }).format(d);

// What is asked for stands in the address.
const asked = new URLSearchParams(location.search);
form.elements.from.value = asked.get("from") ?? day(Date.now() - 30 * 86_400_000);
form.elements.to.value = asked.get("to") ?? day(Date.now());
form.elements.per.value = asked.get("per") ?? "all";
form.elements.tier.value = asked.get("tier") ?? "district";

// midnight is when a day begins in the district's zone.
function midnight(text, plus = 0) {
  const guess = Date.parse(text + "T00:00:00Z") + plus * 86_400_000;
  const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: boot.zone, dateStyle: "short", timeStyle: "medium" }).format(guess);
  return new Date(2 * guess - Date.parse(shown.replace(" ", "T") + "Z")).toISOString();
}

function query() {
  const { from, to, per, tier } = form.elements;
  return new URLSearchParams({ from: midnight(from.value), to: midnight(to.value, 1), per: per.value, tier: tier.value, zone: boot.zone });
}

form.addEventListener("submit", (e) => {
  e.preventDefault();
  const url = new URL(location.href);
  for (const name of ["from", "to", "per", "tier"]) url.searchParams.set(name, form.elements[name].value);
  history.replaceState(null, "", url);
  load();
});

async function load() {
  $("csv").href = "/api/v1/stats.csv?" + query();
  try {
    draw(await get("/stats?" + query()));
    $("fault").hidden = true;
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    $("fault").hidden = false;
    $("fault").textContent = refusal(e);
  }
}

const label = (r, s) => [s.per === "all" ? "" : day(Date.parse(r.from)), r.name || r.area || (s.tier === "district" ? "" : t("stats.outside"))].filter(Boolean).join(" ") || t("stats.all");
const seconds = (v) => (v === null || v === undefined ? "–" : span(v * 1000, Math.round));
const percent = (v) => (v === null || v === undefined ? "–" : (v * 100).toFixed(1) + " %");

function draw(s) {
  const real = s.rows.filter((r) => r.class === "real"), practice = s.rows.filter((r) => r.class !== "real");
  $("none").hidden = s.rows.length > 0;
  $("real").replaceChildren(...(real.length ? [
    h("div", { class: "plots" }, ...["acknowledge", "dispatch", "arrive"].map((what) => delays(real, s, what)), rates(real, s)),
    table(real, s),
  ] : []));
  $("practice").replaceChildren(...(practice.length ? [table(practice, s)] : []));
  const devices = s.devices.filter((d) => d.available !== null).sort((a, b) => a.available - b.available);
  const sum = (key) => s.areas.reduce((all, a) => all + a[key], 0);
  const visits = sum("kept") + sum("late") + sum("missed");
  $("available").replaceChildren(
    ...(s.areas.length ? [wide([t("stats.when"), t("stats.devices"), t("stats.availability"), ...(visits ? [t("stats.kept"), t("stats.late"), t("stats.missed")] : [])],
      s.areas.map((a) => [h("bdi", {}, label(a, s)), num(a.devices), num(percent(a.available)), ...(visits ? [num(a.kept), num(a.late), num(a.missed)] : [])]))] : []),
    h("p", {}, devices.length ? t("stats.available", { n: devices.length, mean: percent(sum("heard_s") / sum("of_s")) }) : t("stats.none")),
    ...(devices.length ? [wide([t("devices.device"), t("stats.availability")], devices.slice(0, 20).map((d) => [h("code", {}, d.device), num(percent(d.available))]))] : []));
  $("kept").replaceChildren(s.rounds.length ? wide([t("duty.round"), t("stats.kept"), t("stats.late"), t("stats.missed")], s.rounds.map((r) => [h("bdi", {}, r.name || r.round), num(r.kept), num(r.late), num(r.missed)])) : h("p", {}, t("stats.none")));
}

const num = (text) => Object.assign(h("span", { class: "num" }, String(text)), { number: true });

function wide(heads, rows) {
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": heads[0] }, h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((k, n) => h("th", { scope: "col", class: rows[0]?.[n]?.number ? "num" : null }, k)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((c) => h("td", { class: c.number ? "num" : null }, c)))))));
}

function table(rows, s) {
  const delay = (d) => num(`${seconds(d.p50_s)} / ${seconds(d.p90_s)}` + (d.judged ? ` · ${d.within}/${d.judged}` : "") + (d.unsure ? ` · ${t("stats.unsure", { n: d.unsure })}` : ""));
  return wide([t("stats.when"), t("stats.class"), t("stats.count"), t("stats.acknowledge"), t("stats.dispatch"), t("stats.arrive"), t("stats.false"), t("stats.codes")],
    rows.map((r) => [h("bdi", {}, label(r, s)), tx("class", r.class), num(r.count), delay(r.acknowledge), delay(r.dispatch), delay(r.arrive), num(percent(r.false_rate)),
      Object.entries(r.codes).map(([code, n]) => `${tx("code", code)} ${n}`).join(t("list.comma"))]));
}

const ns = "http://www.w3.org/2000/svg";
function s(tag, attributes, ...children) {
  const e = document.createElementNS(ns, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// bars draws rows of bars, each with its value, within a width.
function bars(rows, most, title) {
  const left = 150, width = 430, line = 34, longest = 22;
  const x = (v) => left + (v / most) * (width - left - 110);
  const svg = s("svg", { viewBox: `0 0 ${width} ${rows.length * line + 8}`, role: "img", "aria-label": title });
  rows.forEach((r, n) => {
    const y = n * line + 6;
    svg.append(s("text", { x: 0, y: y + 17 }, apart(r.label.length > longest ? r.label.slice(0, longest - 1) + "…" : r.label)));
    for (const b of r.bars) svg.append(s("rect", { x: left, y: y + b.at, width: Math.max(1, x(b.value) - left), height: b.high, class: b.class, rx: 2 }));
    svg.append(s("text", { x: x(Math.max(...r.bars.map((b) => b.value))) + 5, y: y + 17 }, r.text));
    if (r.target) svg.append(s("line", { x1: x(r.target), x2: x(r.target), y1: y - 2, y2: y + 26, class: "target" }));
  });
  return svg;
}

function delays(rows, all, what) {
  const list = rows.filter((r) => r[what].p50_s !== null).slice(0, 24).map((r) => ({
    label: label(r, all), text: `${seconds(r[what].p50_s)} / ${seconds(r[what].p90_s)}`, target: r[what].target_s,
    bars: [{ value: r[what].p90_s, class: "p90", at: 0, high: 24 }, { value: r[what].p50_s, class: "p50", at: 6, high: 12 }],
  }));
  const most = Math.max(1, ...list.map((r) => Math.max(r.bars[0].value, r.target ?? 0)));
  const title = t("stats.plot_" + what);
  return h("figure", {}, h("figcaption", {}, title), list.length ? bars(list, most, title + ": " + list.map((r) => r.label + " " + r.text).join("; ")) : h("p", { class: "dim" }, t("stats.none")));
}

function rates(rows, all) {
  const list = rows.filter((r) => r.false_rate !== null).slice(0, 24).map((r) => ({
    label: label(r, all), text: `${percent(r.false_rate)} (${r.false_of})`, bars: [{ value: r.false_rate, class: "rate", at: 4, high: 16 }],
  }));
  const title = t("stats.plot_false");
  return h("figure", {}, h("figcaption", {}, title), list.length ? bars(list, 1, title + ": " + list.map((r) => r.label + " " + r.text).join("; ")) : h("p", { class: "dim" }, t("stats.none")));
}

load();
