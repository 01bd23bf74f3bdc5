// One incident: what is known, what was done, and the three things to do.

import { Refusal, get, post } from "./api.js";
import { $, h, keyed } from "./dom.js";
import { devices, found, incidents, mark, pressKnown, roughly, putIncident, sensed, since } from "./model.js";
import { networks } from "./networks.js";
import { age, badges, name, where } from "./queue.js";
import { refusal } from "./refusal.js";
import * as steps from "./steps.js";
import { areaName, boot, clock, distance, minute, moment, now, span, t, ticking, tx, within } from "./text.js";
import { calm, entry } from "./timeline.js";

const forms = { dispatch: $("form-dispatch"), close: $("form-close") };
let shown = null; // the incident's id
let busy = false; // an action is on its way
let faultMark = ""; // what the incident was when the last action was refused

// acts says whether who is signed in may take an incident's steps; the centre judges it anew.
const acts = ["dispatcher", "supervisor", "admin"].includes(boot.me.role);

// setUp wires the buttons; changed() redraws the page.
export function setUp(changed) {
  const act = async (verb, body) => {
    if (busy) return false;
    const id = shown;
    busy = true;
    fault(null);
    buttons();
    try {
      putIncident(await post(`/incidents/${id}/${verb}`, body));
      if (forms[verb]) fold(null);
      return true;
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      fault(e);
      if (e.status === 409) await refresh(id);
      faultMark = mark(incidents.get(id));
      return false;
    } finally {
      busy = false;
      changed();
    }
  };
  steps.setUp(act);
  $("do-print").addEventListener("click", () => print());
  $("do-acknowledge").addEventListener("click", () => act("acknowledge", {}));
  $("do-dispatch").addEventListener("click", () => fold("dispatch"));
  $("do-close").addEventListener("click", () => fold("close"));
  for (const form of Object.values(forms)) {
    form.querySelector("[data-cancel]").addEventListener("click", () => fold(null));
    form.addEventListener("keydown", (e) => { if (e.key === "Escape") fold(null); });
  }
  forms.dispatch.elements.other.addEventListener("input", (e) => {
    if (e.target.value) for (const radio of forms.dispatch.querySelectorAll("[name=unit]")) radio.checked = false;
  });
  forms.dispatch.addEventListener("submit", (e) => {
    e.preventDefault();
    const data = new FormData(forms.dispatch);
    const unit = data.get("other").trim() || data.get("unit");
    if (!unit) return fault(new Refusal(422, { detail: t("dispatch.choose") }), true);
    act("dispatch", { unit });
  });
  forms.close.addEventListener("submit", (e) => {
    e.preventDefault();
    const data = new FormData(forms.close);
    if (!data.get("code")) return fault(new Refusal(422, { detail: t("close.choose") }), true);
    act("close", { code: data.get("code"), note: data.get("note") });
  });
}

// fold opens one of the forms, or none.
function fold(which) {
  for (const [verb, form] of Object.entries(forms)) {
    form.hidden = verb !== which;
    if (form.hidden) form.reset();
  }
  fault(null);
  buttons();
  if (which === "dispatch") {
    asking = 0;
    listless = true;
    drawUnits(incidents.get(shown));
  }
  // The person asked for the form, so the focus may go there.
  if (which) forms[which].querySelector("input:not([disabled])")?.focus();
  else if (forms.dispatch.contains(document.activeElement) || forms.close.contains(document.activeElement)) $("detail").focus();
}

// unfinished says whether a form is open.
export const unfinished = () => steps.unfinished() || Object.values(forms).some((form) => !form.hidden);

function fault(error, plain = false) {
  const line = $("act-error");
  line.hidden = !error;
  line.textContent = !error ? "" : plain ? error.message : refusal(error);
}

// press does what a click on one of the three buttons does, for the keyboard.
export function press(verb) {
  if (steps.names.includes(verb)) return steps.press(verb);
  const button = $("do-" + verb);
  if (shown && !button.disabled) button.click();
}

// told says that the centre has told of an incident anew: its timeline may be longer
// though nothing else of it differs, as when a photo has come.
export function told(id) {
  if (id !== shown) return;
  asked = "";
  steps.told();
}

const newest = new Map(); // by id: the last request, so that an older answer does not come after it
export async function refresh(id) {
  const mine = (newest.get(id) ?? 0) + 1;
  newest.set(id, mine);
  try {
    const answer = await get("/incidents/" + encodeURIComponent(id));
    if (newest.get(id) !== mine) return;
    putIncident(answer);
    if (id === shown) draw(id);
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    // The stream, or the next hello, will bring it.
  }
}

function buttons() {
  const i = incidents.get(shown);
  if (!i) return;
  steps.draw(i, busy);
  if (i.state !== "acknowledged") forms.dispatch.hidden = true;
  if (i.state === "closed") forms.close.hidden = true;
  // The buttons never move: what another desk does must not slide one under a finger
  // that is about to press.
  $("do-acknowledge").disabled = busy || !acts || i.state !== "open";
  $("do-dispatch").disabled = busy || !acts || i.state !== "acknowledged";
  $("do-close").disabled = busy || !acts || i.state === "closed";
  $("do-acknowledge").classList.toggle("primary", i.state === "open");
  $("do-acknowledge").title = $("do-close").title = acts ? "" : t("act.reads_only");
  $("do-dispatch").title = !acts ? t("act.reads_only") : i.state === "open" ? t("act.first_acknowledge") : "";
  $("do-dispatch").classList.toggle("primary", i.state === "acknowledged");
  $("do-close").classList.toggle("primary", !["open", "acknowledged", "closed"].includes(i.state));
  $("do-dispatch").setAttribute("aria-expanded", !forms.dispatch.hidden);
  $("do-close").setAttribute("aria-expanded", !forms.close.hidden);
}

// draw shows the incident of that id, or that none is chosen.
export function draw(id) {
  const i = incidents.get(id);
  $("detail-none").hidden = !!i;
  $("detail-one").hidden = !i;
  if (!i) {
    shown = null;
    return;
  }
  if (shown !== id) {
    shown = id;
    fold(null);
    $("detail").scrollTop = 0;
  }
  // Only an answer about this incident alone carries its timeline.
  if (i.timeline) timeline = { id, steps: i.timeline };
  else if (asked !== mark(i)) {
    asked = mark(i);
    refresh(id);
  }
  if (faultMark && faultMark !== mark(i)) { // what was said then is old now
    faultMark = "";
    fault(null);
  }
  $("detail-title").textContent = name(i);
  $("detail-age").replaceChildren(age(i));
  $("detail-badges").replaceChildren(h("span", { class: "badge state " + i.state }, tx("state", i.state)), ...badges(i));
  drawSteps(i);
  buttons();
  drawLamp(i);
  drawFacts(i);
  drawTimeline(id);
  steps.extras(i, mark(i));
  if (!forms.dispatch.hidden) drawUnits(i);
}

let timeline = { id: null, steps: [] }; // the last one that came
let asked = ""; // the mark for which it was asked

function drawSteps(i) {
  const step = (state, done, who, unsure) => // unsure: it was done, and it is not known when
    h("li", { class: done || unsure ? "done" : "", "aria-current": i.state === state ? "step" : null },
      h("b", {}, tx("reached", state)), h("span", {}, ...(done ? [h("bdi", {}, who), " ", h("time", { title: clock(done) }, minute(done))]
        : unsure ? [h("bdi", {}, who), " ", h("span", { class: "doubt" }, t("steps.unsure"))] : ["–"])));
  // Units that were sent and taken back are no less sent.
  const sent = i.dispatched ?? (["on_scene", "checked", "closed"].includes(i.state) ? i.units?.[0] : null);
  const unit = (p) => p && (devices.get(p.unit)?.name || p.unit);
  $("detail-steps").replaceChildren(
    step("open", i.received_at, ""),
    step("acknowledged", i.acknowledged?.at, i.acknowledged?.by),
    step("dispatched", sent?.at, unit(sent)),
    step("on_scene", i.on_scene?.at, unit(i.on_scene), i.on_scene),
    step("checked", i.checked?.at, unit(i.checked), i.checked),
    step("closed", i.closed?.at, i.closed && tx("code", i.closed.code)),
  );
}

// drawLamp says whether the box has told us that its lamps show what was done here.
function drawLamp(i) {
  const line = $("detail-lamp");
  const told = { acknowledged: i.acknowledged, dispatched: i.dispatched, closed: i.closed }[i.state];
  line.hidden = !told || found(i) || sensed(i);
  if (line.hidden) return;
  const state = tx("state", i.state);
  const done = i.shown?.state === i.state;
  line.className = "lamp " + (done ? "ok" : "wait");
  if (done) line.replaceChildren(t("lamp.shown", { state, at: clock(i.shown.at) }));
  else line.replaceChildren(t("lamp.waiting", { state }), " ", ticking(Date.parse(told.at), "", { class: "num" }));
}

function drawFacts(i) {
  const device = devices.get(i.device);
  const fact = (title, ...values) => [h("dt", {}, title), h("dd", {}, ...values.map((v) => (typeof v === "string" ? h("p", {}, v) : v)))];
  const place = !i.position ? t("fact.no_position")
    : t(("place." + i.position.source), { span: span((i.position.age_s ?? 0) * 1000) })
      + (i.position.spread_m ? t("place.spread", { n: i.position.spread_m }) : "");
  const told = i.pressed_at.original;
  const when = !pressKnown(i) ? t("fact.no_time")
    : found(i) ? t("fact.found", { at: clock(since(i)) })
    : sensed(i) ? t("fact.sensed", { at: clock(since(i)), source: tx("source", i.pressed_at.source), within: within(i.pressed_at.uncertainty_ms) })
    : told ? t("fact.corrected", { at: clock(since(i)), source: tx("source", i.pressed_at.source), within: within(i.pressed_at.uncertainty_ms) })
    : t("fact.pressed", { at: clock(since(i)), source: tx("source", i.pressed_at.source), within: within(i.pressed_at.uncertainty_ms) });
  const late = i.delay?.ms ?? 0;
  $("detail-facts").replaceChildren(
    ...fact(t("fact.where"), h("p", {}, h("bdi", {}, where(i)), " ", h("code", {}, i.device)),
      i.position && h("p", { class: "num" }, `${i.position.lat.toFixed(6)}, ${i.position.lon.toFixed(6)}`), (i.device || i.position) && h("p", { class: i.position && i.position.source !== "held" ? "dim" : "doubt" }, place)),
    ...(i.owner && i.state !== "closed" ? fact(t("fact.owner"), h("p", {}, h("bdi", {}, i.owner))) : []),
    ...(i.area?.district ? fact(t("fact.area"), h("p", {}, h("bdi", {}, areaName(i.area))), i.level > 0 && h("p", { class: "doubt" }, t("fact.escalated", { tier: tx("tier", i.tier) }))) : []),
    ...(i.units?.length ? fact(t("fact.units"), ...i.units.map((u) => h("p", {}, h("bdi", {}, devices.get(u.device)?.name || u.unit), " ", h("span", { class: ["refused", "sent"].includes(u.state) ? "doubt" : "dim" }, tx("sent_state", u.state))))) : []),
    ...fact(t("fact.when"), h("p", { class: pressKnown(i) && !told ? "" : "doubt" }, when),
      told && h("p", { class: "dim" }, t("fact.original", { at: clock(told.time), source: tx("source", told.source) })),
      h("p", { class: "dim" }, found(i) ? t("fact.noticed", { at: clock(i.received_at) }) : t("fact.arrived", { at: clock(i.received_at) }), pressKnown(i) && !found(i) ? " · " + t("fact.delay", { span: late < 1000 ? t("span.under") : span(late) }) + (roughly(i) ? ` (± ${within(i.pressed_at.uncertainty_ms)})` : "") : "")),
    ...(found(i) || sensed(i) ? [] : fact(t("fact.who"), h("p", { class: i.officer ? "" : "dim" }, i.officer ? h("bdi", {}, i.officer) : i.sms?.only ? t("fact.who_unknown") : t("fact.nobody")))),
    ...(found(i) || sensed(i) ? [] : fact(t("fact.presses"), String(i.presses))),
    ...(found(i) || sensed(i) ? [] : fact(t("fact.missing"), h("p", { class: i.missing.length ? "doubt" : "dim" }, i.missing.map((m) => tx("missing", m)).join(t("list.comma")) || t("fact.nothing_missing")))),
    ...(device ? fact(t("fact.device"), device.last_heard ? h("p", {}, ticking(Date.parse(device.last_heard), "fact.heard"), ...networks(device)) : t("heard.never")) : []),
    ...(i.closed?.note ? fact(t("close.note"), h("p", { class: "note", dir: "auto" }, i.closed.note)) : []),
  );
}

function drawTimeline(id) {
  const i = incidents.get(id);
  $("detail-timeline").replaceChildren(...calm(timeline.id === id ? timeline.steps : []).map((step) => entry(i, step)));
}


// drawUnits lists the units as the centre ranks them: those whose place is known by
// distance; then those whose place is old, and it is never made to look near; then those
// that cannot go, and why.
let ranked = null, asking = 0;
async function drawUnits(i) {
  if (Date.now() - asking > 4000) {
    asking = Date.now();
    try {
      ranked = { id: i.id, ...(await get(`/incidents/${encodeURIComponent(i.id)}/units`)) };
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      return fault(e);
    }
  }
  if (ranked?.id !== i.id || forms.dispatch.hidden) return;
  const list = [...ranked.near.map((u) => ["live", u]), ...ranked.stale.map((u) => ["old", u]), ...ranked.not.map((u) => ["none", u])];
  const box = $("units");
  keyed(box, list.map(([, u]) => u.device),
    (id) => h("label", {}, h("input", { type: "radio", name: "unit", value: id, onclick: () => { forms.dispatch.elements.other.value = ""; } }), h("span", { class: "unit" })),
    (label, id) => {
      const [how, u] = list.find(([, x]) => x.device === id);
      label.className = "fix-" + how;
      const at = u.fix && Date.parse(u.fix.time), age = u.fix && u.fix.age_s <= ranked.fix_limit_s ? "live" : "old";
      label.lastElementChild.replaceChildren(
        h("b", {}, h("bdi", {}, u.name || id)),
        h("span", { class: "dim" }, h("bdi", {}, u.officer || t("unit.nobody")), " · ", tx("unit_state", u.state), u.incident ? ` #${u.incident}` : ""),
        h("span", { class: "far num" }, how === "live" && u.distance_m !== undefined ? distance(u.distance_m) : t("unit.no_distance")),
        h("span", { class: "fix" }, at ? h("span", { class: "age-" + age }, ticking(at, "unit.fix_" + age)) : t("unit.no_fix")),
        ...(u.reason ? [h("span", { class: "doubt", dir: "auto" }, u.reason)] : []),
      );
    });
  if (!list.length) box.replaceChildren(h("p", { class: "dim" }, t("unit.none")));
  // The form was opened before the list had come: the focus goes where it would have gone.
  const other = forms.dispatch.elements.other;
  if (listless && document.activeElement === other && !other.value) box.querySelector("input:not([disabled])")?.focus();
  listless = false;
}
let listless = true; // the form was opened, and the list is not there yet

// tick redoes what changes with time alone.
export function tick() {
  const i = incidents.get(shown);
  if (i && !forms.dispatch.hidden) drawUnits(i);
  drawPrinted();
}

// drawPrinted says on paper when it was printed, and by whom.
function drawPrinted() {
  $("printed").textContent = t("print.by", { id: shown ?? "", at: moment(now()), zone: boot.zone, name: boot.me.name, role: tx("role", boot.me.role) });
}
addEventListener("beforeprint", drawPrinted);
