// The strip of devices: what each was last heard of, and what is wrong with it.

import { $, h, keyed } from "./dom.js";
import { devices, fixState, heardState } from "./model.js";
import { clock, span, t, ticking, tx } from "./text.js";

// trouble is how much a device wants looking at; the most stands first.
function trouble(d) {
  const heard = { never: 1, ok: 0, unsure: 2, late: 3, silent: 4 }[heardState(d)];
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

// draw brings the strip up to date. choose(id) is called when a device is picked.
export function draw(selected, choose) {
  const list = [...devices.values()].sort((a, b) => trouble(b) - trouble(a) || a.id.localeCompare(b.id));
  keyed($("device-rows"), list.map((d) => d.id), newRow(choose), (row, id) => {
    const d = devices.get(id);
    const heard = heardState(d), fix = fixState(d);
    row.className = "heard-" + heard;
    if (id === selected) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    const head = row.firstElementChild;
    const [mark, button] = head.children;
    mark.className = "lg " + (d.kind === "patrol-car" ? "car" : "box") + (heard === "ok" ? "" : " old");
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
      h("td", { class: "dim" }, d.firmware || "–"),
    );
  });
  const count = (state) => list.filter((d) => heardState(d) === state).length;
  $("devices-summary").textContent = t("devices.summary", {
    n: list.length, silent: count("silent") + count("late"), never: count("never"), faults: list.filter((d) => d.faults.length).length,
  });
}

// newRow makes a row whose head stays, so that the focus does.
const newRow = (choose) => (id) => h("tr", { onclick: () => choose(id) },
  h("th", { scope: "row" }, h("i"), h("button", { type: "button", class: "link", title: t("gaps.show") }, h("bdi"), " ", h("code"))));

// A fault's code may name a part after a colon: "button_stuck:panic".
function faultName(code) {
  const [kind, part] = code.split(/:(.*)/, 2);
  return tx("fault", kind) + (part ? ` (${part})` : "");
}

export function drawRefused(refused) {
  $("refused-total").textContent = refused.total;
  $("refused-total").className = "num " + (refused.total ? "bad" : "dim");
  $("refused-rows").replaceChildren(...refused.recent.slice(0, 50).map((r) =>
    h("tr", {}, h("td", { class: "num" }, clock(r.at)), h("td", {}, h("code", {}, r.topic)), h("td", { dir: "auto" }, r.reason, h("span", { class: "dim" }, r.detail && r.detail !== r.reason ? " – " + r.detail : "")), h("td", { class: "num" }, String(r.size)))));
}
