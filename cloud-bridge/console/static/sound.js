// The desk's bell. A browser lets a page make sound only after the person has touched
// it, so the button says honestly whether the bell can be heard.

let context = null;
let wanted = localStorage.getItem("fengsui.sound") !== "off";

// audible says whether a ring would be heard now, as far as the page can know.
export const audible = () => wanted && context !== null && context.state === "running";

// blocked says whether only the browser's rule stands in the way.
export const blocked = () => wanted && !audible();

export async function toggle() {
  if (audible()) {
    wanted = false;
  } else {
    wanted = true;
    await unlock();
  }
  localStorage.setItem("fengsui.sound", wanted ? "on" : "off");
}

// unlock is called from a gesture.
export async function unlock() {
  if (!wanted || !("AudioContext" in window)) return;
  context ??= new AudioContext();
  if (context.state !== "running") await context.resume().catch(() => {});
}

// ring plays the pattern for an alarm: two rising pairs; for a drill one soft tone. Each
// level by which an alarm was escalated makes it louder, and adds a pair.
export function ring(drill, level = 0) {
  if (drill) return play([[0, 520, 0.25]], "sine", 0.12);
  const pairs = Array.from({ length: 2 + Math.min(level, 3) }, (_, n) => [[n * 0.55, 740, 0.16], [n * 0.55 + 0.2, 988, 0.25]]);
  play(pairs.flat(), level ? "sawtooth" : "triangle", Math.min(0.9, 0.35 + 0.2 * level));
}

// warn says that the link is lost: one falling pair.
export const warn = () => play([[0, 392, 0.3], [0.35, 262, 0.5]], "sine", 0.25);

// play sounds notes of [start, hertz, length], in seconds.
function play(notes, shape, loud) {
  if (!audible()) return;
  for (const [at, frequency, length] of notes) {
    const start = context.currentTime + 0.02 + at;
    const tone = context.createOscillator(), volume = context.createGain();
    tone.type = shape;
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(loud, start + 0.015);
    volume.gain.setValueAtTime(loud, start + length - 0.04);
    volume.gain.linearRampToValueAtTime(0, start + length);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + length);
  }
}
