// The strip of devices: what each was last heard of, and what is wrong with it.

import { $, h, keyed } from "./dom.js";
import { devices, fixState, heardState } from "./model.js";
import { clock, span, t, ticking, tx } from "./text.js";

// trouble is how much a device wants looking at; the most stands first.
function trouble(d) {
  const heard = { never: 1, ok: 0, late: 3, silent: 4 }[heardState(d)];
  return heard * 10 + Math.min(9, d.faults.length * 3 + (d.gaps.length ? 2 : 0));
}

export function draw() {
  const list = [...devices.values()].sort((a, b) => trouble(b) - trouble(a) || a.id.localeCompare(b.id));
  keyed($("device-rows"), list.map((d) => d.id), () => h("tr"), (row, id) => {
    const d = devices.get(id);
    const heard = heardState(d), fix = fixState(d);
    row.className = "heard-" + heard;
    row.replaceChildren(
      h("th", { scope: "row" }, h("i", { class: "lg " + (d.kind === "patrol-car" ? "car" : "box") + (heard === "ok" ? "" : " old"), title: tx("device_kind", d.kind) }),
        h("bdi", {}, d.name || d.id), " ", h("code", {}, d.id)),
      h("td", { class: "heard" }, d.last_heard ? ticking(Date.parse(d.last_heard), "heard." + heard) : t("heard.never")),
      h("td", { class: d.faults.length ? "bad" : "dim", title: d.faults.map((f) => `${f.code} · ${clock(f.since)} · ${f.detail}`).join("\n") },
        d.faults.length ? d.faults.map((f) => faultName(f.code)).join(t("list.comma")) : t("fault.none")),
      h("td", { class: d.gaps.length ? "doubt" : "dim", title: d.gaps.map((g) => t("gap.one", { lane: tx("lane", g.lane), from: g.from, to: g.to, why: tx("why", g.why) })).join("\n") },
        d.gaps.length ? t("gap.count", { n: d.gaps.reduce((n, g) => n + g.to - g.from + 1, 0) }) : "0"),
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
