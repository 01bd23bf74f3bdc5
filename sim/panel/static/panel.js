// The simulator's page. It draws what the stream tells and posts what a hand
// does; it keeps no state of its own.

const words = JSON.parse(document.getElementById("words").textContent);
const t = (key) => words[key] ?? key;

function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== false && v != null) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

function svg(path) {
  const ns = "http://www.w3.org/2000/svg";
  const s = document.createElementNS(ns, "svg");
  s.setAttribute("viewBox", "0 0 24 24");
  s.setAttribute("aria-hidden", "true");
  const p = document.createElementNS(ns, "path");
  p.setAttribute("d", path);
  s.append(p);
  return s;
}
const horn = "M4 10v4h3l6 4V6L7 10zM16.500 9a4.500 4.500 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11";
const print = "M7 18c1-2 1-4 1-6a4 4 0 0 1 8 0c0 2 0 4-.500 6M10.500 20c1-2.500 1.500-5 1.500-8M4.500 15c.500-1 .500-2 .500-3a7 7 0 0 1 14 0v2";

// post does something to a device and shows its answer, or why not.
const failed = document.getElementById("failed");
async function post(id, path) {
  try {
    const r = await fetch(`/devices/${encodeURIComponent(id)}/${path}`, { method: "POST" });
    const answer = await r.json();
    if (!r.ok) throw new Error(answer.detail ?? r.statusText);
    failed.hidden = true;
    draw(answer);
  } catch (e) {
    failed.textContent = t("failed") + e.message;
    failed.hidden = false;
  }
}

const cards = new Map(); // id → {draw}

function lampView(name) {
  const e = el("div", { class: `lamp ${name}` }, el("b"), t(`lamp.${name}`));
  return { e, draw: (lamp) => { e.dataset.lit = lamp.lit; e.title = lamp.pattern; } };
}

function buttonView(id, name, b) {
  const path = `button/${encodeURIComponent(name)}/`;
  const what = t(`kind.${b.kind}`);
  const label = `${name}: ${what}${b.silent ? ", " + t("silent") : ""}`;
  let held = false;
  const big = el("button", { class: "push-button", type: "button", title: t("press.why"), "aria-label": `${t("press")} ${label}`, onclick: () => post(id, path + (held ? "release" : "press")) },
    what, b.silent ? el("small", {}, t("silent")) : null);
  const hold = el("button", { class: "small", type: "button", title: t("hold.why"), "aria-pressed": "false", "aria-label": `${t("hold")} ${label}`, onclick: () => post(id, path + (held ? "release" : "press?hold=true")) }, t("hold"));
  const bounce = el("button", { class: "small", type: "button", title: t("bounce.why"), "aria-label": `${t("bounce")} ${label}`, onclick: () => post(id, path + "press?bounce=true") }, t("bounce"));
  const e = el("div", { class: "button", "data-kind": b.kind, "data-silent": String(b.silent) }, big, hold, bounce);
  return {
    e,
    draw(now) {
      held = now.pressed;
      e.dataset.pressed = held;
      hold.setAttribute("aria-pressed", String(held));
      hold.textContent = held ? t("release") : t("hold");
    },
  };
}

function switchView(label, words, on, off) {
  const text = el("span");
  let is = false;
  const e = el("button", { class: "switch", type: "button", role: "switch", "aria-label": label, onclick: () => (is ? off() : on()) }, el("i", { "aria-hidden": "true" }), el("b", {}, label), text);
  return {
    e,
    draw(state, good) {
      is = good;
      e.setAttribute("aria-checked", String(good));
      text.textContent = words(state);
    },
  };
}

function fact(list, name) {
  const dd = el("dd");
  const dt = el("dt", {}, name);
  list.append(dt, dd);
  return (text, bad = false, show = true) => {
    dd.textContent = text;
    dd.className = bad ? "bad" : "";
    dt.hidden = dd.hidden = !show;
  };
}

// faultName names a fault's code, such as button_stuck:panic.
function faultName(code) {
  const [what, where] = code.split(":");
  return (words[`fault.${what}`] ?? what) + (where ? ` (${where})` : "");
}

function card(v) {
  const id = v.id;
  const draws = [];
  const touch = el("span", { class: "touch" }, el("i", { "aria-hidden": "true" }), el("span"));
  const root = el("article", { class: "card", id: `card-${id}`, "aria-label": `${v.name} ${id}` },
    el("div", { class: "head" }, el("h3", {}, v.name), el("code", {}, id), v.drill ? el("span", { class: "tag" }, t("drill")) : null, touch));
  draws.push((v) => {
    root.dataset.power = v.power;
    root.dataset.alarm = Boolean(v.lamps && !["idle", "fault", "drill_mode", "unknown"].includes(v.lamps.shows));
    touch.dataset.on = v.desk;
    touch.lastChild.textContent = t(v.desk ? "touch" : "notouch");
  });

  if (v.lamps) {
    const lamps = Object.fromEntries(["red", "amber", "green"].map((n) => [n, lampView(n)]));
    const tells = el("strong"), style = el("span");
    const bench = el("div", { class: "bench dark" }, el("div", { class: "lamps" }, ...Object.values(lamps).map((l) => l.e)), el("div", { class: "tells" }, tells, style));
    draws.push((v) => {
      for (const [n, l] of Object.entries(lamps)) l.draw(v.lamps[n]);
      tells.textContent = v.power === "off" ? t("nopower") : t(`shows.${v.lamps.shows}`);
      style.textContent = v.lamps.style && v.lamps.shows !== "idle" ? t(`style.${v.lamps.style}`) : "";
    });
    if (v.siren != null) {
      const text = el("span"), siren = el("div", { class: "siren", role: "img" }, svg(horn), text);
      bench.append(siren);
      draws.push((v) => {
        siren.dataset.on = v.siren;
        text.textContent = t(v.siren ? "siren.on" : "siren.off");
        siren.setAttribute("aria-label", `${t("siren")}: ${text.textContent}`);
      });
    }
    root.append(bench);
  }

  const buttons = Object.entries(v.buttons).sort();
  if (buttons.length) {
    const views = buttons.map(([name, b]) => [name, buttonView(id, name, b)]);
    root.append(el("div", { class: "buttons" }, ...views.map(([, b]) => b.e)));
    draws.push((v) => views.forEach(([name, b]) => b.draw(v.buttons[name])));
  }

  const inputs = Object.keys(v.inputs).sort(), wired = buttons.filter(([, b]) => b.wire != null).map(([name]) => name);
  if (inputs.length || wired.length) {
    const row = el("div", { class: "switches" });
    for (const name of wired) {
      const path = `button/${encodeURIComponent(name)}/`;
      const s = switchView(`${t("wire")} ${name}`, (state) => t(`wire.${state}`), () => post(id, path + "mend"), () => post(id, path + "cut"));
      row.append(s.e);
      draws.push((v) => s.draw(v.buttons[name].wire || "sound", !v.buttons[name].wire));
    }
    for (const role of inputs) {
      const s = switchView(t(`input.${role}`), (state) => t(`input.${state}`), () => post(id, `input/${role}/restore`), () => post(id, `input/${role}/trip`));
      row.append(s.e);
      draws.push((v) => s.draw(v.inputs[role] ? `${role}.tripped` : `${role}.rests`, !v.inputs[role]));
    }
    root.append(row);
  }

  if (v.fingers) {
    const pads = Object.entries(v.fingers).map(([slot, officer]) => el("button", { class: "finger", type: "button", title: t("finger.why"), onclick: () => post(id, `finger/${slot}`) }, svg(print), officer));
    pads.push(el("button", { class: "finger unknown", type: "button", title: t("finger.why"), onclick: () => post(id, "finger/unknown") }, svg(print), t("finger.unknown")));
    root.append(el("div", { class: "fingers" }, el("h4", {}, t("fingers")), ...pads));
  }

  if (v.screen) {
    const pins = Object.entries(v.pins).map(([officer, pin]) => el("span", {}, `${officer}: ${pin}`));
    root.append(el("div", { class: "feed" }, el("a", { class: "screen", href: v.screen, target: "_blank", rel: "noopener" }, t("screen")), ...pins));
  }

  if (v.gps) {
    const verbs = v.route ? ["drive", "park", "lose"] : ["park", "lose"];
    root.append(el("div", { class: "feed" }, el("h4", {}, t("gps")), ...verbs.map((verb) => el("button", { class: "small", type: "button", onclick: () => post(id, `gps/${verb}`) }, t(`gps.${verb}`)))));
  }

  const power = switchView(t("power"), (s) => t(`power.${s}`), () => post(id, "power/restore"), () => post(id, "power/cut"));
  const link = switchView(t("link"), (s) => t(`link.${s}`), () => post(id, "link/restore"), () => post(id, "link/cut"));
  root.append(el("div", { class: "switches" }, power.e, link.e));
  if (v.sms !== null) {
    const sms = switchView(t("sms"), (s) => t(`sms.${s}`), () => post(id, "sms/restore"), () => post(id, "sms/cut"));
    root.lastElementChild.append(sms.e);
    draws.push((v) => sms.draw(v.sms ? "up" : "cut", v.sms));
  }
  draws.push((v) => { power.draw(v.power, v.power !== "off"); link.draw(v.link, v.link === "up"); });

  const facts = el("dl", { class: "facts dark" });
  const queue = fact(facts, t("queue")), officer = fact(facts, t("officer")), fix = fact(facts, t("fix")), faults = fact(facts, t("faults")), crashes = fact(facts, t("crashes"));
  root.append(facts);
  draws.push((v) => {
    const lanes = ["alarm", "duty", "track"];
    const waits = lanes.reduce((n, l) => n + (v.queue?.[l] ?? 0), 0);
    queue(v.queue ? lanes.map((l) => `${t("queue." + l)} ${v.queue[l] ?? 0}`).join(" · ") : "–", waits > 20);
    officer(v.officer || t("nobody"), false, v.fingers != null);
    const f = v.fix;
    fix(f ? `${f.lat.toFixed(5)}, ${f.lon.toFixed(5)}${f.speed != null ? ` · ${(f.speed * 3.6).toFixed(0)} km/h` : ""} · ${t("gps." + v.gps)}` : t("fix.none"), f && f.age_ms > 10000, Boolean(v.gps));
    faults(v.faults.map(faultName).join(", "), true, v.faults.length > 0);
    crashes(String(v.crashes), true, v.crashes > 0);
  });
  return { root, draw: (v) => draws.forEach((d) => d(v)) };
}

function draw(v) {
  let c = cards.get(v.id);
  if (!c) {
    c = card(v);
    cards.set(v.id, c);
    const section = v.kind !== "alarm-box" ? "cars" : "boxes";
    document.getElementById(section).hidden = false;
    document.getElementById(`${section}-cards`).append(c.root);
  }
  c.draw(v);
}

const live = document.getElementById("live");
function state(s) {
  live.dataset.state = s;
  document.getElementById("live-text").textContent = t(s);
}

const source = new EventSource("/stream");
source.addEventListener("hello", (e) => {
  const desk = document.getElementById("desk");
  const url = new URL(JSON.parse(e.data).desk);
  url.searchParams.set("lang", document.documentElement.lang);
  if (url.protocol === "http:" || url.protocol === "https:") {
    desk.href = url.href;
    desk.hidden = false;
  }
  state("live");
});
source.addEventListener("device", (e) => draw(JSON.parse(e.data)));
source.addEventListener("error", () => state("lost"));
