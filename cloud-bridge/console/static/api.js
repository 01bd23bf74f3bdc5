// Requests to the centre, and the live stream.

import { setCentreClock } from "./text.js";

const base = "/api/v1";

// Refusal is an answer that is a problem document (RFC 9457), or no answer at all
// (status 0).
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || "");
    this.status = status;
    this.problem = problem;
  }
}

// parse reads JSON and makes visible what cannot be seen, control characters and those that
// turn the direction of text: a name must not be able to rearrange the sentence around it, or
// to look like another.
const hidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const parse = (text) => JSON.parse(text, (_, value) => (typeof value === "string" ? value.replace(hidden, "\ufffd") : value));

async function request(path, options) {
  let response;
  try {
    response = await fetch(base + path, { ...options, signal: AbortSignal.timeout(10_000), cache: "no-store" });
  } catch (e) {
    throw new Refusal(0, { detail: String(e.message || e) });
  }
  let body = {};
  try {
    body = parse(await response.text());
  } catch {
    // No JSON: the status must do.
  }
  if (response.status === 401 && path !== "/session/password") signedOut();
  if (!response.ok) throw new Refusal(response.status, body);
  return body;
}

// Who signs out is on the way to the log-in page already.
let leaving = false;
document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => { leaving = true; });

// signedOut goes to where one signs in, and comes back from there. What is shown here would
// only grow old.
function signedOut() {
  if (leaving) return;
  location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search + location.hash));
}

export const get = (path) => request(path, {});

export const post = (path, body) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const put = (path, body, type) => request(path, { method: "PUT", headers: { "Content-Type": type }, body });

export const remove = (path) => request(path, { method: "DELETE" });

// The centre beats every 5 s; a link that says nothing for longer than this is dead,
// whatever the socket believes.
const silence = 12_000;

// follow keeps the stream open for ever. It calls on.hello at each (re)connect,
// on.storage(state) after it and when that changes, on.change(kind, object) for each change,
// on.moves(moves) for what devices have said, once a second, and on.lost(since) once when the link is
// lost, with the last moment (by this machine's clock) at which all was known.
export function follow(on) {
  let source, heard, watch, lost = false, attempt = 0;

  const alive = () => { heard = Date.now(); };

  function drop() {
    source.close();
    clearInterval(watch);
    if (!lost) {
      lost = true;
      on.lost(heard ?? null);
    }
    // A stream does not say why it ended: perhaps nobody is signed in any more.
    get("/session").catch((e) => { if (!(e instanceof Refusal)) throw e; });
    // Full jitter, so that a district's desks do not come back in step.
    const wait = 500 + Math.random() * Math.min(10_000, 1000 * 2 ** attempt++);
    on.retry(wait);
    setTimeout(open, wait);
  }

  function open() {
    const opened = Date.now();
    source = new EventSource(base + "/stream?devices=compact");
    source.addEventListener("hello", (e) => {
      alive();
      attempt = 0;
      lost = false;
      const hello = parse(e.data);
      setCentreClock(hello.time);
      on.hello(hello);
    });
    source.addEventListener("beat", (e) => {
      alive();
      setCentreClock(parse(e.data).time);
    });
    source.addEventListener("storage", (e) => {
      alive();
      on.storage(parse(e.data));
    });
    source.addEventListener("moves", (e) => {
      alive();
      on.moves(parse(e.data));
    });
    for (const kind of ["incident", "device", "refused", "unit", "grid", "group", "drill", "roster", "round"]) {
      source.addEventListener(kind, (e) => {
        alive();
        on.change(kind, parse(e.data));
      });
    }
    source.onerror = drop;
    watch = setInterval(() => {
      if (Date.now() - Math.max(heard ?? 0, opened) > silence) drop();
    }, 1000);
  }

  open();
}
