// The page of accounts: one's own sessions and tokens, and for an admin all accounts.

import { Refusal, get, post } from "./api.js";
import { $, h } from "./dom.js";
import { refusal } from "./refusal.js";
import { boot, clock, setCentreClock, t, tx } from "./text.js";
import { browser } from "./timeline.js";

const me = boot.me;

function fault(error) {
  const line = $("fault");
  line.hidden = !error;
  line.textContent = !error ? "" : refusal(error);
  if (error) line.scrollIntoView({ block: "nearest" });
}

// tell shows a secret that is told once.
function tell(key, secret, name) {
  $("told").hidden = false;
  $("told").replaceChildren(h("p", {}, t(key, { name })), h("code", {}, secret));
  $("told").scrollIntoView({ block: "nearest" });
}

// act does something and draws all anew; what goes wrong is shown.
async function act(path, body, then) {
  fault(null);
  try {
    const answer = await post(path, body);
    if (then) then(answer);
    await draw();
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    fault(e);
  }
}

const button = (text, onclick, attributes = {}) => h("button", { type: "button", class: "quiet", onclick, ...attributes }, text);
const time = (iso) => (iso ? h("time", {}, clock(Date.parse(iso))) : t("tokens.never"));

function drawMe() {
  $("me").replaceChildren(h("b", {}, h("bdi", {}, me.name)), " · ", tx("role", me.role), " · ", scope(me.scope));
}

const scope = (text) => (text === "*" ? t("accounts.everywhere") : text.split(",").join(t("list.comma")));

function drawSessions(list) {
  $("sessions").replaceChildren(...list.map((s) => h("tr", {},
    h("td", {}, h("div", {}, s.address, s.this ? h("b", {}, " · " + t("sessions.this")) : null), h("div", { class: "agent", title: s.agent }, browser(s.agent))),
    h("td", {}, time(s.made_at)), h("td", {}, time(s.seen_at)), h("td", {}, time(s.ends_at)),
    h("td", { class: "do" }, s.this ? null : button(t("sessions.end"), () => act(`/sessions/${s.id}/end`, {}))))));
}

function drawTokens(list) {
  $("tokens").replaceChildren(...list.map((k) => h("tr", {},
    h("td", {}, h("bdi", {}, k.label)), h("td", {}, tx("role", k.role)), h("td", {}, time(k.made_at)), h("td", {}, time(k.ends_at)),
    h("td", { class: "do" }, button(t("tokens.revoke"), () => act(`/tokens/${k.id}/revoke`, {}))))));
}

const roles = ["viewer", "dispatcher", "supervisor", "technician", "admin"];

function drawAccounts(list) {
  $("accounts").replaceChildren(...list.map((a) => {
    const role = h("select", { "aria-label": t("accounts.role_of", { name: a.name }) }, ...roles.map((r) => h("option", { value: r, selected: r === a.role }, tx("role", r))));
    const nodes = h("input", { value: a.scope, "aria-label": t("accounts.scope_of", { name: a.name }) });
    return h("tr", {},
      h("td", {}, h("b", {}, h("bdi", {}, a.name)), a.disabled ? h("span", { class: "doubt" }, " · " + t("accounts.disabled")) : null),
      h("td", {}, role), h("td", {}, nodes), h("td", {}, tx("opens", a.opens)), h("td", { class: "num" }, String(a.sessions)),
      h("td", { class: "do" },
        button(t("accounts.assign"), () => act(`/accounts/${a.id}/assign`, { role: role.value, scope: nodes.value })),
        button(t("accounts.reset"), () => act(`/accounts/${a.id}/reset`, {}, (answer) => tell("accounts.told", answer.one_time_password, answer.name))),
        a.disabled ? button(t("accounts.enable"), () => act(`/accounts/${a.id}/enable`, {})) : button(t("accounts.disable"), () => act(`/accounts/${a.id}/disable`, {}))));
  }));
}

async function draw() {
  const [sessions, tokens, accounts] = await Promise.all([get("/sessions"), get("/tokens"), $("accounts") ? get("/accounts") : null]);
  drawSessions(sessions.sessions);
  drawTokens(tokens.tokens);
  if (accounts) drawAccounts(accounts.accounts);
}

$("new-token").addEventListener("submit", (e) => {
  e.preventDefault();
  const data = Object.fromEntries(new FormData(e.target));
  act("/tokens", data, (answer) => { e.target.reset(); tell("tokens.told", answer.secret, answer.label); });
});
$("new-account")?.addEventListener("submit", (e) => {
  e.preventDefault();
  const data = Object.fromEntries(new FormData(e.target));
  act("/accounts", data, (answer) => { e.target.reset(); tell("accounts.told", answer.one_time_password, answer.name); });
});

setCentreClock(boot.time);
drawMe();
draw().catch((e) => { if (!(e instanceof Refusal)) throw e; fault(e); });
