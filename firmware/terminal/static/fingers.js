// Fingers: who is enrolled, and enrolling somebody, by leave of a supervisor or technician.

import { $, h, post, say, span, t, tx } from "./base.js";

const dialog = $("fingers");
let view = null, replaced = false;
let pane = "ask"; // what stands while nothing is going on
let going = null; // an AbortController: something is going on
let sure = null; // what is done after a yes

// draw shows what the device says of its fingers.
export function draw(s) {
  view = s.fingers;
  replaced = s.faults.includes("fingerprint_replaced");
  $("fingers-open").hidden = !view || !!s.duty;
  if (dialog.open) drawPane();
}

function drawPane() {
  if (!view) return dialog.close();
  if (!view.list && pane === "list") pane = "ask";
  if (view.list && pane === "ask" && !going) pane = "list";
  const now = going ? "step" : pane;
  for (const e of dialog.querySelectorAll("[data-pane]")) e.hidden = e.dataset.pane !== now;
  $("fingers-step").textContent = view.step ? t("step." + view.step) : t("fingers.wait");
  $("fingers-left").textContent = !view.list ? "" : view.left_s ? t("fingers.left", { by: view.by, span: span(view.left_s) }) : t("fingers.key");
  $("fingers-adopt").hidden = !replaced;
  drawList();
}

function drawList() {
  const key = JSON.stringify(view.list);
  if ($("fingers-list").dataset.key === key) return;
  $("fingers-list").dataset.key = key;
  $("fingers-list").replaceChildren(...(view.list ?? []).map((f) => {
    const remove = f.config ? null : h("button", { type: "button" }, t("fingers.delete"));
    remove?.addEventListener("click", () => ask(t("fingers.delete_sure", { slot: f.slot, officer: f.officer || t("fingers.nobodys") }), t("fingers.delete"),
      () => run(`fingers/${f.slot}/delete`, {}, () => t("fingers.deleted", { slot: f.slot }))));
    return h("li", {}, h("span", {}, t("fingers.slot", { n: f.slot })), h("div", {}, h("bdi", {}, f.officer),
      h("div", { class: "marks" }, f.role && h("span", {}, tx("role", f.role)), f.duress && h("span", { class: "doubt" }, t("fingers.duress")),
        !f.officer && h("span", { class: "doubt" }, t("fingers.nobodys")), f.empty && h("span", { class: "doubt" }, t("fingers.empty")),
        f.config && h("span", { class: "dim" }, t("fingers.config")))), remove);
  }));
  if (view.list?.length === 0) $("fingers-list").append(h("li", {}, h("span"), t("fingers.none")));
}

const fault = (text) => { $("fingers-error").hidden = !text; $("fingers-error").textContent = text ?? ""; };

function show(next) {
  pane = next;
  drawPane();
}

// run has the device do something that people take part in; closing the screen ends it.
async function run(path, body, done) {
  fault(null);
  $("fingers-done").textContent = "";
  going = new AbortController();
  const mine = going;
  drawPane();
  try {
    const answer = await post(path, body, "application/json", mine.signal);
    if (done) say($("fingers-done").textContent = done(answer));
    pane = "list";
  } catch (e) {
    if (!mine.signal.aborted) fault(e.message);
    pane = "ask";
  }
  if (going === mine) going = null;
  if (dialog.open) drawPane();
}

function ask(text, yes, then) {
  sure = then;
  $("fingers-sure").textContent = text;
  $("fingers-yes").textContent = yes;
  fault(null);
  show("sure");
}
$("fingers-no").addEventListener("click", () => show("list"));
$("fingers-yes").addEventListener("click", () => sure());

const open = () => run("fingers/open");
$("fingers-open").addEventListener("click", () => {
  pane = "ask";
  dialog.showModal();
  open();
});
$("fingers-again").addEventListener("click", open);
$("fingers-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  going?.abort();
  going = null;
  fault(null);
  $("fingers-done").textContent = "";
  $("fingers-list").replaceChildren();
  delete $("fingers-list").dataset.key;
  post("fingers/close").catch(() => {}); // the device forgets it by itself, too
});
$("fingers-adopt").addEventListener("click", () => ask(t("fingers.adopt_sure"), t("fingers.adopt"), () => run("fingers/adopt", {}, () => t("fingers.adopted"))));

// Enrolling: who, as what, and then what the reader asks for.

const officer = $("fingers-officer");
$("fingers-new").addEventListener("click", () => {
  fault(null);
  officer.value = "";
  for (const r of dialog.querySelectorAll("input[type=radio]")) r.checked = r.value === "officer" || r.value === "";
  keys(digits);
  show("who");
});
function next() {
  if (!officer.value.trim()) return fault(t("error.officer"));
  fault(null);
  $("fingers-whose").textContent = officer.value.trim();
  show("as");
}
officer.addEventListener("keydown", (e) => { if (e.key === "Enter") next(); });
const chosen = (name) => dialog.querySelector(`input[name=${name}]:checked`)?.value;
$("fingers-enrol").addEventListener("click", () => {
  if (chosen("role") === undefined || chosen("duress") === undefined) return fault(t("error.role"));
  const whose = officer.value.trim();
  run("fingers/enrol", { officer: whose, role: chosen("role"), duress: chosen("duress") === "yes" }, (a) => t("fingers.enrolled", { officer: whose, slot: a.slot }));
});

const digits = [..."1234567890-P", "letters", "back", "next"], letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ", "digits", "back", "next"];
function keys(which) {
  const named = { letters: t("keys.letters"), digits: t("keys.digits"), back: "\u232b", next: t("fingers.next") };
  $("fingers-keys").replaceChildren(...which.map((key) => {
    const b = h("button", { type: "button", class: key === "next" ? "primary" : null, "aria-label": key === "back" ? t("keys.back") : null }, named[key] ?? key);
    b.addEventListener("click", () => {
      if (key === "letters") keys(letters);
      else if (key === "digits") keys(digits);
      else if (key === "back") officer.value = officer.value.slice(0, -1);
      else if (key === "next") next();
      else officer.value += key;
    });
    return b;
  }));
}
