/*
 * How things are called and coloured: pure functions of what they are given (and of the page's theme).
 */

/* ---- words ------------------------------------------------------------------------------ */

const plain = new Intl.NumberFormat("en-US");
const digits = (v) => v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
function scaled(v, steps) {
  for (const [unit, size] of steps) if (v >= size) return digits(v / size) + " " + unit;
  return plain.format(Math.round(v)) + " " + steps[steps.length - 1][0];
}
const TIME = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
const SIZE = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]];
function amount(v, unit) {
  if (v === 0) return "0";
  if (unit === "nanoseconds") return scaled(v, TIME);
  if (unit === "bytes") return scaled(v, SIZE);
  return plain.format(v) + (unit && unit !== "count" ? " " + unit : "");
}
function share(v, of) {
  const pct = of > 0 ? 100 * v / of : 0;
  return (pct >= 99.95 || pct === 0 ? pct.toFixed(0) : pct < 0.01 ? "<0.01" : pct < 1 ? pct.toFixed(2) : pct.toFixed(1)) + " %";
}
const TITLES = { "cpu.pb.gz": "CPU", "offcpu.pb.gz": "Off-CPU", "heap.pb.gz": "Heap", "block.pb.gz": "Blocking",
  "mutex.pb.gz": "Lock contention", "goroutine.pb.gz": "Goroutines", "own.cpu.pb.gz": "CPU, by the service" };
const titleOf = (p) => {
  const instant = p.artifact.startsWith("image/");
  const name = instant ? p.artifact.slice(6) : p.artifact;
  return (TITLES[name] ?? name.replace(/\.pb\.gz$/, "")) + (instant ? " (one instant)" : "");
};

/* ---- colours ---------------------------------------------------------------------------- */

/* Hue, saturation, lightness; text on them is dark in both themes. */
const CLASS = { "user": [28, 86, 66], "malloc": [47, 84, 63], "gc background": [128, 33, 62], "gc assist": [338, 68, 70],
  "sweep": [172, 36, 64], "scheduler": [213, 64, 71], "stack growth": [266, 52, 77], "kernel": [214, 16, 70],
  "unknown": [40, 8, 72], "lost": [36, 12, 76] };
const STATE = { "blocked": [8, 72, 70], "preempted": [47, 84, 63], "runnable": [88, 40, 63], "run queue": [88, 40, 63],
  "waiting": [8, 72, 70], "sleeping": [213, 50, 74], "parked": [214, 14, 74], "unknown": [40, 8, 72],
  "lost": [36, 12, 76] };
const SPARE = [[190, 48, 65], [300, 34, 74], [70, 48, 62], [20, 38, 68], [240, 45, 78], [150, 36, 64]];
const KERNEL_TONE = [214, 16, 70], GROUP_TONE = [40, 10, 80];

function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return (h ^ h >>> 15) >>> 0;
}
const packages = new Map();
/* "net/http.(*conn).serve" is of net/http. */
function packageOf(name) {
  let pkg = packages.get(name);
  if (pkg === undefined) {
    const end = name.search(/[[(]/), head = end < 0 ? name : name.slice(0, end);
    const dot = head.indexOf(".", head.lastIndexOf("/") + 1);
    packages.set(name, pkg = dot > 0 ? head.slice(0, dot) : head.includes("::") ? head.split("::")[0] : "");
  }
  return pkg;
}
/* Names are foreign: "constructor" is in every object, but not its own. */
function tone(name, table, i) { return Object.hasOwn(table, name) ? table[name] : SPARE[i % SPARE.length]; }
function packageTone(pkg) {
  if (pkg === "") return [40, 10, 74];
  if (pkg === "runtime" || pkg.startsWith("runtime/") || pkg.startsWith("internal/runtime")) return [214, 18, 72];
  if (pkg === "main") return CLASS.user;
  const h = hash(pkg);
  return [h % 360, 38 + h % 20, 70 + (h >>> 8) % 7];
}
/* Neighbours of one kind differ a little, the same function never does. */
function fill([h, s, l], name) {
  const wobble = hash(name), dark = document.documentElement.dataset.theme === "dark";
  return `hsl(${h + wobble % 9 - 4} ${dark ? s * 0.72 : s}% ${(dark ? l - 10 : l) + (wobble >>> 5) % 7 - 3}%)`;
}
const flat = ([h, s, l]) => fill([h, s, l], "").toString();
