// What the parts of the screen share: words, elements, requests.

export const $ = (id) => document.getElementById(id);
export const words = JSON.parse($("words").textContent);
export const lang = document.documentElement.lang;

// apart keeps text that runs from right to left to itself, within a sentence that does not
// (Unicode Standard Annex 9, section 2.4: first strong isolate).
const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
export const apart = (text) => (rightToLeft.test(text) ? "\u2068" + text + "\u2069" : String(text));

export function t(key, values = {}) {
  const text = words[key];
  if (text === undefined) {
    console.error("no words for " + key);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => apart(values[name] ?? ""));
}
export const tx = (prefix, value) => words[prefix + "." + value] ?? String(value);

// Names from elsewhere must not turn the line around them.
const hidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
export const parse = (text) => JSON.parse(text, (_, v) => (typeof v === "string" ? v.replace(hidden, "\ufffd") : v));

export function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) if (value !== null && value !== undefined && value !== false) e.setAttribute(name, value === true ? "" : value);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}
export const say = (text) => { $("say").textContent = text; };

export function span(s) {
  if (s < 120) return t("span.s", { n: Math.floor(s) });
  if (s < 7200) return t("span.m", { n: Math.floor(s / 60) });
  return t("span.h", { n: Math.floor(s / 3600) });
}

export async function post(path, body, type = "application/json", signal = AbortSignal.timeout(30_000)) {
  let answer;
  try {
    answer = await fetch("/api/" + path, { method: "POST", headers: { "Content-Type": type }, body: type === "application/json" ? JSON.stringify(body ?? {}) : body, signal });
  } catch (e) {
    throw new Error(t("error.device"), { cause: e });
  }
  const text = await answer.text();
  const value = text ? parse(text) : {};
  if (!answer.ok) {
    if (value.code === "locked") throw new Error(t("error.locked", { span: span(value.left_s) }));
    throw new Error(words["error." + value.code] ?? t("error.refused", { detail: value.detail ?? answer.status }));
  }
  return value;
}
