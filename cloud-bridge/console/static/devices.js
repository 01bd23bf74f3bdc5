// The board of devices: what each was last heard of, and what is wrong with it. There can
// be thousands; only the rows in sight are in the page.

import { $, h, keyed } from "./dom.js";
import * as filter from "./filter.js";
import { devices, fixState, heardState } from "./model.js";
import { networks } from "./networks.js";
import { apart, clock, now, span, t, ticking, tx } from "./text.js";

// trouble is how much a device wants looking at; the most stands first.
const heardTrouble = { never: 1, ok: 0, unsure: 2, late: 3, silent: 4 };
function trouble(d, state) {
  const heard = heardTrouble[state];
  const { not_yet, lost, dropped, wrong } = d.gap_count;
  return heard * 10 + Math.min(9, d.faults.length * 3 + (lost || wrong || not_yet ? 2 : dropped ? 1 : 0));
}

// gapCell sums up what is missing, worst first; the report has each number.
function gapCell(d) {
  const { not_yet, lost, dropped, wrong } = d.gap_count;
  const parts = [
    lost && t("gap.lost", { n: lost }), wrong && t("gap.wrong", { n: wrong }),
    not_yet && t("gap.not_yet", { n: not_yet }), dropped && t("gap.dropped", { n: dropped }),
  ].filter(Boolean);
  const lines = d.gaps.slice(0, 20).map((g) => t("gap.one", { lane: tx("lane", g.lane), from: g.from, to: g.to, why: tx("why", g.why) }));
  return h("td", { class: lost || wrong ? "bad" : parts.length ? "doubt" : "dim", title: lines.join("\n") }, parts.join(t("list.comma")) || "0");
}

const rowHeight = 31; // px, as the style sheet fixes it
const spare = 8; // rows above and below those in sight

let list = []; // what the filter leaves, in order
const order = new Map(); // by id: how much trouble, when the list was drawn last
let selectedID = null, chooser = () => {};

// draw brings the board up to date. choose(id) is called when a device is picked.
export function draw(selected, choose) {
  selectedID = selected;
  chooser = choose;
  const count = { ok: 0, late: 0, silent: 0, never: 0, unsure: 0 }, at = now();
  const rows = [];
  let faults = 0, sorted = true;
  for (const d of devices.values()) {
    const state = heardState(d, at);
    count[state]++;
    if (d.faults.length) faults++;
    if (!filter.device(d)) continue;
    const much = trouble(d, state);
    if (order.get(d.id) !== much) {
      order.set(d.id, much);
      sorted = false;
    }
    rows.push(d);
  }
  // The order of before, unless somebody's place in it is another now.
  const shown = new Set(rows.map((d) => d.id));
  if (sorted && rows.length === list.length && list.every((d) => shown.has(d.id))) list = list.map((d) => devices.get(d.id));
  else list = rows.sort((a, b) => order.get(b.id) - order.get(a.id) || (a.id < b.id ? -1 : 1));
  const summary = t("devices.summary", { n: devices.size, silent: count.silent + count.late, never: count.never, faults });
  $("devices-summary").textContent = summary + (list.length < devices.size ? t("devices.shown", { n: list.length }) : "");
  drawRows();
}

let scrolled = null;
$("devices-scroll").addEventListener("scroll", () => {
  scrolled ??= requestAnimationFrame(() => {
    scrolled = null;
    drawRows();
  });
}, { passive: true });

function drawRows() {
  const scroll = $("devices-scroll");
  const first = Math.max(0, Math.floor(scroll.scrollTop / rowHeight) - spare);
  const last = Math.min(list.length, Math.ceil((scroll.scrollTop + (scroll.clientHeight || 400)) / rowHeight) + spare);
  let shown = list.slice(first, last).filter((d) => devices.has(d.id)); // one may have gone since
  // A row that has the focus stays, wherever it has got to.
  const focused = document.activeElement?.closest("#device-rows tr")?.dataset.key;
  if (focused && !shown.some((d) => d.id === focused)) {
    const at = list.findIndex((d) => d.id === focused);
    if (at >= 0 && devices.has(focused)) shown = at < first ? [list[at], ...shown] : [...shown, list[at]];
  }
  $("device-rows").parentElement.setAttribute("aria-rowcount", list.length + 1);
  $("rows-before").style.height = `${Math.min(first, list.length) * rowHeight}px`;
  $("rows-after").style.height = `${Math.max(0, list.length - last) * rowHeight}px`;
  const index = new Map(shown.map((d) => [d.id, 0]));
  for (let n = first; n < last; n++) if (index.has(list[n].id)) index.set(list[n].id, n + 2);
  keyed($("device-rows"), shown.map((d) => d.id), newRow((id) => chooser(id)), (row, id) => {
    if (index.get(id)) row.setAttribute("aria-rowindex", index.get(id));
    drawRow(row, devices.get(id));
  });
}

const looks = new WeakMap(); // of a row: what it shows

function drawRow(row, d) {
  const heard = heardState(d), fix = fixState(d), was = looks.get(row), current = d.id === selectedID;
  if (was && was.d === d && was.heard === heard && was.fix === fix && was.current === current) return; // ages tick by themselves
  looks.set(row, { d, heard, fix, current });
  row.className = "heard-" + heard;
  if (current) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  const head = row.firstElementChild;
  const [mark, button] = head.children;
  mark.className = "lg " + (d.kind === "alarm-box" ? "box" : "car") + (heard === "ok" ? "" : " old");
  mark.title = tx("device_kind", d.kind);
  const [name, code] = button.children;
  if (name.textContent !== (d.name || d.id)) name.textContent = d.name || d.id;
  if (code.textContent !== d.id) code.textContent = d.id;
  row.replaceChildren(
    head,
    h("td", { class: "heard" }, d.last_heard ? ticking(Date.parse(d.last_heard), "heard." + heard) : t("heard.never")),
    h("td", { class: d.faults.length ? "bad" : "dim", title: d.faults.map((f) => `${f.code} · ${clock(f.since)} · ${f.detail}`).join("\n") },
      d.faults.length ? d.faults.map((f) => faultName(f.code)).join(t("list.comma")) : t("fault.none")),
    gapCell(d),
    h("td", { class: "fix-" + fix }, fix === "none" ? (d.position ? t("fix.surveyed") : t("fix.none")) : ticking(Date.parse(d.last_fix.time), "fix." + fix)),
    h("td", { class: "num", title: d.queue ? t("queue.lanes", d.queue) : null }, d.queue ? `${d.queue.alarm} · ${d.queue.duty} · ${d.queue.track}` : "–"),
    h("td", {}, d.officer ? h("bdi", {}, d.officer) : h("span", { class: "dim" }, "–")),
    h("td", { class: "dim" }, d.firmware || "–", ...networks(d)),
  );
}

// newRow makes a row whose head stays, so that the focus does.
const newRow = (choose) => (id) => h("tr", { onclick: () => choose(id) },
  h("th", { scope: "row" }, h("i"), h("button", { type: "button", class: "link", title: t("gaps.show") }, h("bdi"), " ", h("code"))));

// A fault's code may name a part after a colon: "button_stuck:panic".
function faultName(code) {
  const [kind, part] = code.split(/:(.*)/, 2);
  return apart(tx("fault", kind)) + (part ? ` (${apart(part)})` : "");
}

// refusedFor is a reason in the page's language; one without a word of it shows itself.
function refusedFor(reason) {
  const key = reason.replaceAll(" ", "_"), words = tx("refused_reason", key);
  return words === key ? reason : words;
}

export function drawRefused(refused) {
  $("refused-total").textContent = refused.total;
  $("refused-total").className = "num " + (refused.total ? "bad" : "dim");
  $("refused-rows").replaceChildren(...refused.recent.slice(0, 50).map((r) =>
    h("tr", {}, h("td", { class: "num" }, clock(r.at)), h("td", {}, h("code", {}, r.topic)), h("td", {}, h("bdi", {}, refusedFor(r.reason)), h("span", { class: "dim" }, ...(r.detail && r.detail !== r.reason ? [" – ", h("bdi", {}, r.detail)] : []))), h("td", { class: "num" }, String(r.size)))));
}
