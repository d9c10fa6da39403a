// The live page of scoop-hpc: it asks its server each second what is new, and shows it. Whatever a program calls its
// functions, and whatever it prints, gets into the page as text alone (textContent), never as HTML.
"use strict";

const POLL = 1000; // milliseconds from one question to the next
const POLL_HIDDEN = 5000; // while the page is not to be seen, or the run has ended
const MOST_POINTS = 3600; // as web/history.py
const SEGMENTS_OF_ALL = 100000; // the same
const ROW_NAMES = 64; // pixels at the left of the timeline
const AXIS = 20; // pixels at its top
const MOST_HEIGHT = 560; // pixels of it that are to be seen at once
const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900", "#8c6bb1"]; // Okabe and Ito, 2008
const PROGRAM = "the program"; // what a worker does that executes no task: the origin
const PART = { BEGIN: 0, END: 1, STATE: 2, TASK: 3, TASKS: 4 }; // of a segment: see web/server.py
const POINT = { TIME: 0, BUSY: 1, WORKERS: 2, QUEUED: 3, DONE: 4, FAILED: 5, STOLEN: 6, MEMORY: 7 };

const $ = (id) => document.getElementById(id);
const run = { look: 0, name: null, snapshot: null, segments: new Map(), points: [] };

// ---- words and numbers

function count(value) {
  return value == null ? "" : value.toLocaleString("en").replaceAll(",", " ");
}

function seconds(value) {
  if (value == null) return "";
  if (value < 1e-7) return "0 s";
  if (value < 1e-3) return `${(value * 1e6).toPrecision(3)} µs`;
  if (value < 1) return `${(value * 1e3).toPrecision(3)} ms`;
  return value < 60 ? `${value.toPrecision(3)} s` : clock(value);
}

function clock(value) {
  const whole = Math.max(0, Math.floor(value));
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

function bytes(value) {
  if (value == null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++; }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function rate(value) {
  return `${value < 10 ? value.toFixed(1) : count(Math.round(value))}/s`;
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// ---- elements

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text != null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text; // what is selected stays so
}

// Show *rows* of texts in *body*, with as few changes as can be.
function fill(body, rows, columns) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, index) => {
    const line = body.rows[index] ?? body.insertRow();
    while (line.cells.length > row.length) line.deleteCell(-1);
    row.forEach((text, column) => {
      const cell = line.cells[column] ?? line.insertCell();
      cell.className = columns[column].number ? "number" : "";
      cell.colSpan = 1;
      say(cell, text);
    });
  });
}

// A table that is sorted by a press on the head of a column, and again by the next one.
class Table {
  constructor(table, columns, sorted, empty) {
    this.columns = columns;
    this.empty = empty;
    this.sorted = sorted;
    this.falling = true;
    this.rows = [];
    const head = table.createTHead().insertRow();
    columns.forEach((column, index) => {
      const cell = element("th", null, column.number ? "number" : "");
      cell.scope = "col";
      const button = element("button", column.title);
      button.type = "button";
      button.addEventListener("click", () => this.sort(index));
      cell.append(button);
      head.append(cell);
    });
    this.head = head;
    this.body = table.createTBody();
  }

  sort(index) {
    this.falling = index === this.sorted ? !this.falling : Boolean(this.columns[index].number);
    this.sorted = index;
    this.show(this.rows);
  }

  show(rows) {
    this.rows = rows;
    const key = this.columns[this.sorted].value;
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : (a ?? -1) - (b ?? -1));
    const sorted = [...rows].sort((a, b) => (this.falling ? -1 : 1) * order(key(a), key(b)));
    [...this.head.cells].forEach((cell, index) => {
      if (index === this.sorted) cell.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    if (!rows.length) {
      fill(this.body, [[this.empty]], [{}]);
      this.body.rows[0].cells[0].colSpan = this.columns.length;
      this.body.rows[0].cells[0].className = "empty";
      return;
    }
    const cells = (row) => this.columns.map((column) => (column.text ?? String)(column.value(row)));
    fill(this.body, sorted.map(cells), this.columns);
  }
}

const functions = new Table($("functions"), [
  { title: "Function", value: (row) => row.name },
  { title: "Count", value: (row) => row.count, text: count, number: true },
  { title: "Failed", value: (row) => row.failed, text: count, number: true },
  { title: "Mean", value: (row) => row.mean_s, text: seconds, number: true },
  { title: "p99", value: (row) => row.p99_s, text: seconds, number: true },
  { title: "Total", value: (row) => row.total_s, text: seconds, number: true },
], 5, "no task has ended yet");

const nodes = new Table($("nodes"), [
  { title: "Node", value: (row) => row.name },
  { title: "State", value: (row) => row.state, text: String },
  { title: "Workers", value: (row) => row.workers, text: count, number: true },
  { title: "Done", value: (row) => row.done, text: count, number: true },
  { title: "Queued", value: (row) => row.queued, text: count, number: true },
  { title: "Steals in", value: (row) => row.steals_in, text: count, number: true },
  { title: "Steals out", value: (row) => row.steals_out, text: count, number: true },
  { title: "CPU", value: (row) => row.cpu_percent, text: (value) => `${Math.round(value ?? 0)} %`, number: true },
  { title: "Memory", value: (row) => row.memory_bytes, text: bytes, number: true },
  { title: "Limit", value: (row) => row.memory_limit_bytes, text: bytes, number: true },
  { title: "GPUs", value: (row) => row.gpus.map((gpu) => `${Math.round(gpu.percent)} %`).join(", ") },
], 0, "no node has reported yet");
nodes.falling = false;

const failures = new Table($("failures"), [
  { title: "When", value: (row) => row.time, text: (value) => clock(value - (run.snapshot?.started ?? value)), number: true },
  { title: "Function", value: (row) => row.function },
  { title: "Position", value: (row) => row.position, text: (value) => (value == null ? "" : String(value)), number: true },
  { title: "Node", value: (row) => row.node },
  { title: "Worker", value: (row) => row.worker },
  { title: "Attempt", value: (row) => row.attempt, text: count, number: true },
  { title: "Error", value: (row) => row.error },
], 0, "no task has failed");

// ---- totals

const TOTALS = [
  ["Done", (totals) => count(totals.done)],
  ["Running", (totals) => count(totals.running)],
  ["Queued", (totals) => count(totals.queued)],
  ["Failed", (totals) => count(totals.failed), (totals) => totals.failed > 0],
  ["Queued again", (totals) => count(totals.repeated), (totals) => totals.repeated > 0],
  ["Stolen", (totals) => count(totals.stolen)],
  ["Rate", (totals) => rate(totals.rate_per_s)],
  ["Busy workers", (totals) => `${count(totals.busy_workers)} of ${count(totals.workers)}`],
  ["Nodes", (totals) => count(totals.nodes)],
];
const totalValues = TOTALS.map(([title]) => {
  const pair = element("div");
  const value = element("dd");
  pair.append(element("dt", title), value);
  $("totals").append(pair);
  return value;
});

function showHead(snapshot) {
  const file = snapshot.program.split("/").at(-1) || "scoop-hpc";
  say($("program"), file);
  document.title = `${file}: ${snapshot.state} - scoop-hpc`;
  const failed = snapshot.state === "ended" && snapshot.status !== 0;
  say($("state"), snapshot.state === "ended" ? `ended with status ${snapshot.status}` : snapshot.state);
  $("state").className = `badge ${failed ? "bad" : "good"}`;
  const parts = [
    snapshot.job ? `job ${snapshot.job}` : `on ${snapshot.host}`,
    `${clock(snapshot.elapsed_s)} since its start`,
    snapshot.walltime_left_s == null || snapshot.state === "ended" ? "" : `${clock(snapshot.walltime_left_s)} of walltime left`,
    snapshot.reason,
  ];
  say($("about"), parts.filter(Boolean).join(" · "));
}

function showTotals(snapshot) {
  TOTALS.forEach(([, text, isBad], index) => {
    say(totalValues[index], text(snapshot.totals));
    totalValues[index].className = isBad?.(snapshot.totals) ? "bad" : "";
  });
}

function showWaits(waits) {
  const list = $("waits");
  while (list.children.length > waits.length) list.lastChild.remove();
  waits.forEach((wait, index) => {
    let line = list.children[index];
    if (!line) {
      line = element("div");
      line.append(element("span"), element("progress"), element("span"));
      list.append(line);
    }
    const [label, bar, text] = line.children;
    say(label, wait.label || "tasks");
    bar.setAttribute("aria-label", wait.label || "tasks");
    if (wait.total == null) bar.removeAttribute("value");
    else { bar.max = Math.max(1, wait.total); bar.value = wait.done; }
    const left = wait.left_s == null || wait.done === wait.total ? "" : `, about ${clock(wait.left_s)} left`;
    const failed = wait.failed ? `, ${count(wait.failed)} failed` : "";
    say(text, `${count(wait.done)}${wait.total == null ? "" : ` of ${count(wait.total)}`}${failed}${left}`);
  });
}

// ---- small charts

function difference(column) {
  return (points) => points.map((point, index) => {
    const before = points[Math.max(0, index - 1)];
    const time = point[POINT.TIME] - before[POINT.TIME];
    return time > 0 ? Math.max(0, point[column] - before[column]) / time : 0;
  });
}
const value = (column) => (points) => points.map((point) => point[column]);
const CHARTS = [
  ["Busy workers", value(POINT.BUSY), count],
  ["Queued tasks", value(POINT.QUEUED), count],
  ["Tasks done", difference(POINT.DONE), rate],
  ["Tasks stolen", difference(POINT.STOLEN), rate],
  ["Memory", value(POINT.MEMORY), bytes],
].map(([title, values, text]) => {
  const figure = element("figure");
  const caption = element("figcaption");
  const now = element("span");
  const canvas = element("canvas");
  caption.append(element("span", title), now);
  canvas.setAttribute("role", "img");
  figure.append(caption, canvas);
  $("charts").append(figure);
  return { title, values, text, now, canvas };
});

// Return the context of *canvas*, as sharp as the screen is, and its size in CSS pixels.
function context(canvas, height) {
  const width = canvas.clientWidth;
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const drawing = canvas.getContext("2d");
  drawing.setTransform(scale, 0, 0, scale, 0, 0);
  drawing.clearRect(0, 0, width, height);
  return { drawing, width };
}

function showCharts() {
  const points = run.points;
  for (const chart of CHARTS) {
    const height = 56;
    const { drawing, width } = context(chart.canvas, height);
    const values = chart.values(points);
    const most = Math.max(...values.slice(-MOST_POINTS), 0);
    const last = values.at(-1) ?? 0;
    say(chart.now, points.length ? `${chart.text(last)}, max ${chart.text(most)}` : "");
    chart.canvas.setAttribute("aria-label", `${chart.title}: ${chart.now.textContent}`);
    if (points.length < 2 || !most) continue;
    const begin = points[0][POINT.TIME];
    const span = points.at(-1)[POINT.TIME] - begin || 1;
    drawing.beginPath();
    points.forEach((point, index) => {
      const x = ((point[POINT.TIME] - begin) / span) * width;
      const y = height - 2 - (values[index] / most) * (height - 4);
      if (index) drawing.lineTo(x, y);
      else drawing.moveTo(x, y);
    });
    drawing.strokeStyle = style("--accent");
    drawing.lineWidth = 1.5;
    drawing.stroke();
    drawing.lineTo(width, height);
    drawing.lineTo(0, height);
    drawing.globalAlpha = 0.15;
    drawing.fillStyle = style("--accent");
    drawing.fill();
    drawing.globalAlpha = 1;
  }
}

// ---- the timeline

const timeline = {
  span: 60, // seconds
  end: null, // seconds since the epoch at the right; null: now
  rows: [], // the workers that are shown
  chosen: -1, // the row that the keys have chosen
  at: null, // where the mouse is
  drag: null,
  due: false,
  colors: new Map(), // by task
};

function colorOf(task) {
  if (!timeline.colors.has(task)) timeline.colors.set(task, COLORS[timeline.colors.size % COLORS.length]);
  return timeline.colors.get(task);
}

function now() {
  return run.snapshot ? run.snapshot.time : 0;
}

function beginning() {
  return run.snapshot ? run.snapshot.started : 0;
}

// Return the time at the left and at the right of the timeline; what is shorter than it begins at its left.
function shown() {
  const end = timeline.end ?? Math.max(now(), Math.min(now(), beginning()) + timeline.span);
  return [end - timeline.span, end];
}

function chooseRows() {
  const words = $("filter").value.trim().toLowerCase();
  const workers = run.snapshot?.workers ?? [];
  timeline.rows = workers.filter(
    (worker) => !words || worker.node.toLowerCase().includes(words) || worker.name.startsWith(words),
  );
  timeline.chosen = Math.min(timeline.chosen, timeline.rows.length - 1);
}

function rowHeight() {
  return Math.max(5, Math.min(15, Math.floor((MOST_HEIGHT - AXIS) / Math.max(1, timeline.rows.length))));
}

// Return the index of the first segment of *segments* that ends after *time*.
function firstAfter(segments, time) {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle][PART.END] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

function redraw() {
  if (timeline.due) return;
  timeline.due = true;
  requestAnimationFrame(() => {
    timeline.due = false;
    draw();
  });
}

function draw() {
  const box = $("timeline");
  const row = rowHeight();
  const height = AXIS + row * timeline.rows.length;
  const seen = Math.max(AXIS + row, Math.min(height, MOST_HEIGHT));
  box.style.height = `${seen + 2}px`;
  $("rows").style.height = `${seen}px`;
  $("height").style.height = `${Math.max(0, height - seen)}px`;
  const { drawing, width } = context($("rows"), seen);
  const [begin, end] = shown();
  const scale = (width - ROW_NAMES) / timeline.span;
  const colors = {
    starting: style("--line"),
    waiting: style("--waiting"),
    idle: style("--idle"),
    ended: style("--idle"),
    dead: style("--dead"),
  };
  const [text, faint] = [style("--text"), style("--faint")];
  const top = box.scrollTop;
  const first = Math.floor(top / row);
  const last = Math.min(timeline.rows.length, first + Math.ceil(seen / row) + 1);
  drawing.font = "11px system-ui, sans-serif";
  drawing.textBaseline = "middle";
  let named = -Infinity; // where the last name is
  for (let index = first; index < last; index++) {
    const worker = timeline.rows[index];
    const y = AXIS + index * row - top;
    const segments = run.segments.get(worker.name) ?? [];
    let drawn = ROW_NAMES - 1; // the last pixel that has something
    for (let at = firstAfter(segments, begin); at < segments.length; at++) {
      const segment = segments[at];
      if (segment[PART.BEGIN] >= end) break;
      const left = ROW_NAMES + Math.max(0, (segment[PART.BEGIN] - begin) * scale);
      const right = ROW_NAMES + Math.min(timeline.span, segment[PART.END] - begin) * scale;
      if (right < drawn + 0.5) continue; // it would be under what is there
      drawing.fillStyle = segment[PART.STATE] === "busy" ? colorOf(segment[PART.TASK]) : colors[segment[PART.STATE]];
      drawing.fillRect(left, y + 0.5, Math.max(0.7, right - left - (right - left > 4 ? 0.6 : 0)), row - 1);
      drawn = right;
    }
    if (index === timeline.chosen) {
      drawing.strokeStyle = text;
      drawing.strokeRect(ROW_NAMES + 0.5, y + 0.5, width - ROW_NAMES - 1, row - 1);
    }
    const middle = Math.max(y + row / 2, AXIS + 6);
    if (middle - named >= 12 && middle < seen - 4) {
      drawing.fillStyle = faint;
      drawing.fillText(worker.name, 6, middle, ROW_NAMES - 10);
      named = middle;
    }
  }
  drawing.fillStyle = style("--back");
  drawing.fillRect(0, 0, width, AXIS);
  drawing.fillStyle = faint;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400]
    .find((each) => each * scale > 80) ?? 864000;
  for (let tick = Math.ceil((begin - beginning()) / step) * step; tick <= end - beginning(); tick += step) {
    if (tick < -1e-9) continue;
    const x = ROW_NAMES + (beginning() + tick - begin) * scale;
    drawing.fillRect(x, AXIS - 4, 1, 4);
    drawing.fillText(step < 1 ? `${tick.toFixed(1)} s` : clock(tick + 1e-6), x + 3, AXIS / 2);
  }
  showReading();
  document.querySelector("[data-do=follow]").setAttribute("aria-pressed", String(timeline.end === null));
}

// Say what is under the mouse, or what the chosen worker does.
function showReading() {
  const at = timeline.at;
  let worker = timeline.rows[timeline.chosen];
  let time = Math.min(shown()[1], now());
  if (at) {
    worker = timeline.rows[Math.floor((at.y - AXIS + $("timeline").scrollTop) / rowHeight())];
    const scale = ($("rows").clientWidth - ROW_NAMES) / timeline.span;
    time = shown()[0] + (at.x - ROW_NAMES) / scale;
    if (at.y < AXIS || at.x < ROW_NAMES) worker = undefined;
  }
  if (!worker) {
    say($("reading"), " ");
    return;
  }
  const segments = run.segments.get(worker.name) ?? [];
  const segment = segments[Math.min(firstAfter(segments, time - 1e-6), segments.length - 1)];
  const known = segment && segment[PART.BEGIN] <= time;
  let what = "nothing is known of that time";
  if (known) {
    const done = segment[PART.TASKS] > 1 ? `, ${count(segment[PART.TASKS])} tasks` : "";
    const span = seconds(segment[PART.END] - segment[PART.BEGIN]);
    const task = segment[PART.STATE] === "busy" ? segment[PART.TASK] || PROGRAM : segment[PART.TASK];
    what = `${segment[PART.STATE]} ${task}`.trim() + `, ${span} from ${clock(segment[PART.BEGIN] - beginning())}${done}`;
  }
  say($("reading"), `worker ${worker.name} on ${worker.node}: ${what}; ${count(worker.done)} done, ${bytes(worker.memory_bytes)}`);
}

function showLegend() {
  const items = [...[...timeline.colors].slice(0, 12), ["waiting", style("--waiting")], ["idle", style("--idle")]];
  const legend = $("legend");
  while (legend.children.length > items.length) legend.lastChild.remove();
  items.forEach(([name, color], index) => {
    let item = legend.children[index];
    if (!item) {
      item = element("span");
      const square = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      square.setAttribute("aria-hidden", "true");
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      shape.setAttribute("width", "10");
      shape.setAttribute("height", "10");
      square.append(shape);
      item.append(square, element("span"));
      legend.append(item);
    }
    item.firstChild.firstChild.setAttribute("fill", color);
    say(item.lastChild, name || PROGRAM);
  });
}

const MOVES = {
  earlier: () => showUntil(shown()[1] - timeline.span / 4),
  later: () => showUntil(shown()[1] + timeline.span / 4),
  closer: () => zoom(0.5, null),
  wider: () => zoom(2, null),
  all: () => {
    timeline.end = null;
    timeline.span = Math.max(5, now() - beginning());
  },
  follow: () => { timeline.end = null; },
  up: () => choose(-1),
  down: () => choose(1),
};
const KEYS = {
  ArrowLeft: "earlier", ArrowRight: "later", "+": "closer", "=": "closer", "-": "wider", 0: "all", End: "follow",
  ArrowUp: "up", ArrowDown: "down",
};

// Show *factor* times as long a time; what is at *x* pixels, or at the right, stays where it is.
function zoom(factor, x) {
  const part = x === null ? 1 : (x - ROW_NAMES) / ($("rows").clientWidth - ROW_NAMES);
  const time = shown()[0] + timeline.span * part;
  timeline.span = Math.min(10 * 86400, Math.max(0.5, timeline.span * factor));
  if (x !== null || timeline.end !== null) showUntil(time + timeline.span * (1 - part));
}

// Show the time until *end*, but nothing before the run; what comes is followed once its end is shown.
function showUntil(end) {
  const first = beginning() + timeline.span;
  timeline.end = Math.max(end, first) >= now() ? null : Math.max(end, first);
}

function choose(step) {
  timeline.at = null;
  timeline.chosen = Math.max(0, Math.min(timeline.rows.length - 1, timeline.chosen + step));
  const box = $("timeline");
  const row = rowHeight();
  const top = timeline.chosen * row;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + row + AXIS > box.scrollTop + box.clientHeight) box.scrollTop = top + row + AXIS - box.clientHeight;
}

function listen() {
  const box = $("timeline");
  box.addEventListener("keydown", (event) => {
    const move = KEYS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    MOVES[move]();
    redraw();
  });
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => { MOVES[button.dataset.do](); redraw(); });
  }
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, event.clientX - box.getBoundingClientRect().left);
    redraw();
  }, { passive: false });
  box.addEventListener("pointerdown", (event) => {
    timeline.drag = { x: event.clientX, end: shown()[1] };
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointerup", () => { timeline.drag = null; });
  box.addEventListener("pointercancel", () => { timeline.drag = null; });
  box.addEventListener("pointermove", (event) => {
    const place = box.getBoundingClientRect();
    timeline.at = { x: event.clientX - place.left, y: event.clientY - place.top };
    if (timeline.drag && Math.abs(event.clientX - timeline.drag.x) > 2) {
      const moved = ((timeline.drag.x - event.clientX) * timeline.span) / ($("rows").clientWidth - ROW_NAMES);
      showUntil(timeline.drag.end + moved);
    }
    redraw();
  });
  box.addEventListener("pointerleave", () => { timeline.at = null; redraw(); });
  box.addEventListener("scroll", redraw);
  $("filter").addEventListener("input", () => { chooseRows(); redraw(); });
  window.addEventListener("resize", () => { showCharts(); redraw(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { showLegend(); showCharts(); redraw(); });
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
}

// ---- logs

async function search() {
  const text = $("text").value;
  say($("searched"), "searching...");
  let answer;
  try {
    answer = await ask(`logs.json?text=${encodeURIComponent(text)}`);
  } catch (error) {
    answer = { problem: error.message };
  }
  if (answer.problem) {
    $("found").replaceChildren();
    say($("searched"), answer.problem);
    return;
  }
  const files = answer.files.map((file) => {
    if (file.problem) return `${file.path}: ${file.problem}`;
    return file.size == null ? file.path : `${file.path}: ${bytes(file.size - file.begin)} of ${bytes(file.size)}`;
  });
  const lines = text ? `${count(answer.lines.length)}${answer.is_all ? "" : " last"} lines, the last first; searched: ` : "name a text; files: ";
  say($("searched"), files.length ? lines + files.join("; ") : "no file of what this run prints is known: it went to a terminal, or has not begun");
  $("found").replaceChildren(...answer.lines.map((line) => {
    const item = element("li");
    const file = answer.files.length > 1 ? line.path.split("/").at(-1) : "";
    const where = [file, line.number].filter(Boolean).join(":");
    item.append(element("span", where, "where"), ...marked(line.text, text));
    return item;
  }));
}

// Return *line* as nodes, with *text* marked wherever it is.
function marked(line, text) {
  const parts = [];
  const [low, wanted] = [line.toLowerCase(), text.toLowerCase()];
  let done = 0;
  for (let at = low.indexOf(wanted); wanted && at >= 0; at = low.indexOf(wanted, done)) {
    parts.push(line.slice(done, at), element("mark", line.slice(at, at + wanted.length)));
    done = at + wanted.length;
  }
  parts.push(line.slice(done));
  return parts;
}

// ---- the conversation with the server

async function ask(what) {
  const response = await fetch(what, { cache: "no-store", credentials: "same-origin" });
  if (!response.ok) throw new Error(`${response.status}: ${(await response.text()).trim()}`);
  return response.json();
}

function take(news) {
  const snapshot = news.snapshot;
  if (snapshot && (snapshot.run !== run.name || news.look < run.look)) {
    run.segments.clear();
    run.points = [];
    timeline.colors.clear();
    const again = run.name !== null;
    run.name = snapshot.run;
    if (again) {
      run.look = 0; // what is new since the look of another run is not all
      return false;
    }
  }
  if (!snapshot || news.look === run.look) return true;
  run.look = news.look;
  run.snapshot = snapshot;
  const most = Math.max(20, Math.floor(SEGMENTS_OF_ALL / Math.max(1, snapshot.workers.length)));
  for (const [worker, changed] of Object.entries(news.segments)) {
    const segments = run.segments.get(worker) ?? [];
    if (segments.length && segments.at(-1)[PART.BEGIN] === changed[0][PART.BEGIN]) segments.pop(); // it goes on
    segments.push(...changed);
    if (segments.length > most) segments.splice(0, segments.length - most);
    run.segments.set(worker, segments);
    for (const segment of changed) if (segment[PART.STATE] === "busy") colorOf(segment[PART.TASK]);
  }
  run.points.push(...news.points);
  run.points.splice(0, Math.max(0, run.points.length - MOST_POINTS));
  show(snapshot);
  return true;
}

function show(snapshot) {
  showHead(snapshot);
  showTotals(snapshot);
  showWaits(snapshot.waits);
  showCharts();
  chooseRows();
  showLegend();
  functions.show(snapshot.functions);
  nodes.show(snapshot.nodes);
  failures.show(snapshot.failures);
  redraw();
}

async function poll() {
  let pause = POLL;
  try {
    const news = await ask(`snapshot.json?since=${run.look}`);
    if (!take(news)) pause = 0;
    say($("problem"), news.problem || (run.snapshot ? "" : "nothing is known of this run yet"));
    if (pause && (document.hidden || run.snapshot?.state === "ended")) pause = POLL_HIDDEN;
  } catch (error) {
    say($("problem"), `no answer from scoop-hpc web (${error.message}): has it ended?`);
    pause = POLL_HIDDEN;
  }
  setTimeout(poll, pause);
}

listen();
poll();
