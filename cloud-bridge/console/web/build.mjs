// Copies the parts of MapLibre GL JS that the desk's page loads into ../dist,
// where the Go program embeds them. It fetches nothing: run `npm ci` first.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const from = new URL("./node_modules/maplibre-gl/", import.meta.url);
const to = new URL("../dist/maplibre/", import.meta.url);

// The worker is a file of its own, loaded from our origin, so that the page's
// content security policy needs neither blob: nor inline script.
const files = {
  "dist/maplibre-gl.mjs": "maplibre-gl.mjs",
  "dist/maplibre-gl-worker.mjs": "maplibre-gl-worker.mjs",
  "dist/maplibre-gl.css": "maplibre-gl.css",
  "LICENSE.txt": "LICENSE.txt",
};

await rm(to, { recursive: true, force: true });
await mkdir(to, { recursive: true });
for (const [source, target] of Object.entries(files)) {
  await copyFile(new URL(source, from), new URL(target, to));
}
const { version } = JSON.parse(await readFile(new URL("package.json", from), "utf8"));
await writeFile(new URL("VERSION", to), version + "\n");
console.log(`maplibre-gl ${version} -> ${fileURLToPath(to)}`);
