// Drives the dispatcher's desk and the officer's terminal against a running simulator:
// node screens.mjs DESK SIM NAME PASSWORD SHOTS
// It prints what it checks and exits 1 when one of them failed. Screenshots of each screen
// are kept in SHOTS; CHECK=words runs the checks with these words in their names.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const web = createRequire(new URL("../../cloud-bridge/console/web/package.json", import.meta.url));
const { chromium } = web("playwright-core");
const axe = await readFile(web.resolve("axe-core/axe.min.js"), "utf8");

const [desk, sim, name, password, shots] = process.argv.slice(2);
await mkdir(shots, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});

async function open(url, { lang, width = 1366, height = 768 }) {
  const context = await browser.newContext({ viewport: { width, height }, screen: { width, height }, locale: lang, reducedMotion: "reduce", timezoneId: "America/New_York" });
  const page = await context.newPage();
  const state = { page, context, wrong: [], offline: false };
  page.on("console", (m) => { if (m.type() === "error" && !state.offline) state.wrong.push(m.text()); });
  page.on("pageerror", (e) => state.wrong.push(String(e)));
  await page.goto(url);
  return state;
}

async function signIn(lang, who = name, secret = password, options = {}) {
  const s = await open(desk, { lang, ...options });
  await s.page.fill('input[name="name"]', who);
  await s.page.fill('input[name="password"]', secret);
  await s.page.keyboard.press("Enter");
  await s.page.locator('#link[data-state="live"]').waitFor({ timeout: 60_000 });
  return s;
}

const shot = (page, file) => page.screenshot({ path: `${shots}/${file}.png` });
const text = (page, selector) => page.locator(selector).first().innerText();
const visible = (page, selector, timeout = 30_000) => page.locator(selector).first().waitFor({ state: "visible", timeout });
async function until(what, test, seconds = 45) {
  for (let i = 0; i < seconds * 5; i++) {
    if (await test()) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  assert.fail("never: " + what);
}
async function tell(path) {
  const answer = await fetch(sim + path, { method: "POST" });
  assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
}
const device = async (id) => (await fetch(`${sim}/devices/${id}`)).json();

async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  assert.deepEqual(violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`)), [], where);
}

let failed = false;
async function check(what, run) {
  if (!what.includes(process.env.CHECK ?? "")) return;
  const began = Date.now();
  try {
    await run();
    console.log(`ok    ${what} (${Date.now() - began} ms)`);
  } catch (e) {
    failed = true;
    console.log(`FAIL  ${what}: ${e.stack ?? e}`);
  }
}

// What is pressed at arm's length, with gloves, is 15 mm on a seven-inch screen.
async function gloves(page) {
  const small = await page.evaluate(() => {
    const mm = Math.hypot(screen.width, screen.height) / (25.4 * 7);
    return [...document.querySelectorAll("button, .codes span, label.photo")].filter((e) => e.offsetParent)
      .map((e) => ({ what: e.textContent, box: e.getBoundingClientRect() })).filter(({ box }) => Math.min(box.width, box.height) < 15 * mm - 0.5)
      .map(({ what, box }) => `${what}: ${(box.width / mm).toFixed(1)} × ${(box.height / mm).toFixed(1)} mm`);
  });
  assert.deepEqual(small, [], "smaller than 15 mm");
}

const words = {
  "zh-CN": { title: /新警情/, kind: "紧急求助", sent: "中心已收", coming: /途中|已到达/, state: { accepted: "已接受", closed: "已结案" } },
  en: { title: /ALARM/, kind: "Panic", sent: "the centre has it", coming: /en route|on scene/i, state: { accepted: "accepted", closed: "Closed" } },
};
const boxNames = Object.fromEntries(await Promise.all(["box-04", "box-06"].map(async (id) => [id, (await (await fetch(`${sim}/devices/${id}`)).json()).name])));
const boxes = { "zh-CN": "box-04", en: "box-06" };

for (const [lang, w] of Object.entries(words)) {
  await check(`${lang}: from the press to the close, on both screens, by keyboard at the desk`, async () => {
    const car = await device("car-01");
    const s = await signIn(lang), terminal = await open(car.screen, { lang, width: 1024, height: 600 });
    const desk = s.page, cab = terminal.page;

    if (await cab.locator("#sign-off").isVisible()) await cab.click("#sign-off");
    await visible(cab, "#off");
    assert.equal(await cab.locator("#officer").innerText(), "", "nothing personal before the sign-on");
    await gloves(cab);
    await accessible(cab, "terminal, signed off");
    await shot(cab, `terminal-${lang}-off`);
    const [[officer, pin]] = Object.entries(car.pins);
    await cab.fill("#pin-number", officer.replace(/\D/g, ""));
    await cab.fill("#pin-pin", pin);
    await cab.keyboard.press("Enter");
    await visible(cab, "#idle, #task"); // a task that is over stays for a while
    await shot(cab, `terminal-${lang}-idle`);

    await tell(`/devices/${boxes[lang]}/button/panic/press`);
    await until("the title tells", async () => w.title.test(await desk.title()));
    await visible(desk, ".card.open");
    await desk.locator(".card.open", { hasText: w.kind }).first().click();
    await desk.locator("#detail").focus();
    await shot(desk, `desk-${lang}-open`);
    await desk.keyboard.press("a");
    await visible(desk, ".badge.state.acknowledged");
    await desk.keyboard.press("d");
    await visible(desk, '#units input[value="car-01"]');
    await shot(desk, `desk-${lang}-units`);
    await desk.focus('#units input[value="car-01"]');
    await desk.keyboard.press("Space");
    await desk.keyboard.press("Enter");
    await visible(desk, ".badge.state.dispatched");
    await until("the box says that a unit is coming", async () => (await device(boxes[lang])).lamps.shows === "unit_coming");

    await until("the terminal shows the new task", async () => (await text(cab, "#task-title")).includes(boxNames[boxes[lang]]));
    assert.match(await text(cab, "#task-title"), new RegExp(w.kind));
    await gloves(cab);
    await accessible(cab, "terminal, with a task");
    await shot(cab, `terminal-${lang}-task`);
    await cab.click('[data-answer="accepted"]');
    await until("the desk sees that it was accepted", async () => (await text(desk, "#detail-facts")).includes(w.state.accepted));
    await until("the terminal knows that the centre has it", async () => (await text(cab, "#task-said")).includes(w.sent));

    // On the scene without a link: what is said there is kept, and comes in order.
    await tell("/devices/car-01/link/cut");
    await cab.click('[data-answer="on_scene"]');
    await cab.click('[data-open="checked"]');
    await visible(cab, "#sheet");
    await gloves(cab);
    await cab.setInputFiles("#photo", { name: "scene.jpg", mimeType: "image/jpeg", buffer: await picture(cab) });
    await until("the photo is kept", async () => /1/.test(await text(cab, "#sheet-photos")));
    await cab.locator("#phrases button").first().click();
    await shot(cab, `terminal-${lang}-checked`);
    await cab.click("#sheet-send");
    await cab.locator("#sheet").waitFor({ state: "hidden" });
    assert.ok(!(await text(desk, "#detail-steps")).includes("P-1001"), "the desk cannot know it yet");
    await tell("/devices/car-01/link/restore");
    await until("the desk sees what was said", async () => (await desk.locator("#detail .badge.state.checked").count()) === 1, 90);
    await until("the photo has come", async () => (await desk.locator("#files-rows img").count()) === 1, 90);
    await until("the photo is shown", async () => desk.evaluate(() => document.querySelector("#files-rows img")?.naturalWidth > 0));
    await shot(desk, `desk-${lang}-checked`);
    await accessible(desk, "desk, with an incident that was checked");

    await desk.keyboard.press("c");
    await desk.keyboard.press("Space");
    await desk.keyboard.press("Enter");
    await visible(desk, ".badge.state.closed");
    await until("the terminal sees that it is over", async () => (await text(cab, "#task-badges")).includes(w.state.closed));
    await until("the lamps are dark", async () => (await device(boxes[lang])).lamps.shows === "idle");
    const [evidence] = await Promise.all([desk.waitForEvent("download"), desk.click("#do-evidence")]);
    await evidence.saveAs(`${shots}/evidence-${lang}.zip`);
    await shot(desk, `desk-${lang}-closed`);
    await cab.click("#sign-off");
    await visible(cab, "#off");
    assert.deepEqual([...s.wrong, ...terminal.wrong], []);
    await s.context.close();
    await terminal.context.close();
  });

  await check(`${lang}: duty and statistics`, async () => {
    const s = await signIn(lang);
    for (const page of ["duty", "stats"]) {
      await s.page.goto(`${desk}/${page}`);
      await s.page.waitForLoadState("networkidle");
      assert.equal(await s.page.locator("#fault").isVisible(), false, await s.page.locator("#fault").innerText());
      await accessible(s.page, page);
      await s.page.screenshot({ path: `${shots}/${page}-${lang}.png`, fullPage: true });
    }
    await until("a row of the real incidents", async () => (await s.page.locator("#real tbody tr").count()) > 0);
    assert.deepEqual(s.wrong, []);
    await s.context.close();
  });
}

await check("a call for help from the car is an alarm at the desk", async () => {
  const car = await device("car-01");
  const s = await signIn("en"), terminal = await open(car.screen, { lang: "en", width: 1024, height: 600 });
  await visible(terminal.page, "#off");
  const button = terminal.page.locator("#help");
  await button.click(); // a touch is not enough
  await terminal.page.waitForTimeout(1500);
  assert.equal(await s.page.locator(".card.open", { hasText: car.name }).count(), 0);
  const box = await button.boundingBox();
  await terminal.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await terminal.page.mouse.down();
  await terminal.page.waitForTimeout(1300);
  await terminal.page.mouse.up();
  await visible(s.page, `.card.open:has-text("${car.name}")`);
  await until("the terminal says that the centre has it", async () => /centre has/.test(await text(terminal.page, "#help-state")));
  await s.page.locator(".card.open", { hasText: car.name }).click();
  await s.page.click("#do-close");
  await s.page.check('#form-close input[value="test"]');
  await s.page.click("#form-close button[type=submit]");
  await until("it is over", async () => (await text(terminal.page, "#help-state")) === "");
  assert.deepEqual([...s.wrong, ...terminal.wrong], []);
  await s.context.close();
  await terminal.context.close();
});

await check("a supervisor approves what another asked", async () => {
  await tell("/devices/box-05/button/medical/press");
  const s = await signIn("en");
  await visible(s.page, ".card.open");
  await s.page.locator(".card.open").first().click();
  await s.page.click('#more-steps [data-step="cancel"]');
  await s.page.click("#step-send");
  await visible(s.page, "#step-error");
  await s.page.fill('#form-step textarea[name="words"]', "pressed by mistake, called back");
  await s.page.click("#step-send");
  await visible(s.page, "#request");
  await s.page.click("#do-approve");
  await visible(s.page, "#act-error"); // not by the one who asked
  s.wrong = [];
  await shot(s.page, "desk-en-request");
  await s.page.click("#do-deny");
  await s.page.fill("#deny-reason", "I take it back");
  await s.page.keyboard.press("Enter");
  await s.page.locator("#request").waitFor({ state: "hidden" });
  await s.page.click("#do-close");
  await s.page.check('#form-close input[value="test"]');
  await s.page.click("#form-close button[type=submit]");
  await visible(s.page, ".badge.state.closed");
  await s.context.close();
});

await browser.close();
process.exit(failed ? 1 : 0);

// picture makes a JPEG file of some size in the browser itself.
async function picture(page) {
  const bytes = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(640, 480), c = canvas.getContext("2d");
    for (let n = 0; n < 400; n++) {
      c.fillStyle = `hsl(${n * 37} 70% ${30 + (n % 40)}%)`;
      c.fillRect((n * 73) % 640, (n * 131) % 480, 60, 40);
    }
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 })).arrayBuffer())];
  });
  return Buffer.from(bytes);
}
