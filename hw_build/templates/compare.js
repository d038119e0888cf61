"use strict";
// Sorts and filters the table of runs, and draws the plots; the page is whole without it, but still.

const { columns, runs } = JSON.parse(document.getElementById("data").textContent);
const columnOf = new Map(columns.map((column) => [column.key, column]));
const body = document.querySelector("#runs tbody");
const rows = [...body.rows];
let shown = runs.map(() => true);

// --- the table ----------------------------------------------------------------------------------

function sortBy(header) {
  const key = header.dataset.key;
  const first = columnOf.get(key).better === "more" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  for (const each of header.parentNode.cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const compare = (a, b) => {
    const x = runs[a.dataset.index][key], y = runs[b.dataset.index][key];
    if (x === null || y === null) return (x === null) - (y === null); // what is unknown comes last
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
  };
  body.append(...rows.sort(compare));
}

function holds(run, term) {
  const bound = /^(\w+)(<=|>=|<|>|=)([-+.\de]+)$/i.exec(term);
  if (!bound || !columnOf.has(bound[1])) {
    return Object.values(run).some((value) => String(value).toLowerCase().includes(term));
  }
  const value = run[bound[1]], limit = Number(bound[3]);
  if (typeof value !== "number") return false;
  return { "<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit,
    "=": value === limit }[bound[2]];
}

function filter(text) {
  const terms = text.toLowerCase().split(/\s+/).filter(Boolean);
  shown = runs.map((run) => terms.every((term) => holds(run, term)));
  for (const row of rows) row.hidden = !shown[row.dataset.index];
  const count = shown.filter(Boolean).length;
  document.getElementById("count").textContent = `${count} of ${runs.length} runs`;
  plots.forEach(draw);
}

// --- the plots ----------------------------------------------------------------------------------

const BOX = { left: 70, right: 505, top: 15, bottom: 295 };

function element(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

function written(key, value) {
  if (key === "accuracy") return `${(100 * value).toFixed(2)} %`;
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

// Ticks at 1, 2 and 5 times powers of ten, and the axis' ends a little outside the values.
function axis(values, logarithmic) {
  const log = logarithmic && Math.min(...values) > 0;
  const to = log ? Math.log10 : (x) => x;
  let low = to(Math.min(...values)), high = to(Math.max(...values));
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - room, high + room];
  const ticks = [];
  if (log && high - low > 0.7) {
    for (let power = Math.floor(low); power <= high; power++) {
      for (const digit of [1, 2, 5]) {
        const at = power + Math.log10(digit);
        if (at >= low && at <= high) ticks.push(digit * 10 ** power);
      }
    }
  } else {
    const [from, till] = log ? [10 ** low, 10 ** high] : [low, high];
    const power = 10 ** Math.floor(Math.log10((till - from) / 3));
    const step = power * [1, 2, 5, 10].find((digit) => (till - from) / (digit * power) <= 5);
    for (let at = Math.ceil(from / step); at * step <= till; at++) ticks.push(at * step + 0); // no -0
  }
  const most = 6, every = Math.ceil(ticks.length / most);
  return { place: (x) => (to(x) - low) / (high - low), ticks: ticks.filter((_, i) => i % every === 0) };
}

// Whether run a is at least as good as run b in both figures, and better in one.
function beats(a, b, keys) {
  const signs = keys.map((key) => (columnOf.get(key).better === "more" ? 1 : -1));
  const gains = keys.map((key, i) => signs[i] * (a[key] - b[key]));
  return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
}

function draw(plot) {
  const svg = plot.querySelector("svg");
  const keys = [plot.querySelector(".x").value, plot.querySelector(".y").value];
  svg.replaceChildren();
  plot.querySelector("output").textContent = "\u00a0";
  const points = runs.filter((run, i) => shown[i] && keys.every((key) => run[key] !== null));
  if (!points.length) {
    element(svg, "text", { x: 260, y: 160, "text-anchor": "middle" }, "No run has both figures");
    return;
  }
  const [across, up] = keys.map((key, i) => axis(points.map((run) => run[key]),
    i === 0 && plot.querySelector(".log").checked));
  const x = (value) => BOX.left + across.place(value) * (BOX.right - BOX.left);
  const y = (value) => BOX.bottom - up.place(value) * (BOX.bottom - BOX.top);
  for (const tick of across.ticks) {
    element(svg, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: BOX.top, y2: BOX.bottom });
    element(svg, "text", { x: x(tick), y: BOX.bottom + 20, "text-anchor": "middle" }, short(keys[0], tick));
  }
  for (const tick of up.ticks) {
    element(svg, "line", { class: "grid", x1: BOX.left, x2: BOX.right, y1: y(tick), y2: y(tick) });
    element(svg, "text", { x: BOX.left - 8, y: y(tick) + 4, "text-anchor": "end" }, short(keys[1], tick));
  }
  const best = points.filter((run) => !points.some((other) => beats(other, run, keys)));
  best.sort((a, b) => a[keys[0]] - b[keys[0]]);
  const line = best.map((run) => `${x(run[keys[0]])},${y(run[keys[1]])}`).join(" ");
  element(svg, "polyline", { class: "front", points: line });
  const taken = points.map((run) => boxAround(x(run[keys[0]]), y(run[keys[1]])));
  const names = element(svg, "g", {}); // below the points
  for (const run of points) {
    const [cx, cy] = [x(run[keys[0]]), y(run[keys[1]])];
    const front = best.includes(run);
    const figures = keys.map((key) => `${columnOf.get(key).title} (${columnOf.get(key).kind}) ${written(key, run[key])}`);
    const text = `${run.name}: ${figures.reverse().join(", ")}${front ? "; on the front" : ""}`;
    const dot = element(svg, "circle", { cx, cy, r: 6, tabindex: 0, role: "img", "aria-label": text,
      class: front ? "best" : "", "data-index": runs.indexOf(run) });
    for (const event of ["mouseenter", "focus"]) dot.addEventListener(event, () => choose(run, plot, text));
    for (const event of ["mouseleave", "blur"]) dot.addEventListener(event, () => choose(null, plot, "\u00a0"));
    label(names, run.name, cx, cy, taken);
  }
}

function short(key, value) {
  if (key === "accuracy") return `${+(100 * value).toPrecision(4)} %`;
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}

function boxAround(cx, cy) {
  return { x: cx - 7, y: cy - 7, width: 14, height: 14 };
}

// A run's name beside its point, where it covers neither a point nor another name; else nowhere.
function label(parent, name, cx, cy, taken) {
  const text = element(parent, "text", { class: "label" }, name);
  for (const [dx, dy, anchor] of [[11, 4, "start"], [-11, 4, "end"], [0, -12, "middle"], [0, 22, "middle"]]) {
    for (const [key, value] of [["x", cx + dx], ["y", cy + dy], ["text-anchor", anchor]]) text.setAttribute(key, value);
    const box = text.getBBox();
    const inside = box.x >= BOX.left && box.x + box.width <= BOX.right && box.y >= 0 && box.y + box.height <= BOX.bottom;
    if (inside && !taken.some((other) => meet(box, other))) {
      taken.push(box);
      return;
    }
  }
  text.remove();
}

function meet(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

// Marks a run in every plot and in the table; null for none.
function choose(run, plot, text) {
  plot.querySelector("output").textContent = text;
  const index = run === null ? "" : String(runs.indexOf(run));
  for (const mark of document.querySelectorAll("[data-index]")) {
    mark.classList.toggle("chosen", mark.dataset.index === index);
  }
}

const plots = [...document.querySelectorAll(".plot")];
for (const plot of plots) {
  plot.addEventListener("change", () => draw(plot));
  draw(plot);
}
for (const header of document.querySelectorAll("#runs thead th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
