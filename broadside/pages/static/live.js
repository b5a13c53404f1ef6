// Moves a campaign's figures with the events, and draws how many were reached since Fire.
import { number } from "./page.js";

const box = document.getElementById("curve");
const kept = "curve:" + box.dataset.campaign;
const points = JSON.parse(sessionStorage.getItem(kept) || "[[0],[0]]");
let plot, channels = "";

const set = (scope, field, text) => {
  const place = scope.querySelector(`[data-field=${field}]`);
  if (place) place.textContent = text;
};
const span = (seconds) => seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
const changed = () => document.dispatchEvent(new CustomEvent("broadside:changed"));

document.addEventListener("broadside:campaign", ({ detail: line }) => {
  const live = document.getElementById("live");
  if (line.id !== box.dataset.campaign) return;
  if (live.dataset.state !== line.state || live.dataset.guard !== line.guard) changed();
  let delivered = 0, settled = 0, remaining = 0, cancelled = 0;
  for (const [name, tally] of Object.entries(line.channels)) {
    const row = live.querySelector(`tr[data-channel="${CSS.escape(name)}"]`);
    if (!row) { changed(); continue; }
    for (const cell of row.querySelectorAll("[data-field]")) cell.textContent = number(tally[cell.dataset.field]);
    delivered += tally.delivered;
    remaining += tally.remaining;
    cancelled += tally.cancelled;
    for (const word of ["delivered", "dead", "rejected", "expired", "dropped"]) settled += tally[word];
  }
  set(live, "delivered", number(delivered));
  set(live, "expected", number(settled + cancelled + remaining));
  set(live, "rate", number(Math.round(line.rate_now || line.rate)));
  set(live, "bottleneck", line.bottleneck);
  set(live, "held", number(line.held));
  if (line.seconds) set(live, "seconds", span(line.seconds));
  set(live, "left", line.left ? span(line.left) : "–");
  const bar = document.getElementById("progress");
  if (bar) { bar.max = settled + cancelled + remaining || 1; bar.value = settled; }
  if (line.seconds > points[0].at(-1) && delivered !== points[1].at(-1)) {
    points[0].push(line.seconds);
    points[1].push(delivered);
    draw();
    sessionStorage.setItem(kept, JSON.stringify(points));
  }
});

document.addEventListener("broadside:channels", ({ detail: { items } }) => {
  const now = JSON.stringify(items.map((state) => [state.channel, state.node, state.reason]));
  if (now !== channels && channels) changed();
  channels = now;
});

// A click that was meant for a button must not press the one that has just taken its place: Stop, and then Go on.
const buttons = () => [...document.querySelectorAll("#live .actions button")].map((each) => each.textContent).join();
let shown = buttons(), since = -Infinity;
document.addEventListener("htmx:after:swap", () => {
  if (buttons() === shown) return;
  shown = buttons();
  since = performance.now();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("#live .actions") || event.timeStamp - since > 600) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

function draw() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--mute"), line = style.getPropertyValue("--good");
  const axis = { stroke: ink, grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  plot ??= new uPlot({
    width: box.clientWidth, height: 220, cursor: { show: false }, legend: { show: false }, scales: { x: { time: false } },
    axes: [{ ...axis, values: (_, all) => all.map((s) => `${s} s`) }, { ...axis, size: 80, values: (_, all) => all.map(number) }],
    series: [{}, { stroke: line, width: 2, fill: line + "22", points: { show: false } }],
  }, points, box);
  plot.setData(points);
}

addEventListener("resize", () => plot && plot.setSize({ width: box.clientWidth, height: 220 }));
addEventListener("load", () => points[0].length > 1 && draw());
