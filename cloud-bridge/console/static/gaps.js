// One device: what is missing of its events, and why, and what happened at its reader.

import { Refusal, get } from "./api.js";
import { $, h } from "./dom.js";
import { devices } from "./model.js";
import { apart, clock, t, ticking, tx } from "./text.js";

const shownGaps = 200; // a page of more is no report; the API has all

let shown = null; // the device's id
let report = null, fingers = []; // the last that came, of that device
let asking = null, again = false, failed = false;

// draw shows the device of that id, or none.
export function draw(id) {
  if (shown !== id) {
    shown = id;
    report = null;
    fingers = [];
    failed = false;
    drawReport();
    if (id) {
      $("detail").scrollTop = 0;
      refresh();
    }
  }
  $("device-one").hidden = !id;
  if (!id) return;
  $("detail-none").hidden = true;
  const d = devices.get(id);
  $("device-title").textContent = d?.name || id;
  $("device-id").textContent = id;
  drawBoard(d?.board, d?.commissioned);
}

// drawBoard says why the device last started, how its board is, and what came of its commissioning.
function drawBoard(b, c) {
  const s = b?.supply, parts = [];
  if (b?.started) parts.push(h("span", { class: ["watchdog", "panic", "hung", "crashed"].includes(b.started) ? "doubt" : "" }, t("board.started", { why: tx("started", b.started), at: clock(b.started_at) })));
  if (b && b.temperature_c !== null) parts.push(h("span", { class: "num" }, t("board.temperature", { n: b.temperature_c.toFixed(1) })));
  for (const what of ["under_voltage", "throttled"]) {
    if (s?.[what]) parts.push(h("span", { class: "bad" }, t("board." + what)));
    else if (s?.[what + "_was"]) parts.push(h("span", { class: "doubt" }, t("board." + what + "_was")));
  }
  if (s && !Object.values(s).some(Boolean)) parts.push(h("span", {}, t("board.supply_ok")));
  if (c) parts.push(h("span", { class: c.verdict === "pass" ? "" : c.verdict === "fail" ? "bad" : "doubt", title: c.report },
    t("commissioned." + c.verdict), " ", t("commissioned.at", { at: clock(c.at) }), c.by && h("bdi", {}, " ", c.by), c.self_test ? " " + t("commissioned.self_test") : "", c.problems.length ? ": " + c.problems.map(apart).join(t("list.comma")) : ""));
  $("device-board").hidden = !parts.length;
  $("device-board").replaceChildren(...parts.flatMap((p, i) => (i ? [" · ", p] : [p])));
}

// changed asks for the report anew, at most once a second: what was missing may have come.
export function changed(id) {
  if (id !== shown || asking) {
    again = again || id === shown;
    return;
  }
  asking = setTimeout(refresh, 1000);
}

async function refresh() {
  const id = shown;
  if (!id) return;
  clearTimeout(asking);
  asking = true;
  again = false;
  try {
    const path = `/devices/${encodeURIComponent(id)}/`;
    const [got, at] = await Promise.all([get(path + "gaps"), get(path + "fingers")]);
    if (id === shown) [report, fingers] = [got, at.events];
    failed = false;
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    failed = true;
    again = again || e.status !== 404;
  }
  asking = null;
  drawReport();
  if (again) asking = setTimeout(refresh, failed ? 5000 : 1000);
}

const range = (g) => (g.from === g.to ? String(g.from) : `${g.from}–${g.to}`);
const unsound = (g) => g.why === "chain" || g.why === "twice"; // stored all the same
const short = (stream) => h("code", { title: stream }, stream.slice(0, 6));

// drawFingers lists what happened at the reader, the newest first; whose duress finger one is stays in the API.
function drawFingers() {
  $("fingers").hidden = !fingers.length;
  $("fingers-rows").replaceChildren(...fingers.map((e) => {
    const b = e.body, at = e.occurred_at.time ?? e.received_at;
    const line = (...parts) => h("li", {}, h("b", { class: "num" }, clock(at)), h("span", {}, ...parts.filter(Boolean)));
    const slot = b.slot ? h("span", { class: "num" }, t("fingers.slot", { n: b.slot })) : null;
    if (e.type === "finger_changed") return line(h("span", {}, tx("finger", b.action)), h("bdi", {}, b.officer), h("span", {}, tx("finger.role", b.role)), slot, h("span", { class: "dim" }, t("fingers.by", { who: tx("finger.by", b.by) })));
    if (e.type === "sign_refused") return line(h("span", { class: "doubt" }, tx("refused", b.reason)), slot);
    return line(h("span", { class: b.active ? "bad" : "" }, tx("fault", b.code)), b.active ? null : h("span", { class: "dim" }, t("fingers.over")));
  }));
}

function drawReport() {
  $("gaps-failed").hidden = !failed;
  for (const id of ["gaps-verdict", "gaps-report"]) $(id).hidden = !report;
  if (!report) return;
  drawFingers();
  const lanes = Object.entries(report.totals);
  const sum = (name) => lanes.reduce((n, [, a]) => n + a[name], 0);
  const missing = sum("missing"), dropped = sum("dropped"), wrong = sum("twice") + sum("chain_breaks");
  const verdict = [
    missing && t("gaps.verdict_missing", { n: missing }), dropped && t("gaps.verdict_dropped", { n: dropped }),
    wrong && t("gaps.verdict_wrong", { n: wrong }),
  ].filter(Boolean);
  $("gaps-verdict").className = "lamp " + (verdict.length ? "wait" : "ok");
  $("gaps-verdict").textContent = verdict.join(t("list.comma")) || t("gaps.verdict_none");

  const number = (n, mark) => h("td", { class: "num " + (n ? mark : "dim") }, String(n));
  $("gaps-lanes").replaceChildren(...lanes.map(([lane, a]) => h("tr", {}, h("th", { scope: "row" }, tx("lane", lane)),
    number(a.expected, ""), number(a.stored, ""), number(a.waiting, ""), number(a.missing, "bad"), number(a.dropped, "doubt"),
    number(a.fixes_given_up, "doubt"), number(a.duplicates, ""))));

  const several = report.streams.length > 1;
  const line = (g) => h("li", {},
    h("b", {}, tx("lane", g.lane), " ", h("span", { class: "num" }, range(g))),
    h("span", {}, h("span", { class: g.final ? "" : "doubt" }, tx("why", g.why)), several ? short(g.stream) : null,
      h("span", { class: "dim" }, g.final ? t("gaps.known_since", { at: clock(g.since) }) : ticking(Date.parse(g.since), "gaps.open_for"))));
  const list = (name, gaps) => {
    $(name).hidden = !gaps.length;
    $(name + "-rows").replaceChildren(...gaps.slice(0, shownGaps).map(line),
      ...(gaps.length > shownGaps ? [h("li", {}, h("b"), h("span", {}, t("gaps.more", { n: gaps.length - shownGaps })))] : []));
  };
  list("gaps-open", report.gaps.filter((g) => !g.final));
  list("gaps-final", report.gaps.filter((g) => g.final && !unsound(g)));
  list("gaps-wrong", report.gaps.filter(unsound));

  $("gaps-dropped").hidden = !report.dropped.length;
  $("gaps-dropped-rows").replaceChildren(...report.dropped.slice(-shownGaps).map((d) => h("li", {},
    h("b", {}, tx("lane", d.lane), " ", h("span", { class: "num" }, range(d))),
    h("span", {}, tx("why", d.why), several ? short(d.stream) : null,
      h("span", { class: "num" }, d.fixes ? t("gaps.events_fixes", { n: d.events, fixes: d.fixes }) : t("gaps.events", { n: d.events })),
      d.first && d.last ? h("span", { class: "dim num" }, t("gaps.from_to", { from: clock(d.first), to: clock(d.last) })) : null))));

  $("gaps-streams").hidden = !report.streams.some((s) => s.start || several);
  $("gaps-streams-rows").replaceChildren(...report.streams.toReversed().map((s) => h("li", {},
    h("b", {}, short(s.stream)),
    h("span", {},
      s.heard_at && h("span", { class: "dim" }, t("gaps.heard_at", { at: clock(s.heard_at) })),
      s.start && h("span", { class: "doubt" }, tx("start", s.start.why)),
      s.start?.previous ? h("span", {}, t("gaps.in_place_of"), " ", short(s.start.previous)) : null,
      s.start && h("span", { class: "num" }, t("gaps.salvaged", s.start.salvaged)),
      s.start?.detail ? h("span", { class: "dim", dir: "auto" }, s.start.detail) : null,
      s.replaced_by.length ? h("span", { class: "dim" }, t("gaps.replaced")) : null))));
}
