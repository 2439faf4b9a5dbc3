"use strict";
// The scatter, its controls and the table of pareto.html.  Numbers come as data; nothing is predicted here.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byName = Object.fromEntries(data.axes.map((axis) => [axis.name, axis]));
  const get = (id) => document.getElementById(id);
  const chart = get("chart"), tip = get("tip"), plot = get("plot");
  const controls = { x: get("axis-x"), y: get("axis-y"), colour: get("colour"), fits: get("fits") };
  const SVG = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 66, right: 22, top: 18, bottom: 46 };
  let active = null;

  // --- Scales

  const nice = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 5, 10].find((factor) => power * factor >= value * 0.999);
  };
  const format = (value) => {
    if (value === null || value === undefined) return "";
    return value.toLocaleString("en-US", { maximumSignificantDigits: Math.abs(value) < 1000 ? 4 : 15, maximumFractionDigits: 2 });
  };
  const compact = (value) =>
    value >= 1e6 ? `${format(value / 1e6)}M` : value >= 1e4 ? `${format(value / 1e3)}k` : format(value);

  // Values far apart are drawn by their logarithms; zero among them keeps an axis linear.
  function makeScale(axis, values, from, to) {
    const low = Math.min(...values), high = Math.max(...values);
    const reach = axis.limit && axis.limit <= high * 3 && data.points.some((p) => p[axis.name] > axis.limit * 0.3);
    const top = reach ? Math.max(high, axis.limit) : high;
    const log = low > 0 && top / low > 25;
    let begin, end, ticks = [];
    if (log) {
      [begin, end] = [Math.log10(low) - 0.06, Math.log10(top) + 0.06];
      const factors = end - begin > 3 ? [1] : end - begin > 1.6 ? [1, 3] : [1, 2, 5];
      for (let power = Math.floor(begin); power <= end; power += 1)
        for (const factor of factors) {
          const value = factor * 10 ** power;
          if (Math.log10(value) >= begin && Math.log10(value) <= end) ticks.push(value);
        }
    } else {
      const room = (top - low || Math.abs(top) || 1) * 0.06;
      [begin, end] = [Math.max(low - room, low >= 0 ? Math.min(low, 0) : -Infinity), top + room];
      if (low >= 0 && low < top / 3) begin = Math.min(0, begin);
      if (low >= 0 && begin <= 0) begin = -room * 0.5;
      const step = nice((end - begin) / Math.max(2, Math.floor(Math.abs(to - from) / 90)));
      for (let tick = Math.ceil(begin / step) * step; tick <= end; tick += step) ticks.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
    }
    const place = (value) => from + (((log ? Math.log10(value) : value) - begin) / (end - begin || 1)) * (to - from);
    return { place, ticks, shown: (value) => (!log || value > 0) && (place(value) - from) * (place(value) - to) <= 0 };
  }

  // --- Drawing

  function add(parent, tag, attributes, text) {
    const found = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    if (text !== undefined) found.textContent = text;
    parent.append(found);
    return found;
  }

  const visible = () => data.points.filter((p) => !controls.fits.checked || p.fits);

  function draw() {
    const x = byName[controls.x.value], y = byName[controls.y.value];
    const width = Math.max(plot.clientWidth, 280), height = Math.round(Math.min(Math.max(width * 0.56, 320), 540));
    const points = visible().filter((p) => p[x.name] !== null && p[y.name] !== null);
    chart.replaceChildren();
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.setAttribute("height", height);
    get("nothing").hidden = points.length > 0;
    if (!points.length) return legend(null);
    const values = (axis) => points.flatMap((p) => [p[axis.name], measured(p, axis)]).filter((v) => v !== null);
    const bottom = height - MARGIN.bottom, right = width - MARGIN.right;
    const across = makeScale(x, values(x), MARGIN.left, right), up = makeScale(y, values(y), bottom, MARGIN.top);
    for (const tick of across.ticks) {
      add(chart, "line", { x1: across.place(tick), x2: across.place(tick), y1: MARGIN.top, y2: bottom, class: "grid" });
      add(chart, "text", { x: across.place(tick), y: bottom + 17, class: "tick", "text-anchor": "middle" }, compact(tick));
    }
    for (const tick of up.ticks) {
      add(chart, "line", { x1: MARGIN.left, x2: right, y1: up.place(tick), y2: up.place(tick), class: "grid" });
      add(chart, "text", { x: MARGIN.left - 8, y: up.place(tick) + 4, class: "tick", "text-anchor": "end" }, compact(tick));
    }
    add(chart, "text", { x: (MARGIN.left + right) / 2, y: height - 8, class: "axis", "text-anchor": "middle" }, x.label);
    const turned = `rotate(-90) translate(${-(MARGIN.top + bottom) / 2} 14)`;
    add(chart, "text", { transform: turned, class: "axis", "text-anchor": "middle" }, y.label);
    limits(x, across, y, up, right, bottom);
    front(points, x, y, across, up);
    const shade = colouring(points);
    // Of points on top of each other, those that fit and the chosen one are above.
    const order = [...points].sort((a, b) => a.chosen - b.chosen || a.fits - b.fits);
    for (const p of order) dot(p, x, y, across, up, shade, points.length > 120 ? 4.5 : 6);
    for (const p of points) found(p, x, y, across, up);
    legend(shade);
    if (active && points.includes(active)) show(active); else hide();
  }

  function limits(x, across, y, up, right, bottom) {
    if (x.limit && across.shown(x.limit)) {
      const at = across.place(x.limit), left = at > (MARGIN.left + right) / 2;
      add(chart, "line", { x1: at, x2: at, y1: MARGIN.top, y2: bottom, class: "limit" });
      add(chart, "text", { x: at + (left ? -6 : 6), y: bottom - 8, class: "limittext", "text-anchor": left ? "end" : "start" },
        `${format(x.limit)} ${x.short} of the device`);
    }
    if (y.limit && up.shown(y.limit)) {
      const at = up.place(y.limit);
      add(chart, "line", { x1: MARGIN.left, x2: right, y1: at, y2: at, class: "limit" });
      add(chart, "text", { x: MARGIN.left + 8, y: at + (at < MARGIN.top + 24 ? 16 : -6), class: "limittext" },
        `${format(y.limit)} ${y.short} of the device`);
    }
  }

  // What is best on these two axes, as steps from one point to the next.
  function front(points, x, y, across, up) {
    const sign = (axis) => (axis.better === "high" ? -1 : 1);
    const key = (p) => [p[x.name] * sign(x), p[y.name] * sign(y)];
    const sorted = [...points].sort((a, b) => key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1]);
    const best = [];
    for (const p of sorted) if (!best.length || key(p)[1] < key(best.at(-1))[1]) best.push(p);
    if (x.name === y.name || best.length < 2) return;
    let path = "";
    best.forEach((p, index) => {
      const [px, py] = [across.place(p[x.name]), up.place(p[y.name])];
      path += index ? `H${px}V${py}` : `M${px} ${py}`;
    });
    add(chart, "path", { d: path, class: "front" });
  }

  const measured = (p, axis) => (p.found && p.found[axis.name] !== undefined ? p.found[axis.name] : null);

  // Where synthesis found a point, and how far that is from where it was predicted.
  function found(p, x, y, across, up) {
    const [px, py] = [across.place(p[x.name]), up.place(p[y.name])];
    const [mx, my] = [x, y].map((axis) => measured(p, axis));
    if (mx === null && my === null) return;
    const [qx, qy] = [mx === null ? px : across.place(mx), my === null ? py : up.place(my)];
    add(chart, "line", { x1: px, y1: py, x2: qx, y2: qy, class: "deviation" });
    for (const kind of ["measured halo", "measured"]) add(chart, "path", { d: `M${qx - 4.5} ${qy - 4.5}l9 9m0 -9l-9 9`, class: kind });
  }

  function dot(p, x, y, across, up, shade, r) {
    const [cx, cy] = [across.place(p[x.name]), up.place(p[y.name])];
    if (p.chosen) add(chart, "circle", { cx, cy, r: r + 6, class: "chosen" });
    const label = `${p.title}: ${format(p[x.name])} ${x.short}, ${format(p[y.name])} ${y.short}`;
    const shape = add(chart, "circle", { cx, cy, r, tabindex: 0, role: "img", "aria-label": label, "data-point": p.number });
    shape.setAttribute("class", p.fits ? "point" : "point unfit");
    if (shade) shape.style.setProperty("--shade", shade.of(p));
    for (const event of ["mouseenter", "focus", "click"]) shape.addEventListener(event, () => show(p));
    shape.addEventListener("click", () => reveal(get(`row-${p.number}`)));
    for (const event of ["mouseleave", "blur"]) shape.addEventListener(event, hide);
  }

  // --- Colours

  function colouring(points) {
    const name = controls.colour.value;
    if (name === "model") {
      const models = [...new Set(data.points.map((p) => p.model))];
      return { models, of: (p) => `var(--c${models.indexOf(p.model) % 8})` };
    }
    const axis = byName[name];
    const values = axis ? points.map((p) => p[name]).filter((value) => value !== null) : [];
    if (!values.length) return null;
    const low = Math.min(...values), high = Math.max(...values);
    const log = low > 0 && high / low > 25, at = (value) => (log ? Math.log(value) : value);
    const share = (value) => (high > low ? (at(value) - at(low)) / (at(high) - at(low)) : 0.5);
    const mix = (value) => `color-mix(in oklab, var(--low), var(--high) ${(100 * share(value)).toFixed(1)}%)`;
    return { axis, low, high, of: (p) => (p[name] === null ? "var(--muted)" : mix(p[name])) };
  }

  function legend(shade) {
    const box = get("scale");
    box.replaceChildren();
    const put = (text, kind, colour) => {
      const item = document.createElement("span");
      item.className = kind;
      if (colour) item.style.background = colour;
      item.textContent = text;
      box.append(item);
    };
    if (!shade) return;
    if (shade.models) return shade.models.forEach((model, n) => { put("", "dot", `var(--c${n % 8})`); put(model, ""); });
    put(`${shade.axis.short} ${format(shade.low)}`, "");
    put("", "ramp");
    put(format(shade.high), "");
  }

  // --- The box beside a point

  function row(body, name, ...cells) {
    const line = body.insertRow();
    const head = document.createElement("th");
    head.textContent = name;
    line.append(head);
    for (const cell of cells) line.insertCell().textContent = cell;
  }

  function fill(p) {
    tip.replaceChildren();
    const title = document.createElement("b");
    title.textContent = p.chosen ? `${p.title} (chosen)` : p.title;
    const list = document.createElement("ul");
    for (const text of p.lines) list.append(Object.assign(document.createElement("li"), { textContent: text }));
    const body = document.createElement("table");
    const head = p.found ? ["predicted", "measured", "error"] : ["predicted", p.margin ? "within" : ""];
    row(body, "", ...head);
    for (const entry of p.facts) row(body, ...entry);
    tip.append(title, list, body);
    for (const text of p.notes) tip.append(Object.assign(document.createElement("p"), { textContent: text }));
  }

  function show(p) {
    active = p;
    const dot = chart.querySelector(`[data-point="${p.number}"]`);
    for (const other of document.querySelectorAll("tr.active, circle.active")) other.classList.remove("active");
    get(`row-${p.number}`).classList.add("active");
    if (!dot) return;
    dot.classList.add("active");
    fill(p);
    tip.hidden = false;
    const frame = plot.getBoundingClientRect(), at = dot.getBoundingClientRect();
    const [x, y] = [at.left + at.width / 2 - frame.left, at.top + at.height / 2 - frame.top];
    const beside = x + 16 + tip.offsetWidth <= frame.width ? x + 16 : x - 16 - tip.offsetWidth;
    const fits = beside >= 0;
    tip.style.left = `${fits ? beside : Math.max(0, Math.min(x - tip.offsetWidth / 2, frame.width - tip.offsetWidth))}px`;
    tip.style.top = `${fits ? Math.max(0, Math.min(y - tip.offsetHeight / 2, frame.height - tip.offsetHeight)) : y + 16}px`;
  }

  function hide() {
    active = null;
    tip.hidden = true;
    for (const other of document.querySelectorAll("tr.active, circle.active")) other.classList.remove("active");
  }

  // --- The table

  // Scrolls the table alone, not the page.
  function reveal(line) {
    const table = get("points");
    table.parentNode.scrollTop = line.offsetTop - table.tHead.offsetHeight - 60;
  }

  function sort(heading, index) {
    const body = get("points").tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (line) => {
      const text = line.cells[index].dataset.value;
      return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
    };
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
    const lines = [...body.rows].sort((a, b) => {
      const [first, second] = [value(a), value(b)];
      // What is not known stays at the end, either way.
      if (first === null || second === null) return (first === null) - (second === null);
      return compare(first, second);
    });
    body.append(...lines);
  }

  function filter() {
    const shown = new Set(visible().map((p) => p.number));
    for (const line of get("points").tBodies[0].rows) line.hidden = !shown.has(Number(line.dataset.point));
    get("count").textContent = `${shown.size} of ${data.points.length} points`;
    draw();
  }

  [...get("points").tHead.rows[0].cells].forEach((heading, index) => {
    heading.querySelector("button").addEventListener("click", () => sort(heading, index));
  });
  for (const line of get("points").tBodies[0].rows) {
    const p = data.points.find((found) => found.number === Number(line.dataset.point));
    line.addEventListener("mouseenter", () => show(p));
    line.addEventListener("mouseleave", hide);
  }
  for (const name of ["x", "y", "colour"]) controls[name].addEventListener("change", draw);
  controls.fits.addEventListener("change", filter);
  new ResizeObserver(draw).observe(plot);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  filter();
})();
