// The page of duty: units, shifts, guard rounds, exercises, groups of boxes and the plan.

import { Refusal, get, remove, post, put } from "./api.js";
import { $, h, typing } from "./dom.js";
import { refusal } from "./refusal.js";
import { apart, areas, boot, clock, minute, span, t, tx } from "./text.js";

// Who takes units out of service, and who plans; the centre judges it anew.
const acts = ["dispatcher", "supervisor", "admin"].includes(boot.me.role);
const plans = ["supervisor", "admin"].includes(boot.me.role) && boot.me.scope === "*";
for (const form of ["drill", "group", "plan"]) for (const e of $(form).elements) e.disabled = !plans;

function fault(e) {
  $("done").hidden = true;
  $("fault").hidden = !e;
  if (!e) return;
  $("fault").textContent = refusal(e);
  $("fault").scrollIntoView({ block: "nearest" });
}

// act does something, says so, and draws all anew.
async function act(what, said) {
  try {
    await what();
    await load();
    fault(null);
    $("done").textContent = said;
    $("done").hidden = false;
    return true;
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    fault(e);
    return false;
  }
}

const button = (text, onclick) => h("button", { type: "button", class: "quiet", onclick }, text);
const name = (text) => h("bdi", {}, text);

async function load() {
  const [units, duty, rounds, drills, groups, plan, grid, exercises] = await Promise.all([
    get("/units"), get("/duty"), get("/rounds"), get("/drills"), get("/groups"), get("/roster"), get("/grid"), get("/exercises"),
  ]);
  areas.clear();
  for (const f of grid.features) areas.set(f.properties.id, f.properties);
  drawUnits(units.units);
  drawShifts(duty.duty);
  drawVisits(rounds.visits);
  drawDrills(drills.drills);
  drawGroups(groups.groups);
  drawExercises(exercises.exercises);
  drawPlaces(groups.groups, grid.features);
  $("plan-said").textContent = plan.rev ? t("duty.plan_of", { rev: plan.rev, by: plan.by, at: clock(plan.at) }) : t("duty.plan_none");
  const text = $("plan").elements.text;
  if (document.activeElement !== text) text.value = plan.text;
}

function drawUnits(list) {
  $("units").replaceChildren(...list.map((u) => h("tr", {},
    h("th", { scope: "row" }, name(u.name || u.device), " ", h("code", {}, u.device)),
    h("td", { class: ["silent", "out_of_service"].includes(u.state) ? "doubt" : "" }, tx("unit_state", u.state), u.reason ? h("p", { class: "dim", dir: "auto" }, u.reason) : null, said(u)),
    h("td", {}, u.officer ? name(u.officer) : "–"),
    h("td", {}, u.fix ? t("duty.fix_age", { span: span(u.fix.age_s * 1000) }) : "–"),
    h("td", {}, u.incident ? h("a", { href: "/#incident=" + encodeURIComponent(u.incident) }, "#" + u.incident) : "–"),
    h("td", {}, !acts ? null : u.set ? button(t("duty.back"), () => act(() => post(`/units/${u.device}/state`, { state: "", reason: "" }), t("duty.done")))
      : outForm(u)))));
}

// said is who said so, where, how long ago, and when it came if that was late.
function said(u) {
  if (!u.set_at) return null;
  const at = Date.parse(u.set_at), came = Date.parse(u.set_told);
  return h("p", { class: "dim" }, t("duty.said", { what: tx("unit_state", u.set || "available"), by: u.set_by, screen: tx("screen", u.set_from || "desk"), at: clock(u.set_at), span: span(Date.now() - at) }),
    came - at > 60_000 ? t("list.comma") + t("duty.said_came", { at: clock(u.set_told) }) : "");
}

// outForm sets what a unit does, with a reason.
function outForm(u) {
  const why = h("input", { "aria-label": t("duty.out_why"), placeholder: t("duty.out_why"), maxlength: 200, required: true });
  const what = h("select", { "aria-label": t("duty.state") }, ...["out_of_service", "busy", "off_duty"].map((s) => h("option", { value: s }, tx("unit_state", s))));
  const form = h("form", { class: "row" }, what, why, h("button", { type: "submit", class: "quiet" }, t("duty.out")));
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    act(() => post(`/units/${u.device}/state`, { state: what.value, reason: why.value.trim() }), t("duty.done"));
  });
  return form;
}

function drawShifts(list) {
  $("shifts").replaceChildren(...list.map((d) => h("tr", {},
    h("th", { scope: "row" }, name(d.name || d.who), " ", h("code", {}, d.who)), h("td", {}, name(d.unit || areas.get(d.area)?.name || "–")),
    h("td", {}, h("time", {}, minute(d.from))), h("td", {}, h("time", {}, minute(d.to))), h("td", { class: d.signed_on ? "" : "doubt" }, d.signed_on || t("duty.not_signed_on")))));
}

function drawVisits(list) {
  $("visits").replaceChildren(...list.sort((a, b) => Date.parse(b.due) - Date.parse(a.due)).map((v) => h("tr", {},
    h("th", { scope: "row" }, name(v.name || v.round)), h("td", {}, h("code", {}, v.point)), h("td", {}, h("time", {}, minute(v.due)), "–", h("time", {}, minute(v.until))),
    h("td", { class: v.state === "missed" ? "bad" : v.state === "late" ? "doubt" : "" }, tx("visit", v.state), v.at ? " " + minute(v.at) : ""), h("td", {}, name(v.by || v.who.map(apart).join(t("list.comma")))))));
}

function drawDrills(list) {
  $("drills").replaceChildren(...list.map((d) => h("li", {}, h("code", {}, d.device),
    h("span", {}, d.on ? t("duty.drill_until", { at: clock(d.until), by: d.by }) : t("duty.drill_over")), h("span", { class: d.told ? "dim" : "doubt" }, d.told ? t("duty.told") : t("duty.not_told")),
    d.on && plans ? button(t("duty.drill_end"), () => act(() => post("/drills", { on: false, devices: [d.device] }), t("duty.done"))) : null)));
}

// The reports of exercises of groups; those that were opened stay open.
const opened = new Set();
function drawExercises(list) {
  $("reports").hidden = list.length === 0;
  $("exercises").replaceChildren(...list.map((e, n) => {
    const boxes = e.boxes.map((b) => h("li", {}, name(b.name || b.device), " ", h("code", {}, b.device), " ",
      h("span", { class: b.told ? "dim" : "doubt" }, b.told ? t("exercise.told", { at: clock(b.told) }) : t("duty.not_told"), b.ended ? t("list.comma") + t("exercise.let_go", { at: clock(b.ended), by: b.ended_by }) : "")));
    const report = h("details", { class: "report", open: opened.has(e.id) || (n === 0 && opened.size === 0) },
      h("summary", {}, h("b", {}, name(e.name || e.group)), " ", h("code", {}, e.group), " · ", clock(e.at), " · ", name(e.by)),
      h("p", {}, t("exercise.began", { by: e.by, at: clock(e.at), until: clock(e.ended || e.until) })),
      h("h3", {}, t("exercise.boxes")), h("ul", { class: "rows" }, ...boxes),
      ...(e.presses.length ? e.presses.flatMap(drawPress) : [h("p", { class: "doubt" }, t("exercise.nobody"))]),
      h("p", { class: "line" }, h("a", { class: "act", href: `/api/v1/exercises/${encodeURIComponent(e.id)}/csv`, download: "" }, t("stats.csv")),
        h("button", { type: "button", class: "act", onclick: () => printed(report) }, t("exercise.print"))));
    report.addEventListener("toggle", () => (report.open ? opened.add(e.id) : opened.delete(e.id)));
    return report;
  }));
}

function drawPress(p) {
  const sounded = p.others.filter((o) => o.state === "sounded").length;
  return [
    h("h3", {}, t("exercise.pressed", { at: clock(p.at) }), " ", name(p.name || p.device), " ", h("code", {}, p.device), " · ", tx("kind", p.kind), " · ",
      h("a", { href: "/#incident=" + encodeURIComponent(p.incident) }, "#" + p.incident)),
    p.drill ? null : h("p", { class: "bad" }, t("exercise.real")),
    h("p", { class: sounded === p.others.length ? "" : "doubt" }, t("exercise.sounded_of", { n: sounded, of: p.others.length })),
    h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, ...["box", "result", "after", "at"].map((k) => h("th", { scope: "col" }, t("exercise.column_" + k))))),
      h("tbody", {}, ...p.others.map((o) => h("tr", {}, h("th", { scope: "row" }, name(o.name || o.device), " ", h("code", {}, o.device)),
        h("td", { class: o.state === "sounded" ? "" : o.state === "silent" || o.state === "not_asked" ? "dim" : "bad" }, tx("heard_state", o.state), o.why ? t("list.colon") + tx("sound_why", o.why) : "",
          o.faults.length ? h("p", { class: "doubt" }, t("exercise.faults", { list: o.faults.map((code) => tx("fault", code)).join(t("list.comma")) })) : null),
        h("td", {}, o.after_s === null ? "–" : t("exercise.seconds", { n: o.after_s.toFixed(1) })), h("td", {}, o.at ? clock(o.at) : "–")))))),
  ].filter(Boolean);
}

// printed prints one report and nothing beside it.
function printed(report) {
  report.open = true;
  document.body.classList.add("one-report");
  report.classList.add("printed");
  window.print();
  document.body.classList.remove("one-report");
  report.classList.remove("printed");
}

function drawGroups(list) {
  $("groups").replaceChildren(...list.map((g) => h("li", {}, h("b", {}, name(g.name)), h("code", {}, g.id), h("span", {}, g.devices.join(t("list.comma"))),
    h("span", { class: "dim" }, g.automatic ? t("duty.automatic", { n: g.sounds_s }) : t("duty.by_hand", { n: g.sounds_s })),
    plans && button(t("duty.group_change"), () => {
      const f = $("group").elements;
      [f.id.value, f.name.value, f.devices.value, f.sounds.value, f.automatic.checked] = [g.id, g.name, g.devices.join(" "), g.sounds_s, g.automatic];
      f.name.focus();
    }),
    plans && button(t("duty.group_drop"), () => act(() => remove("/groups/" + encodeURIComponent(g.id)), t("duty.done"))))));
}

function drawPlaces(groups, features) {
  const select = $("drill").elements.where, was = select.value;
  select.replaceChildren(
    ...groups.map((g) => new Option(t("duty.in_group", { name: g.name }), "group:" + g.id)),
    ...features.map((f) => new Option(`${tx("tier", f.properties.level)} · ${apart(f.properties.name ?? f.properties.id)}`, "area:" + f.properties.id)));
  if (was) select.value = was;
}

$("drill").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = e.target.elements, [what, id] = f.where.value.split(/:(.*)/, 2);
  act(() => post("/drills", { on: true, minutes: Number(f.minutes.value), [what]: id }), t("duty.done"));
});
$("group").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = e.target.elements;
  act(() => put("/groups/" + encodeURIComponent(f.id.value), JSON.stringify({
    name: f.name.value, automatic: f.automatic.checked, sounds_s: Number(f.sounds.value), devices: f.devices.value.split(/[\s,，]+/).filter(Boolean),
  }), "application/json"), t("duty.done")).then((ok) => ok && e.target.reset());
});
$("plan").addEventListener("submit", (e) => {
  e.preventDefault();
  act(() => put("/roster", e.target.elements.text.value, "application/yaml"), t("duty.done"));
});

load().catch((e) => {
  if (!(e instanceof Refusal)) throw e;
  fault(e);
});
// What is on the page is brought up to date, but not under somebody's fingers.
setInterval(() => {
  if (!typing()) load().then(() => fault(null), fault);
}, 15_000);
