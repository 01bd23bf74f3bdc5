// The strings of firmware/wire/testdata/hostile.txt for the checks in browsers, and what
// they must not do to a page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const escapes = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", '"': '"', "'": "'" };

// strings are all that JSON can carry: those that are no UTF-8 never get as far as a page.
export async function strings() {
  const lines = (await readFile(new URL("../../../firmware/wire/testdata/hostile.txt", import.meta.url), "utf8")).split("\n");
  const all = [];
  for (const line of lines) {
    if (!line.trim() || line.startsWith("#")) continue;
    const [, literal, times] = /^"((?:[^"\\]|\\.)*)"(?: \* (\d+))?$/.exec(line.trim());
    if (/\\x[89a-f]/i.test(literal)) continue;
    const text = literal.replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gi, (_, x, u, U, c) => (c ? escapes[c] : String.fromCodePoint(parseInt(x ?? u ?? U, 16))));
    all.push(text.repeat(Number(times ?? 1)));
  }
  assert.ok(all.length >= 200, `${all.length} strings`);
  return all;
}

// trap tells when one of them runs; it is an init script.
export function trap() {
  Object.defineProperty(window, "__xss", { set() { console.error("a hostile string ran"); } });
}

// guarded sees to it that what happens on a page because of them fails its check.
export function guarded(s) {
  s.page.on("dialog", (d) => { s.wrong.push("dialog " + d.message()); d.dismiss().catch(() => {}); });
  s.page.on("popup", (p) => s.wrong.push("popup " + p.url()));
  s.page.on("framenavigated", (f) => { if (f !== s.page.mainFrame()) s.wrong.push("frame " + f.url()); });
}

// Elements that the pages are made of. In those that hold text no other one may stand.
const known = `html head meta title link script body header nav main article aside section div p span b i small em strong bdi code kbd pre time a
  button form input textarea select option optgroup label fieldset legend ol ul li dl dt dd table caption colgroup col thead tbody tr th td h1 h2 h3 h4
  details summary dialog canvas svg path g text rect line circle img noscript figure figcaption output br hr`.split(/\s+/);

const rtl = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

// judge fails on an element, an attribute or an address that a string has made, on text that
// turns the line, on right-to-left text that is not kept to itself, and on a page that is
// wider than its window.
export async function judge(page, where) {
  const found = await page.evaluate(({ known, whole }) => {
    const out = [];
    for (const e of document.querySelectorAll("*")) {
      const tag = e.localName;
      if (!known.includes(tag)) out.push("element " + tag);
      if (tag === "script" && !(e.type === "application/json" || new URL(e.src, location).origin === location.origin)) out.push("script " + e.src);
      if (tag === "script" && e.closest("main")) out.push("script in main");
      for (const a of e.attributes) {
        if (/^on/i.test(a.name) || ["srcdoc", "formaction"].includes(a.name)) out.push(`${tag} ${a.name}=${a.value}`);
        if (["href", "src", "action", "xlink:href"].includes(a.name) && !["http:", "https:", "blob:"].includes(new URL(a.value, location).protocol)) out.push(`${tag} ${a.name}=${a.value}`);
        if (["href", "src", "action"].includes(a.name) && /evil/.test(new URL(a.value, location).host)) out.push(`${tag} ${a.name}=${a.value}`);
      }
    }
    // What turns the line stands nowhere but in pairs around what the page itself keeps apart.
    const turned = (text) => /[\u202a-\u202e\u2066\u2067]/.test(text) || [...text].reduce((n, c) => (c === "\u2068" ? n + 1 : c === "\u2069" ? n - 1 : n), 0) !== 0;
    const rtl = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
    // a string, or its beginning, as the page shows it
    const alone = (text) => whole.some((x) => [...text].every((c, n) => c === "\ufffd" || c === "…" || c === x[n]));
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let n; (n = walk.nextNode());) {
      const text = n.nodeValue, parent = n.parentElement;
      if (parent.closest("script, noscript, textarea, option, title, svg")) continue;
      if (turned(text)) out.push("turned: " + text.slice(0, 80));
      if (!rtl.test(text.replace(/\u2068[^\u2069]*\u2069/g, ""))) continue;
      // Up to where its line begins: one of them keeps it to itself, or it is all there is.
      let e = parent, apart = false;
      for (; e; e = e.parentElement) {
        const style = getComputedStyle(e);
        if (/isolate|plaintext/.test(style.unicodeBidi)) { apart = true; break; }
        if (!/^inline$|contents/.test(style.display)) break;
      }
      if (!(apart || (e ?? parent).textContent.trim() === text.trim()) || !alone(text.trim())) out.push("not apart: " + (e ?? parent).outerHTML.slice(0, 300));
    }
    const over = document.documentElement.scrollWidth - innerWidth;
    if (over > 0) out.push(`wider than the window by ${over} px`);
    return [...new Set(out)].slice(0, 20);
  }, { known, whole: (await strings()).filter((x) => rtl.test(x)).map((x) => x.trim()) });
  assert.deepEqual(found, [], where);
}
