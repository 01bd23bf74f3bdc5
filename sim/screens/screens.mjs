// Drives the dispatcher's desk and the officer's terminal against a running simulator:
// node screens.mjs DESK SIM NAME PASSWORD SHOTS
// It prints what it checks and exits 1 when one of them failed. Screenshots of each screen
// are kept in SHOTS; CHECK=words runs the checks with these words in their names.
import assert from "node:assert/strict";
import { accessible, account, cab as cabOf, call, check, desk as address, device, end, gloves, incidents, name, picture, shot, shots, signIn, tell, text, until, visible } from "./kit.mjs";
import { guarded, judge, strings, trap } from "../../cloud-bridge/console/web/hostile.mjs";

const words = {
  "zh-CN": { title: /新警情/, kind: "紧急求助", sent: "中心已收", coming: /途中|已到达/, real: "真实警情", state: { accepted: "已接受" } },
  en: { title: /ALARM/, kind: "Panic", sent: "the centre has it", coming: /en route|on scene/i, real: "Real", state: { accepted: "accepted" } },
};
const boxNames = Object.fromEntries(await Promise.all(["box-04", "box-06"].map(async (id) => [id, (await device(id)).name])));
const boxes = { "zh-CN": "box-04", en: "box-06" };

for (const [lang, w] of Object.entries(words)) {
  await check(`${lang}: from the press to the close, on both screens, by keyboard at the desk`, async () => {
    const car = await device("car-01");
    const { page: desk } = await signIn({ lang }), { page: cab } = await cabOf(car, lang);
    assert.equal(await cab.locator("#officer").innerText(), "", "nothing personal before the sign-on");
    await gloves(cab);
    await accessible(cab, "terminal, signed off");
    await shot(cab, `terminal-${lang}-off`);
    const [[officer, pin]] = Object.entries(car.pins);
    await cab.fill("#pin-number", officer.replace(/\D/g, ""));
    await cab.fill("#pin-pin", pin);
    await cab.keyboard.press("Enter");
    await visible(cab, "#idle, #task"); // a task that is over stays for a while
    assert.doesNotMatch(await text(cab, "body"), /null|undefined/, "nothing that is not there is written");
    await shot(cab, `terminal-${lang}-idle`);

    await tell(`/devices/${boxes[lang]}/button/panic/press`);
    await until("the title tells", async () => w.title.test(await desk.title()));
    await visible(desk, ".card.open");
    await desk.locator(".card.open", { hasText: boxNames[boxes[lang]] }).first().click();
    await desk.locator("#detail").focus();
    await shot(desk, `desk-${lang}-open`);
    await desk.keyboard.press("a");
    await visible(desk, ".badge.state.acknowledged");
    await desk.keyboard.press("d");
    await visible(desk, '#units input[value="car-01"]');
    await shot(desk, `desk-${lang}-units`);
    assert.equal(await desk.evaluate(() => document.getElementById("detail").scrollWidth - document.getElementById("detail").clientWidth), 0, "nothing of the detail is cut off");
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
    await cab.reload(); // what the page knew is gone, what the device knows is not
    await until("the terminal says since when", async () => /\d\d:\d\d:\d\d/.test(await text(cab, "#since")));
    await shot(cab, `terminal-${lang}-cut`);
    assert.ok(!(await text(desk, "#detail-steps")).includes("P-1001"), "the desk cannot know it yet");
    await tell("/devices/car-01/link/restore");
    await until("the desk sees what was said", async () => (await desk.locator("#detail .badge.state.checked").count()) === 1, 90);
    await until("the photo has come", async () => (await desk.locator("#files-rows img").count()) === 1, 90);
    await desk.locator("#files-rows img").scrollIntoViewIfNeeded(); // it is loaded when it is near
    await until("the photo is shown", async () => desk.evaluate(() => document.querySelector("#files-rows img")?.naturalWidth > 0));
    assert.match(await text(desk, "#detail-timeline"), /30\.\d{5}, 103\.\d{5}.*HDOP/s, "where it was said, and how good that is");
    await shot(desk, `desk-${lang}-checked`);
    await accessible(desk, "desk, with an incident that was checked");

    await desk.keyboard.press("c");
    await desk.keyboard.press("Space");
    await desk.keyboard.press("Enter");
    await visible(desk, ".badge.state.closed");
    await until("the terminal sees that it is over", async () => (await text(cab, "#over-what")).includes(w.real));
    assert.match(await text(cab, "#over-who"), new RegExp(`${name}.*\\d\\d:\\d\\d`), "by whom, and when");
    assert.match(await text(cab, "#task-title"), new RegExp(boxNames[boxes[lang]]), "which one it was");
    await gloves(cab);
    await accessible(cab, "terminal, with a task that is over");
    await shot(cab, `terminal-${lang}-over`);
    await cab.click("#put-away");
    await visible(cab, "#idle");
    await until("the lamps are dark", async () => (await device(boxes[lang])).lamps.shows === "idle");
    const [evidence] = await Promise.all([desk.waitForEvent("download"), desk.click("#do-evidence")]);
    await evidence.saveAs(`${shots}/evidence-${lang}.zip`);
    await shot(desk, `desk-${lang}-closed`);
    await desk.setViewportSize({ width: 390, height: 844 });
    await shot(desk, `desk-${lang}-phone`);
    assert.equal(await desk.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "nothing is cut off on a phone");
    await cab.click("#sign-off");
    await visible(cab, "#off");
  });

  await check(`${lang}: duty and statistics`, async () => {
    const s = await signIn({ lang });
    for (const page of ["duty", "stats"]) {
      await s.page.goto(`${address}/${page}`);
      await s.page.waitForLoadState("networkidle");
      assert.equal(await s.page.locator("#fault").isVisible(), false, await s.page.locator("#fault").innerText());
      await accessible(s.page, page);
      await s.page.screenshot({ path: `${shots}/${page}-${lang}.png`, fullPage: true });
    }
    await until("a row of the real incidents", async () => (await s.page.locator("#real tbody tr").count()) > 0);
  });
}

const busy = { "zh-CN": { busy: "忙碌", free: "空闲", sent: "中心已收", desk: /报忙碌/ }, en: { busy: "Busy", free: "Available", sent: "the centre has it", desk: /busy, said P-1001/ } };
for (const [lang, w] of Object.entries(busy)) {
  await check(`${lang}: a unit says that it is busy, without a link, and the desk sees since when`, async () => {
    const car = await device("car-01");
    const { page: duty } = await signIn({ lang }), { page: cab } = await cabOf(car, lang);
    await duty.goto(`${address}/duty`);
    const row = duty.locator("#units tr", { hasText: "car-01" });
    const [[officer, pin]] = Object.entries(car.pins);
    await cab.fill("#pin-number", officer.replace(/\D/g, ""));
    await cab.fill("#pin-pin", pin);
    await cab.keyboard.press("Enter");
    await visible(cab, "#doing-open");
    const say = async (state) => {
      await cab.click("#doing-open");
      await visible(cab, "#doing");
      await gloves(cab);
      await cab.locator(`#doing input[value="${state}"]`).check({ force: true });
      if (state === "busy") {
        await cab.locator("#doing-phrases button").first().click();
        await accessible(cab, "terminal, what the unit does");
        await shot(cab, `terminal-${lang}-doing`);
      }
      await cab.click("#doing-send");
      await cab.locator("#doing").waitFor({ state: "hidden" });
    };
    await tell("/devices/car-01/link/cut");
    await say("busy");
    await until("the screen says so, and that the centre does not have it", async () => (await text(cab, "#doing-open")).includes(w.busy) && !(await text(cab, "#doing-open")).includes(w.sent));
    await shot(cab, `terminal-${lang}-busy`);
    await gloves(cab);
    await tell("/devices/car-01/link/restore");
    await until("the screen knows that the centre has it", async () => (await text(cab, "#doing-open")).includes(w.sent), 90);
    await duty.reload();
    await until("the desk says that it is busy, who says so and why", async () => w.desk.test(await row.innerText()), 60);
    await accessible(duty, "duty, with a unit that is busy");
    await duty.screenshot({ path: `${shots}/duty-${lang}-busy.png`, fullPage: true });
    await say("available");
    await until("the desk sees that it is free", async () => { await duty.reload(); await visible(duty, "#units tr"); return !w.desk.test(await row.innerText()); }, 30);
    await cab.click("#sign-off");
    await visible(cab, "#off");
  });
}

await check("a call for help from the car is an alarm at the desk", async () => {
  const car = await device("car-01");
  const s = await signIn(), terminal = await cabOf(car);
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
});


await check("what one asked another approves, and not the one who asked", async () => {
  const sun = await account("sun", "supervisor");
  await tell("/devices/box-05/button/medical/press");
  const asks = await signIn(), answers = await signIn(sun);
  await visible(asks.page, ".card.open");
  await asks.page.locator(".card.open").first().click();
  const ask = async (words) => {
    await asks.page.click('#more-steps [data-step="cancel"]');
    if (!words) {
      await asks.page.click("#step-send");
      await visible(asks.page, "#step-error"); // not without a reason
    }
    await asks.page.fill('#form-step textarea[name="words"]', words || "pressed by mistake, called back");
    await asks.page.click("#step-send");
    await visible(asks.page, "#request");
  };
  await ask("");
  assert.equal(await asks.page.locator("#do-approve").isDisabled(), true, "nobody approves what they asked themselves");
  const [waits] = await incidents((i) => i.request);
  const own = await call("POST", `/incidents/${waits.id}/approve`, {});
  assert.deepEqual([own.status, own.body.code], [422, "second_person"]);
  await shot(asks.page, "desk-en-request");
  await asks.page.click("#do-deny");
  await asks.page.fill("#deny-reason", "I take it back");
  await asks.page.keyboard.press("Enter");
  await asks.page.locator("#request").waitFor({ state: "hidden" });
  await ask("a child pressed it");
  await visible(answers.page, "#request");
  assert.match(await text(answers.page, "#request-text"), new RegExp(`${name}.*a child pressed it`, "s"));
  await answers.page.click("#do-approve");
  await visible(asks.page, "#detail .badge.state.closed");
  await until("who asked and who approved are told", async () => /Cancelled/i.test(await text(asks.page, "#detail-steps")) && (await text(asks.page, "#detail-timeline")).includes("sun"));
});

await check("two dispatchers at once: one has it, the other is told and takes over", async () => {
  const li = await account("li", "dispatcher");
  await tell("/devices/box-06/button/panic/press");
  const both = [await signIn(), await signIn(li)], names = [name, "li"];
  let open, all = new Promise((done) => { open = done; }), held = 0;
  for (const { page } of both) {
    await visible(page, "#do-acknowledge:enabled");
    // Both have pressed before either is heard.
    await page.route("**/acknowledge", async (route) => {
      if (++held === 2) open();
      await all;
      await route.continue();
    });
  }
  await Promise.all(both.map(({ page }) => page.click("#do-acknowledge")));
  await Promise.all(both.map(({ page }) => visible(page, "#detail .badge.state.acknowledged")));
  await until("one is told", async () => (await Promise.all(both.map(({ page }) => page.locator("#act-error").isVisible()))).filter(Boolean).length === 1);
  const lost = (await both[0].page.locator("#act-error").isVisible()) ? 0 : 1;
  assert.match(await text(both[lost].page, "#act-error"), new RegExp(names[1 - lost]), "told by whom");
  await shot(both[lost].page, "desk-en-taken");
  both[lost].wrong = [];
  await both[lost].page.locator("#detail").focus();
  await both[lost].page.keyboard.press("t");
  for (const { page } of both) {
    await until("everybody sees whose it is", async () => (await page.locator(`#detail-facts bdi:text-is("${names[lost]}")`).count()) > 0);
    await until("the timeline has both", async () => { const all = await text(page, "#detail-timeline"); return names.every((n) => all.includes(n)); });
  }
});

await check("who only reads sees and cannot act", async () => {
  const yan = await account("yan", "viewer");
  await tell("/devices/box-04/button/panic/press");
  const s = await signIn(yan);
  await visible(s.page, ".card.open");
  await s.page.locator(".card.open").first().click();
  assert.deepEqual(await s.page.locator("#detail button:enabled:visible").evaluateAll((all) => all.map((b) => b.id)), ["do-print"]);
  await s.page.locator("#detail").focus();
  for (const key of "adcntgoeu") await s.page.keyboard.press(key);
  await shot(s.page, "desk-en-viewer");
  await s.page.goto(`${address}/duty`);
  await visible(s.page, "#units tr");
  assert.equal(await s.page.locator("main button:enabled:visible").count(), 0);
  await shot(s.page, "duty-en-viewer");
  const [i] = await incidents((i) => i.device === "box-04" && i.state !== "closed");
  assert.equal(i.state, "open");
  const { cookie } = await call("POST", "/session", yan, {});
  for (const step of ["acknowledge", "dispatch", "close", "cancel", "note"]) assert.equal((await call("POST", `/incidents/${i.id}/${step}`, {}, { Cookie: cookie })).status, 403, step);
});

await check("neighbours sound, the desk says which, and hushes them", async () => {
  const s = await signIn();
  await tell("/devices/box-01/button/fire/press");
  for (const id of ["box-02", "box-03"]) await until(id + " sounds", async () => (await device(id)).siren);
  await visible(s.page, ".card.open");
  await s.page.locator(".card.open").first().click();
  await until("the desk lists who sounded", async () => (await s.page.locator("#sounds-rows li").count()) === 2 && !/asked/.test(await text(s.page, "#sounds-rows")));
  await shot(s.page, "desk-en-sounds");
  await s.page.click('#more-steps [data-step="hush"]');
  for (const id of ["box-02", "box-03"]) await until(id + " is quiet", async () => !(await device(id)).siren);
  await until("the desk says that they are quiet", async () => (await text(s.page, "#sounds-rows")).match(/quiet|stopped/gi)?.length === 2);
});

await check("an exercise reaches the boxes, and is never among the real", async () => {
  assert.equal((await call("POST", "/drills", { on: true, minutes: 1, devices: ["box-05"] })).status, 200);
  const s = await signIn(), duty = await signIn();
  await duty.page.goto(`${address}/duty`);
  await duty.page.locator('#drill option[value="group:shiqiao"]').waitFor({ state: "attached" });
  await duty.page.selectOption("#drill select", "group:shiqiao");
  await duty.page.fill('#drill input[name="minutes"]', "5");
  await duty.page.click("#drill button");
  for (const id of ["box-01", "box-02", "box-03", "box-05"]) await until(id + " is in a drill", async () => { const d = await device(id); return d.drill || d.lamps.shows === "drill_mode"; });
  await duty.page.screenshot({ path: `${shots}/duty-en-drill.png`, fullPage: true });
  const counted = async () => {
    const { rows } = (await call("GET", "/stats?" + new URLSearchParams({ from: new Date(Date.now() - 86_400_000).toISOString(), to: new Date(Date.now() + 86_400_000).toISOString(), per: "all", tier: "district", zone: "Asia/Shanghai" }))).body;
    const count = (real) => rows.filter((r) => (r.class === "real") === real).reduce((n, r) => n + r.count, 0);
    return { real: count(true), practice: count(false) };
  };
  const before = await counted();
  await tell("/devices/box-02/button/panic/press");
  await visible(s.page, ".card.open.drill .badge.drill");
  await s.page.locator(".card.open.drill").first().click();
  await shot(s.page, "desk-en-drill");
  await s.page.click("#do-close");
  await s.page.check('#form-close input[value="drill"]');
  await s.page.click("#form-close button[type=submit]");
  await visible(s.page, "#detail .badge.state.closed");
  assert.deepEqual(await counted(), { real: before.real, practice: before.practice + 1 });
  await duty.page.reload();
  const report = duty.page.locator("#exercises .report").first();
  await until("the report of it tells the press and what became of it at the other two", async () => {
    const said = await report.innerText();
    return said.includes("box-02") && (await report.locator("tbody tr").count()) === 2 && /\d of 2 others/.test(said);
  });
  await accessible(duty.page, "duty, with the report of an exercise");
  await duty.page.screenshot({ path: `${shots}/duty-en-exercise.png`, fullPage: true });
  for (let left = 3; left > 0; left--) {
    const ends = duty.page.locator("#drills li", { hasText: /box-0[123]/ }).locator("button");
    await until(`${left} to be ended`, async () => (await ends.count()) === left);
    await ends.first().click();
  }
  for (const id of ["box-01", "box-02", "box-03"]) await until(id + " is in earnest again", async () => { const d = await device(id); return !d.drill && d.lamps.shows === "idle"; });
});

await check("the centre is killed and started while both screens are open", async () => {
  const car = await device("car-01");
  const s = await signIn(), terminal = await cabOf(car);
  await tell("/devices/car-01/finger/1");
  await until("the finger signs on", async () => (await text(terminal.page, "#officer")).includes("P-1001"));
  await shot(terminal.page, "terminal-en-finger");
  await until("the terminal hears the centre", async () => (await terminal.page.getAttribute("#link", "data-state")) === "live");
  s.offline = true;
  await tell("/centre/kill");
  await visible(s.page, "#stale");
  assert.match(await text(s.page, "#stale-text"), /\d\d:\d\d:\d\d/);
  assert.equal(await s.page.locator('#link[data-state="live"]').count(), 0);
  await until("the terminal says since when it does not hear the centre", async () => /since \d\d:\d\d:\d\d/.test(await text(terminal.page, "#since")));
  assert.notEqual(await terminal.page.getAttribute("#link", "data-state"), "live");
  await tell("/devices/box-04/button/panic/press");
  await until("the box has stored it", async () => (await device("box-04")).lamps.shows === "stored");
  await shot(s.page, "desk-en-stale");
  await shot(terminal.page, "terminal-en-stale");
  assert.equal(await s.page.locator(".card.open").count(), 0);
  await tell("/centre/start");
  await s.page.locator('#link[data-state="live"]').waitFor();
  await s.page.locator("#stale").waitFor({ state: "hidden" });
  s.offline = false;
  await visible(s.page, ".card.open");
  await until("the box hears that the centre has it", async () => (await device("box-04")).lamps.shows === "centre_has");
  await until("the terminal hears the centre again", async () => (await terminal.page.getAttribute("#link", "data-state")) === "live");
  assert.equal(await s.page.locator(".card.open").count(), 1, "it is shown once");
  assert.deepEqual((await incidents((i) => i.device === "box-04" && i.state === "open")).map((i) => i.presses), [1]);
  await terminal.page.click("#sign-off");
  await visible(terminal.page, "#off");
});

await check("an exercise ends by itself", async () => {
  await until("box-05 is in earnest again", async () => { const d = await device("box-05"); return !d.drill && d.lamps.shows === "idle"; }, 90);
  assert.equal((await call("GET", "/drills")).body.drills.find((d) => d.device === "box-05")?.on ?? false, false);
});

await check("the terminal: what the centre and the device call things stays text", async () => {
  const s = await cabOf(await device("car-01"));
  guarded(s);
  const { page } = s;
  await page.addInitScript(trap);
  const state = JSON.parse(await (await page.request.get(new URL("/api/state", page.url()).href)).text());
  const all = (await strings()).map((x) => x.slice(0, 600)), now = new Date().toISOString();
  // A state for each string, in which each text is another one; every second has nobody on.
  const states = all.map((_, n) => {
    const next = (most = 64) => all[n++ % all.length].slice(0, most);
    const off = n % 2 === 0;
    const task = (incident) => ({
      incident, state: n % 3 ? "assigned" : "ended", by: next(), code: next(), over: now, near: [{ lat: 30.001, lon: 103, name: next() }], stage: next(), kind: next(), priority: 1, drill: false, silent: false, name: next(), device: next(), note: next(600), place: { lat: 30, lon: 103 },
      source: "surveyed", place_age_s: 0, pressed: now, pressed_within_s: 1, metres: 100, bearing: 20, said: [{ answer: next(), code: next(), note: next(600), officer: next(), at: now, sent: true }], photos: [],
    });
    return {
      ...state, device: next(), faults: [next(), "button_stuck:" + next()], help: { step: "unit_coming", unit: next(), presses: 1 },
      fix: { text: next(), age_s: 1, mode: 3, within_m: 5, kmh: 0, course: null, quality: "live" }, gps: true,
      duty: off ? null : { officer: next(), fix: { lat: 30, lon: 103, mode: 3 }, path: [], tasks: [task("17"), task("18")], photos: [] },
      fingers: { by: next(), left_s: 30, step: "", library: 9, list: [1, 2].map((slot) => ({ slot, officer: next(), role: next(), duress: slot === 1, config: false, empty: false })) },
    };
  });
  let from = 0;
  await page.route("**/api/stream", (route) => route.fulfill({ contentType: "text/event-stream", body: "retry: 100\n" + states.slice(from, from + 40).map((x) => `data: ${JSON.stringify(x)}\n\n`).join("") }));
  await page.route("**/api/fingers/*", (route) => route.fulfill({ contentType: "application/json", body: "{}" }));
  for (; from < states.length; from += 40) {
    await page.reload();
    await page.locator("#lost").waitFor({ state: "hidden" });
    await until("the states", async () => (await text(page, "#device")) !== "–" && (await text(page, "#device")) !== state.device);
    await judge(page, "the terminal");
    if (await page.locator("#fingers-open").isVisible()) {
      await page.click("#fingers-open");
      await until("the list", async () => (await page.locator("#fingers-list li").count()) === 2);
      await judge(page, "the terminal's fingers");
      await page.click("#fingers-close");
    }
  }
  await shot(page, "terminal-en-hostile");
});

await end();
