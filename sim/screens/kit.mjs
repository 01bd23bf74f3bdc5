// What the checks of both screens are made of: a browser, the simulator's verbs, the
// centre's API, accounts, and waiting.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const web = createRequire(new URL("../../cloud-bridge/console/web/package.json", import.meta.url));
const { chromium } = web("playwright-core");
const axe = await readFile(web.resolve("axe-core/axe.min.js"), "utf8");

export const [desk, sim, name, password, shots] = process.argv.slice(2);
await mkdir(shots, { recursive: true });

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});

let opened = []; // by the check that runs

// open opens a page in a browser of its own. What goes wrong there fails the check, unless
// the page is told that it is offline, or expects a refusal.
export async function open(url, { lang = "en", width = 1366, height = 768 } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, screen: { width, height }, locale: lang, reducedMotion: "reduce", timezoneId: "America/New_York" });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const state = { page, context, wrong: [], offline: false };
  opened.push(state);
  page.on("console", (m) => { if (m.type() === "error" && !state.offline) state.wrong.push(m.text()); });
  page.on("pageerror", (e) => state.wrong.push(String(e)));
  await page.goto(url);
  return state;
}

export async function signIn({ name: who = name, password: secret = password, ...options } = {}) {
  const s = await open(desk, options);
  await s.page.fill('input[name="name"]', who);
  await s.page.fill('input[name="password"]', secret);
  await s.page.keyboard.press("Enter");
  await s.page.locator('#link[data-state="live"]').waitFor();
  return s;
}

// cab opens the terminal of a car, with nobody signed on.
export async function cab(car, lang = "en") {
  const s = await open(car.screen, { lang, width: 1024, height: 600 });
  await visible(s.page, "#off, #sign-off");
  if (await s.page.locator("#sign-off").isVisible()) await s.page.click("#sign-off");
  await visible(s.page, "#off");
  return s;
}

export const shot = (page, file) => page.screenshot({ path: `${shots}/${file}.png` });
export const text = (page, selector) => page.locator(selector).first().innerText();
export const visible = (page, selector) => page.locator(selector).filter({ visible: true }).first().waitFor();
export async function until(what, test, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    if (await test()) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  assert.fail("never: " + what);
}

export async function tell(path) {
  const answer = await fetch(sim + path, { method: "POST" });
  assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
}
export const device = async (id) => (await fetch(`${sim}/devices/${id}`)).json();

// call asks the centre, as the demonstration's admin or with another token.
export async function call(method, path, body, as = token) {
  const answer = await fetch(desk + "/api/v1" + path, { method, headers: { "Content-Type": "application/json", ...as }, body: body && JSON.stringify(body) });
  return { status: answer.status, body: await answer.json(), cookie: answer.headers.get("set-cookie")?.split(";")[0] };
}
async function must(...args) {
  const answer = await call(...args);
  assert.equal(answer.status, 200, `${args[0]} ${args[1]}: ${JSON.stringify(answer.body)}`);
  return answer;
}

let token = {};
const { cookie } = await must("POST", "/session", { name, password });
token = { Authorization: "Bearer " + (await must("POST", "/tokens", { label: "screens" }, { Cookie: cookie })).body.secret };

// account makes one and gives it a password of its own, as its owner does at first.
export async function account(who, role) {
  const own = { name: who, password: `${crypto.randomUUID()}-${role}` };
  const { one_time_password: first } = (await must("POST", "/accounts", { name: who, role, scope: "*" })).body;
  const { cookie } = await must("POST", "/session", { name: who, password: first });
  await must("POST", "/session/password", { old: first, password: own.password }, { Cookie: cookie });
  return own;
}

export const incidents = async (filter) => (await must("GET", "/incidents?limit=1000")).body.incidents.filter(filter);
const pending = () => incidents((i) => i.state !== "closed");
const boxes = (await (await fetch(sim + "/devices")).json()).devices.map((d) => d.id);

// settle leaves the district as a check wants to find it: links up, nothing open.
async function settle() {
  await tell("/centre/start");
  await until("the centre answers", async () => (await call("GET", "/session").catch(() => ({}))).status === 200);
  for (const id of boxes) await tell(`/devices/${id}/link/restore`);
  await until("nothing is open", async () => {
    for (const i of await pending()) await call("POST", `/incidents/${i.id}/close`, { code: i.drill ? "drill" : "test", note: "" });
    return (await pending()).length === 0;
  });
}

export async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  assert.deepEqual(violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`)), [], where);
}

// What is pressed at arm's length, with gloves, is 15 mm on a seven-inch screen.
export async function gloves(page) {
  const small = await page.evaluate(() => {
    const mm = Math.hypot(screen.width, screen.height) / (25.4 * 7);
    return [...document.querySelectorAll("button, .codes span, label.photo")].filter((e) => e.offsetParent)
      .map((e) => ({ what: e.textContent, box: e.getBoundingClientRect() })).filter(({ box }) => Math.min(box.width, box.height) < 15 * mm - 0.5)
      .map(({ what, box }) => `${what}: ${(box.width / mm).toFixed(1)} × ${(box.height / mm).toFixed(1)} mm`);
  });
  assert.deepEqual(small, [], "smaller than 15 mm");
}

// picture makes a JPEG file of some size in the browser itself.
export async function picture(page) {
  const bytes = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(640, 480), c = canvas.getContext("2d");
    const turn = Math.floor(Math.random() * 1e6); // no two are alike
    for (let n = 0; n < 400; n++) {
      c.fillStyle = `hsl(${n * 37 + turn} 70% ${30 + (n % 40)}%)`;
      c.fillRect((n * 73) % 640, (n * 131) % 480, 60, 40);
    }
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 })).arrayBuffer())];
  });
  return Buffer.from(bytes);
}

let failed = false;

// check runs one, closes what it opened, and leaves nothing open at the desk. What a page
// complained of fails it.
export async function check(what, run) {
  if (!what.includes(process.env.CHECK ?? "")) return;
  const began = Date.now();
  try {
    await run();
    assert.deepEqual(opened.flatMap((s) => s.wrong), [], "what the pages complained of");
    console.log(`ok    ${what} (${Date.now() - began} ms)`);
  } catch (e) {
    failed = true;
    for (const [n, s] of opened.entries()) await shot(s.page, `failed-${what.replace(/[^a-z0-9]+/gi, "-").slice(0, 40)}-${n}`).catch(() => {});
    console.log(`FAIL  ${what}: ${e.stack ?? e}`);
  }
  for (const s of opened) await s.context.close();
  opened = [];
  try {
    await settle();
  } catch (e) {
    failed = true;
    console.log(`FAIL  after ${what}: ${e.stack ?? e}`);
  }
}

export async function end() {
  await browser.close();
  process.exit(failed ? 1 : 0);
}
