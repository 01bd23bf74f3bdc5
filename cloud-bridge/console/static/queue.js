// The list of incidents.

import { $, h, keyed } from "./dom.js";
import * as filter from "./filter.js";
import { clockAhead, devices, found, group, incidents, listed, mark, pressKnown, roughly, since, states } from "./model.js";
import { clock, span, t, ticking, tx, within } from "./text.js";

// name is how an incident is spoken of: "Panic button · Well Lane".
export const name = (i) => (i.device ? t("incident.name", { kind: tx("kind", i.kind), device: where(i) }) : tx("kind", i.kind));

// where is the device of an incident, or the district.
export const where = (i) => i.device_name || i.device || t("kind.district");

// age is the ticking age, marked where the press itself has no trusted time.
export function age(i) {
  if (i.state === "closed") return h("time", {}, clock(i.closed.at));
  if (roughly(i)) return h("span", { title: t("age.from_press") }, "≈ ", ticking(since(i)));
  if (pressKnown(i) && !clockAhead(i)) return ticking(since(i), "", { title: t("age.from_press") });
  return h("span", { title: t("age.from_arrival") }, "≥ ", ticking(since(i)));
}

// badges are the things that change how an incident is handled.
export function badges(i) {
  const badge = (kind, text, title) => h("span", { class: "badge " + kind, title }, text);
  const late = pressKnown(i) ? Date.parse(i.received_at) - since(i) : 0;
  return [
    badge("p" + i.priority, t("badge.priority", { n: i.priority }), t("badge.priority_why")),
    found(i) && badge("plain", t("badge.found")),
    i.level > 0 && i.state !== "closed" && badge("escalated", t("badge.escalated", { tier: tx("tier", i.tier) }), t("badge.escalated_why")),
    i.help && badge("p1", t("badge.help")),
    i.request && badge("late", t("badge.request")),
    i.drill && badge("drill", t("badge.drill")),
    i.silent && badge("silent", t("badge.silent"), t("badge.silent_why")),
    i.sms && (i.sms.only ? badge("doubt", t("badge.sms_only"), t("badge.sms_only_why")) : badge("plain", t("badge.sms"), t("badge.sms_why"))),
    i.presses > 1 && badge("again", t("badge.presses", { n: i.presses })),
    late > 5000 && !found(i) && late > i.pressed_at.uncertainty_ms && badge("late", t("badge.late", { span: span(late) })),
    clockAhead(i) && badge("doubt", t("badge.clock_ahead"), t("age.from_arrival")),
    !pressKnown(i) && badge("doubt", t("badge.no_time"), t("age.from_arrival")),
    pressKnown(i) && i.pressed_at.corrected && badge("doubt", t("badge.corrected"), t("badge.corrected_why")),
    pressKnown(i) && !found(i) && i.pressed_at.uncertainty_ms >= 1000 && badge("doubt", t("badge.uncertain", { span: within(i.pressed_at.uncertainty_ms) })),
    ...i.missing.filter((m) => m !== "time").map((m) => badge("doubt", t("badge.missing", { what: tx("missing", m) }))),
    i.cleared && badge("plain", t("badge.cleared")),
  ].filter(Boolean);
}

function standing(i) {
  const unit = i.dispatched && (devices.get(i.dispatched.unit)?.name || i.dispatched.unit);
  switch (i.state) {
    case "acknowledged": return t("standing.acknowledged", i.acknowledged);
    case "dispatched": return t("standing.dispatched", { unit, by: i.dispatched.by });
    case "en_route": return t("standing.en_route", { unit });
    case "on_scene": return t("standing.on_scene", { unit });
    case "checked": return t("standing.checked", { unit });
    case "suspended": return t("standing.suspended");
    case "closed": return t("standing.closed", { code: tx("code", i.closed.code), by: i.closed.by });
    default: return t("standing.open");
  }
}

// draw brings the list up to date. choose(id) is called when one is picked.
export function draw(selected, choose) {
  let hidden = 0;
  for (const state of states) {
    const all = group(state), list = all.filter(filter.incident);
    if (state === "open") hidden = all.length - list.length;
    const section = document.querySelector(`[data-group="${state}"]`);
    section.hidden = list.length === 0;
    const count = section.querySelector(".count");
    if (count) count.textContent = list.length;
    keyed(section.querySelector("ol"), list.map((i) => i.id),
      (id) => h("li", {}, h("button", { type: "button", class: "card", onclick: () => choose(id) })),
      (item, id) => {
        const i = incidents.get(id);
        const card = item.firstElementChild;
        card.className = `card ${listed[i.state] ?? i.state}${i.drill ? " drill" : ""}${found(i) ? " found" : ""}`;
        if (id === selected) card.setAttribute("aria-current", "true");
        else card.removeAttribute("aria-current");
        if (card.dataset.mark === mark(i)) return;
        card.dataset.mark = mark(i);
        card.replaceChildren(
          h("i", { class: "icon " + kindClass(i.kind), "aria-hidden": "true" }),
          h("span", { class: "what" }, h("b", {}, tx("kind", i.kind)), i.device && h("bdi", {}, where(i))),
          h("span", { class: "age num" }, age(i)),
          h("span", { class: "badges" }, ...badges(i)),
          h("span", { class: "standing" }, standing(i)),
        );
      });
  }
  const empty = !document.querySelector("#queue .card");
  $("queue-empty").hidden = !empty;
  if (ready) $("queue-empty").textContent = incidents.size ? t("queue.none_shown") : t("queue.empty");
  // A filter is no reason to overlook an alarm.
  $("filter-note").hidden = !filter.active();
  $("filter-hides").textContent = hidden ? t("filter.hides_open", { n: hidden }) : t("filter.on");
  $("filter-note").classList.toggle("hides", hidden > 0);
  filter.options("kind", [...new Set([...incidents.values()].filter((i) => !found(i)).map((i) => i.kind))].sort().map((k) => [k, tx("kind", k)]).concat([["found", t("filter.found")]]));
  const open = group("open").length;
  $("tab-count").hidden = open === 0;
  $("tab-count").textContent = open;
}

let ready = false;
export const loaded = () => { ready = true; };

export const kindClass = (kind) => (["panic", "fire", "medical", "duress"].includes(kind) ? kind : "other");
