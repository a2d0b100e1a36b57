"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const points = data.points;
  const CANNOT = "cannot tell";
  const LEVELS = ["low", "medium", "high"];
  const LEVEL_KEYS = [",", ".", "-"];
  const CLASS_KEYS = [..."1234567890qwertyzasdfgxvbnmpoijl"];
  const COLUMNS = ["sample_id", "point_id", "x", "y", "longitude", "latitude", "reference", "confidence", "interpreter", "comment"];
  const PREFIX = `c2seg-label:${data.sample_id}:`;

  let interpreter = "";
  let labels = new Map(); // point id -> {reference, confidence, comment}
  let place = 0;
  let shown = -1; // the place that is on the screen
  const narrow = window.matchMedia("(max-width: 860px)"); // there the pictures stand above the classes
  let undone = []; // what can be undone: {place, before: [[id, label or null], ...]}

  // What is entered stays in this browser, under the sample and the interpreter's name.
  const storage = (() => {
    try {
      localStorage.setItem(PREFIX, "");
      localStorage.removeItem(PREFIX);
      return localStorage;
    } catch {
      byId("no-storage").hidden = false;
      return null;
    }
  })();

  function save() {
    if (!storage) return;
    try {
      storage.setItem(PREFIX + interpreter, JSON.stringify({ place, labels: [...labels] }));
    } catch {
      byId("no-storage").hidden = false;
    }
  }

  function stored(name) {
    const text = storage && storage.getItem(PREFIX + name);
    if (!text) return { place: 0, labels: [] };
    try {
      const content = JSON.parse(text);
      return { place: Number(content.place) || 0, labels: Array.isArray(content.labels) ? content.labels : [] };
    } catch {
      return { place: 0, labels: [] };
    }
  }

  function knownNames() {
    if (!storage) return [];
    const keys = Array.from({ length: storage.length }, (_, k) => storage.key(k));
    return keys.filter((key) => key.startsWith(PREFIX) && key.length > PREFIX.length).map((key) => key.slice(PREFIX.length)).sort();
  }

  function load() {
    const content = stored(interpreter);
    const ids = new Set(points.map((point) => point.id));
    labels = new Map(content.labels.filter(([id]) => ids.has(id)));
    place = Math.min(Math.max(content.place, 0), points.length - 1);
  }

  // Labels.
  const isDone = (point) => Boolean(labels.get(point.id)?.reference);
  const done = () => points.filter(isDone).length;

  function change(entries) {
    undone.push({ place, before: entries.map(([id]) => [id, labels.get(id) ?? null]) });
    put(entries);
  }

  function put(entries) {
    for (const [id, label] of entries) {
      if (label && (label.reference || label.comment || label.confidence)) labels.set(id, label);
      else labels.delete(id);
    }
    save();
  }

  const label = () => labels.get(points[place].id) ?? { reference: "", confidence: "", comment: "" };

  function choose(name) {
    const point = points[place];
    change([[point.id, { ...label(), reference: name, comment: byId("comment").value.trim() }]]);
    say(`Point ${point.id}: ${name}.`);
    if (!toOpen()) {
      say(`Point ${point.id}: ${name}. All ${points.length} points are labeled: export the CSV.`);
      show();
    }
  }

  function sure(level) {
    const before = label();
    change([[points[place].id, { ...before, confidence: before.confidence === level ? "" : level }]]);
    show();
  }

  function keepComment() {
    const text = byId("comment").value.trim();
    if (text !== (label().comment ?? "")) change([[points[place].id, { ...label(), comment: text }]]);
    showState();
  }

  function undo() {
    const step = undone.pop();
    if (!step) return say("There is nothing to undo.");
    place = step.place;
    put(step.before);
    show();
    say(`Undone: point ${points[place].id}.`);
  }

  // Points.
  function go(to) {
    keepComment();
    place = Math.min(Math.max(to, 0), points.length - 1);
    save();
    show();
  }

  function toOpen() {
    for (let step = 1; step <= points.length; step += 1) {
      const candidate = (place + step) % points.length;
      if (!isDone(points[candidate])) {
        place = candidate;
        save();
        show();
        return true;
      }
    }
    return false;
  }

  // Pictures.
  function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  function drawn(name, attributes, className) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.setAttribute("class", className);
    return node;
  }

  function marks(scale) {
    const side = scale.px;
    const middle = side / 2;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
    svg.setAttribute("aria-hidden", "true");
    const add = (name, attributes, className = "") => {
      svg.append(drawn(name, attributes, "under"), drawn(name, attributes, `over ${className}`));
    };
    const square = (length) => ({ x: middle - length / 2, y: middle - length / 2, width: length, height: length });
    if (data.unit_px > 1) add("rect", square(Math.sqrt(data.unit_px)), "unit");
    if (data.tolerance_px) add("circle", { cx: middle, cy: middle, r: data.tolerance_px }, "tolerance");
    if (scale === data.scales[0]) add("rect", square(1));
    else {
      add("rect", square(data.scales[0].px), "near");
      const gap = side / 40;
      const tick = side / 16;
      const lines = [[-1, 0], [1, 0], [0, -1], [0, 1]];
      const path = lines.map(([x, y]) => `M${middle + x * gap} ${middle + y * gap}L${middle + x * tick} ${middle + y * tick}`);
      add("path", { d: path.join("") });
    }
    return svg;
  }

  function showChips(point) {
    const source = document.querySelector(`script[data-chips="${point.id}"]`);
    const uris = source ? JSON.parse(source.textContent) : [];
    const figures = [];
    data.layers.forEach((layer, k) => {
      data.scales.forEach((scale, s) => {
        const uri = uris[k * data.scales.length + s];
        const title = `${layer}, ${scale.text}`;
        const short = `${layer.split(" (")[0]}, ${scale.text}`;
        const button = element("button", { type: "button", title: "Enlarge or make small" });
        if (uri) {
          const image = element("img", { src: uri, alt: `${title}, around point ${point.id}`, className: scale.smooth[k] ? "smooth" : "" });
          button.append(image);
        }
        button.append(marks(scale));
        const figure = element("figure", { className: "chip" }, button, element("figcaption", { textContent: uri ? short : `${short}: no image here`, title }));
        button.addEventListener("click", () => figure.classList.toggle("large"));
        figures.push(figure);
      });
    });
    byId("chips").replaceChildren(...figures);
  }

  // Everything that is shown.
  function show() {
    const point = points[place];
    byId("point-title").textContent = `Point ${place + 1} of ${points.length}`;
    const round = (text, digits) => Number(text).toFixed(digits);
    byId("place").textContent = point.longitude
      ? `${round(point.latitude, 6)}° N, ${round(point.longitude, 6)}° E`
      : `x ${round(point.x, 1)}, y ${round(point.y, 1)}`;
    showChips(point);
    byId("comment").value = label().comment ?? "";
    showState();
    if (shown !== place && narrow.matches) byId("point-title").scrollIntoView();
    shown = place;
  }

  function showState() {
    const now = label();
    for (const button of byId("classes").children) button.setAttribute("aria-pressed", String(button.dataset.name === now.reference));
    for (const button of byId("sure").children) button.setAttribute("aria-pressed", String(button.dataset.level === now.confidence));
    byId("current").textContent = now.reference ? `Labeled: ${now.reference}` : "Not labeled yet";
    const count = done();
    byId("count").textContent = `${count} of ${points.length} labeled`;
    byId("bar").style.width = `${(100 * count) / points.length}%`;
    byId("back").disabled = place === 0;
    byId("next").disabled = place === points.length - 1;
    byId("undo").disabled = undone.length === 0;
  }

  function say(text) {
    byId("said").textContent = text;
  }

  // CSV out and in.
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

  function csv() {
    const rows = points.map((point) => {
      const entry = labels.get(point.id) ?? {};
      const cells = [data.sample_id, String(point.id), point.x, point.y, point.longitude, point.latitude];
      return [...cells, entry.reference ?? "", entry.confidence ?? "", entry.reference ? interpreter : "", entry.comment ?? ""].map(cell).join(",");
    });
    return [COLUMNS.join(","), ...rows, ""].join("\r\n");
  }

  function exportFile() {
    keepComment();
    const safe = interpreter.replace(/[^\p{L}\p{N}_-]+/gu, "-") || "labels";
    const link = element("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: `${data.name}-${safe}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`Exported ${done()} labels as ${link.download}.`);
  }

  function parse(text) {
    const separator = text.split("\n", 1)[0].includes(";") ? ";" : ",";
    const rows = [[""]];
    let quoted = false;
    for (let k = 0; k < text.length; k += 1) {
      const letter = text[k];
      const row = rows[rows.length - 1];
      if (quoted && letter === '"' && text[k + 1] === '"') { row[row.length - 1] += '"'; k += 1; }
      else if (letter === '"') quoted = !quoted;
      else if (!quoted && letter === separator) row.push("");
      else if (!quoted && letter === "\n") rows.push([""]);
      else if (quoted || letter !== "\r") row[row.length - 1] += letter;
    }
    return rows.filter((row) => row.some((value) => value !== ""));
  }

  function readLabels(text) {
    const [header, ...rows] = parse(text.replace(/^\ufeff/, ""));
    const at = Object.fromEntries((header ?? []).map((name, k) => [name.trim(), k]));
    if (!("sample_id" in at && "point_id" in at && "reference" in at)) throw new Error("this is no CSV of a sample");
    const names = new Map([...data.classes.map((item) => item.name), CANNOT].map((name) => [name.toLowerCase(), name]));
    const ids = new Set(points.map((point) => point.id));
    const entries = [];
    for (const row of rows) {
      const value = (name) => (row[at[name]] ?? "").trim();
      if (value("sample_id") !== data.sample_id) throw new Error("it is of another sample");
      if (!value("reference")) continue;
      const id = Number(value("point_id"));
      if (!ids.has(id)) throw new Error(`point ${value("point_id")} is not in this sample`);
      const reference = names.get(value("reference").toLowerCase());
      if (!reference) throw new Error(`${value("reference")} is no class of this sample`);
      if (value("interpreter") && value("interpreter") !== interpreter) {
        throw new Error(`it holds labels of ${value("interpreter")}: change to this name first`);
      }
      const level = LEVELS.includes(value("confidence")) ? value("confidence") : "";
      entries.push([id, { reference, confidence: level, comment: value("comment") }]);
    }
    return entries;
  }

  async function importFile() {
    const [file] = byId("file").files;
    byId("file").value = "";
    if (!file) return;
    try {
      const entries = readLabels(await file.text());
      if (entries.length) change(entries);
      show();
      say(`Imported ${entries.length} labels from ${file.name}.`);
    } catch (error) {
      say(`${file.name} was not imported: ${error.message}.`);
    }
  }

  // Start, and change of the interpreter.
  function begin(name) {
    interpreter = name;
    undone = [];
    load();
    try { sessionStorage.setItem(PREFIX, name); } catch { /* the name is asked again after a reload */ }
    byId("who").textContent = name;
    byId("who-line").hidden = false;
    byId("start").hidden = true;
    byId("work").hidden = false;
    say("");
    if (isDone(points[place]) && done() < points.length) toOpen();
    show();
    byId("point-title").focus();
  }

  function ask() {
    try { sessionStorage.removeItem(PREFIX); } catch { /* nothing was stored */ }
    interpreter = "";
    byId("who-line").hidden = true;
    byId("work").hidden = true;
    byId("start").hidden = false;
    const names = knownNames();
    byId("known").hidden = names.length === 0;
    byId("known-list").replaceChildren(...names.map((name) => {
      const count = stored(name).labels.filter(([, entry]) => entry.reference).length;
      const button = element("button", { type: "button", textContent: `${name}: ${count} of ${points.length} labeled` });
      button.addEventListener("click", () => begin(name));
      return element("li", {}, button);
    }));
    byId("name").value = "";
    byId("name").focus();
  }

  function classButtons() {
    const buttons = data.classes.map((item, k) => {
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = item.color;
      return [item.name, CLASS_KEYS[k] ?? "", swatch, ""];
    });
    buttons.push([CANNOT, "c", element("i", { className: "swatch" }), "none"]);
    byId("classes").append(...buttons.map(([name, key, swatch, className]) => {
      const button = element("button", { type: "button", className }, swatch, element("span", { textContent: name }));
      if (key) button.append(element("kbd", { textContent: key }));
      if (key) button.setAttribute("aria-keyshortcuts", key);
      button.dataset.name = name;
      button.addEventListener("click", () => choose(name));
      return button;
    }));
    byId("sure").append(...LEVELS.map((level, k) => {
      const button = element("button", { type: "button" }, `${level} `, element("kbd", { textContent: LEVEL_KEYS[k] }));
      button.dataset.level = level;
      button.setAttribute("aria-keyshortcuts", LEVEL_KEYS[k]);
      button.addEventListener("click", () => sure(level));
      return button;
    }));
  }

  function onKey(event) {
    if (!interpreter || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target === byId("comment")) {
      if (event.key === "Enter" || event.key === "Escape") byId("point-title").focus();
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey) {
      if (key === "z") { event.preventDefault(); undo(); }
      return;
    }
    if (key === "Enter" && event.target.closest("button, summary, input")) return;
    const index = CLASS_KEYS.indexOf(key);
    const actions = {
      ArrowLeft: () => go(place - 1),
      ArrowRight: () => go(place + 1),
      Enter: openNext,
      c: () => choose(CANNOT),
      u: undo,
      k: () => byId("comment").focus(),
    };
    if (actions[key]) { event.preventDefault(); actions[key](); }
    else if (LEVEL_KEYS.includes(key)) sure(LEVELS[LEVEL_KEYS.indexOf(key)]);
    else if (index >= 0 && index < data.classes.length) choose(data.classes[index].name);
  }

  function openNext() {
    keepComment();
    if (!toOpen()) say("All points are labeled.");
  }

  classButtons();
  byId("marks").textContent = data.marks;
  byId("chips").style.setProperty("--rows-aspect", String(2 / data.layers.length));
  byId("start-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("name").value.trim();
    byId("name-error").hidden = Boolean(name);
    byId("name-error").textContent = name ? "" : "Give a name; initials will do.";
    if (name) begin(name);
  });
  byId("back").addEventListener("click", () => go(place - 1));
  byId("next").addEventListener("click", () => go(place + 1));
  byId("open").addEventListener("click", openNext);
  byId("undo").addEventListener("click", undo);
  byId("switch").addEventListener("click", () => { keepComment(); ask(); });
  byId("export").addEventListener("click", exportFile);
  byId("import").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", importFile);
  byId("comment").addEventListener("change", keepComment);
  document.addEventListener("keydown", onKey);
  window.addEventListener("pagehide", () => { if (interpreter) keepComment(); });
  // Another tab of the same interpreter: what is entered there counts here, too.
  window.addEventListener("storage", (event) => {
    if (interpreter && event.key === PREFIX + interpreter) {
      const here = place;
      load();
      place = here;
      show();
    }
  });

  let resumed = null;
  try { resumed = sessionStorage.getItem(PREFIX); } catch { /* it is asked */ }
  if (resumed) begin(resumed);
  else ask();
  document.documentElement.dataset.ready = "yes";
})();
