"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const RIGHT = "#47525b", WRONG = "#ff7a3c", DIM = "#6d4a3c", UNKNOWN = "#7d7d7d", LEVELS = 50, NODATA = 255;
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const pixel = (hex) => { const [r, g, b] = rgb(hex); return (255 << 24 | b << 16 | g << 8 | r) >>> 0; };
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function levelColors() {
    const table = new Uint32Array(256);
    for (let k = 0; k <= LEVELS; k++) {
      const at = k / LEVELS * (CIVIDIS.length - 1), i = Math.min(Math.floor(at), CIVIDIS.length - 2), f = at - i;
      const a = rgb(CIVIDIS[i]), b = rgb(CIVIDIS[i + 1]);
      const [r, g, bl] = a.map((v, c) => Math.round(v + f * (b[c] - v)));
      table[k] = (255 << 24 | bl << 16 | g << 8 | r) >>> 0;
    }
    return table;
  }

  class Viewer {
    constructor(root, view) {
      this.root = root;
      this.view = view;
      this.canvas = root.querySelector("canvas");
      this.context = this.canvas.getContext("2d");
      this.layers = new Map(view.layers.map((layer) => [layer.key, layer]));
      this.drawn = new Map();
      this.hidden = new Set();
      this.chosen = null;
      this.swipe = 0.5;
      this.mode = "swipe";
      this.pointers = new Map();
      this.selects = { left: root.querySelector("select.left"), right: root.querySelector("select.right") };
      this.palette = root.querySelector("select.palette");
      this.range = root.querySelector(".swiper input");
      this.fillSelects();
      this.bind();
      this.arrange();
    }

    // A wide scene takes no more height than it fills; a narrow one starts side by side.
    arrange() {
      const stage = this.canvas.parentElement, ratio = this.view.height * this.view.aspect / this.view.width;
      const most = Math.min(0.7 * window.innerHeight, 680);
      stage.style.height = `${clamp(stage.clientWidth * ratio * 1.04, Math.min(300, most), most)}px`;
      if (ratio * stage.clientWidth / 2 >= 0.95 * most) {
        this.mode = "beside";
        this.range.disabled = true;
        this.root.querySelector("input[value=beside]").checked = true;
      }
    }

    async start() {
      await Promise.all(this.view.layers.map(async (layer) => {
        if (layer.kind === "image") {
          layer.image = new Image();
          layer.image.src = layer.data;
          await layer.image.decode();
        } else if (layer.data) {
          layer.values = await unpack(layer.data);
        }
        layer.data = null;
      }));
      new ResizeObserver(() => this.resize()).observe(this.canvas);
      this.resize();
      this.root.dataset.ready = "yes";
    }

    fillSelects() {
      for (const [side, select] of Object.entries(this.selects)) {
        for (const layer of this.view.layers) select.add(new Option(layer.title, layer.key));
        select.value = this.view[`${side}_layer`];
        select.addEventListener("change", () => this.draw());
      }
    }

    bind() {
      const on = (selector, event, action) => this.root.querySelectorAll(selector).forEach((e) => e.addEventListener(event, (x) => action(e, x)));
      on("[data-zoom]", "click", (e) => ({ in: () => this.zoomBy(1.5), out: () => this.zoomBy(1 / 1.5), fit: () => this.fit() })[e.dataset.zoom]());
      on("input[type=radio]", "change", (e) => { this.mode = e.value; this.range.disabled = e.value !== "swipe"; this.fit(); });
      on("[data-class]", "change", (e) => { this.hidden[e.checked ? "delete" : "add"](Number(e.dataset.class)); this.recolor(); });
      on("[data-all]", "click", (e) => {
        this.root.querySelectorAll("[data-class]").forEach((box) => {
          box.checked = e.dataset.all === "on";
          this.hidden[box.checked ? "delete" : "add"](Number(box.dataset.class));
        });
        this.recolor();
      });
      this.palette.addEventListener("change", () => this.recolor());
      on("[data-save]", "click", () => this.save());
      this.range.addEventListener("input", () => { this.swipe = this.range.value / 100; this.draw(); });
      const c = this.canvas;
      c.addEventListener("pointerdown", (e) => this.press(e));
      c.addEventListener("pointermove", (e) => this.move(e));
      for (const name of ["pointerup", "pointercancel"]) c.addEventListener(name, (e) => { this.pointers.delete(e.pointerId); this.dragging = null; });
      c.addEventListener("wheel", (e) => {
        // The page scrolls over a map that is not in use.
        if (document.activeElement !== c && !e.ctrlKey && !e.metaKey) return;
        e.preventDefault();
        this.zoomBy(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0018)), this.local(e));
      }, { passive: false });
      c.addEventListener("dblclick", (e) => this.zoomBy(2, this.local(e)));
      c.addEventListener("keydown", (e) => this.key(e));
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const far = event.shiftKey ? 200 : 40;
      const actions = {
        ArrowLeft: () => this.pan(far, 0), ArrowRight: () => this.pan(-far, 0), ArrowUp: () => this.pan(0, far), ArrowDown: () => this.pan(0, -far),
        "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), "0": () => this.fit(),
        Escape: () => { document.querySelectorAll("td.chosen").forEach((e) => e.classList.remove("chosen")); this.chosen = null; this.recolor(); },
        ",": () => this.swipeTo(this.swipe - 0.02), ".": () => this.swipeTo(this.swipe + 0.02),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
      this.cross = true;
      this.draw();
      this.read(this.x, this.y);
    }

    local(event) {
      const box = this.canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    }

    press(event) {
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      const at = this.local(event);
      this.pointers.set(event.pointerId, at);
      const onLine = this.mode === "swipe" && Math.abs(at.x - this.swipe * this.width) < 16;
      this.dragging = onLine && this.pointers.size === 1 ? "line" : "map";
    }

    move(event) {
      const at = this.local(event), before = this.pointers.get(event.pointerId);
      this.cross = false;
      if (!before) { this.readAt(at); this.canvas.style.cursor = this.mode === "swipe" && Math.abs(at.x - this.swipe * this.width) < 16 ? "ew-resize" : ""; return; }
      if (this.dragging === "line") this.swipeTo(at.x / this.width);
      else if (this.pointers.size === 2) this.pinch(event.pointerId, before, at);
      else this.pan(at.x - before.x, at.y - before.y);
      this.pointers.set(event.pointerId, at);
      this.draw();
    }

    pinch(id, before, at) {
      const other = [...this.pointers].find(([key]) => key !== id)[1];
      const span = (p) => Math.max(8, Math.hypot(p.x - other.x, p.y - other.y));
      this.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
      this.zoomBy(span(at) / span(before), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
    }

    // The right layer as it is colored now, one pixel of the file for each of its own.
    save() {
      const layer = this.layers.get(this.selects.right.value), canvas = document.createElement("canvas");
      canvas.width = this.view.width;
      canvas.height = this.view.height;
      canvas.getContext("2d").drawImage(this.bitmap(layer), 0, 0, canvas.width, canvas.height);
      const link = document.createElement("a");
      link.download = `${layer.title.replace(/[^\w.-]+/g, "-")}.png`;
      link.href = canvas.toDataURL("image/png");
      link.click();
    }

    swipeTo(share) {
      this.swipe = clamp(share, 0, 1);
      this.range.value = Math.round(this.swipe * 100);
    }

    // Panes: rectangles of the canvas that show the same part of the scene.
    panes() {
      const left = this.layers.get(this.selects.left.value), right = this.layers.get(this.selects.right.value);
      const w = this.width, h = this.height;
      if (this.mode === "swipe") {
        const s = Math.round(this.swipe * w);
        return [{ layer: left, x: 0, y: 0, w, h, clip: [0, 0, s, h] }, { layer: right, x: 0, y: 0, w, h, clip: [s, 0, w - s, h] }];
      }
      if (this.stacked()) {
        const half = h / 2;
        return [left, right].map((layer, k) => ({ layer, x: 0, y: k * half, w, h: half, clip: [0, k * half, w, half] }));
      }
      const half = w / 2;
      return [left, right].map((layer, k) => ({ layer, x: k * half, y: 0, w: half, h, clip: [k * half, 0, half, h] }));
    }

    stacked() {
      const { width, height, aspect } = this.view;
      const scale = (w, h) => Math.min(w / width, h / (height * aspect));
      return scale(this.width, this.height / 2) > scale(this.width / 2, this.height);
    }

    fitScale() {
      const pane = this.panes()[0], margin = 0.97;
      return Math.min(pane.w / this.view.width, pane.h / (this.view.height * this.view.aspect)) * margin;
    }

    fit() {
      this.scale = this.fitScale();
      this.x = this.view.width / 2;
      this.y = this.view.height / 2;
      this.draw();
    }

    resize() {
      const fitted = this.scale === undefined || Math.abs(this.scale / this.fitted - 1) < 1e-6;
      this.width = this.canvas.clientWidth;
      this.height = this.canvas.clientHeight;
      if (!this.width || !this.height) return;
      const density = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(this.width * density);
      this.canvas.height = Math.round(this.height * density);
      this.density = density;
      this.fitted = this.fitScale();
      if (fitted) this.fit(); else this.draw();
    }

    pan(dx, dy) {
      this.x = clamp(this.x - dx / this.scale, 0, this.view.width);
      this.y = clamp(this.y - dy / (this.scale * this.view.aspect), 0, this.view.height);
      this.draw();
    }

    zoomBy(factor, at) {
      const pane = this.panes().find((p) => at && at.x >= p.clip[0] && at.x <= p.clip[0] + p.clip[2] && at.y >= p.clip[1] && at.y <= p.clip[1] + p.clip[3]) || this.panes()[0];
      const dx = at ? at.x - pane.x - pane.w / 2 : 0, dy = at ? at.y - pane.y - pane.h / 2 : 0;
      const fit = this.fitScale(), next = clamp(this.scale * factor, fit * 0.5, Math.max(fit, 1) * 40);
      this.x = clamp(this.x + dx / this.scale - dx / next, 0, this.view.width);
      this.y = clamp(this.y + (dy / this.scale - dy / next) / this.view.aspect, 0, this.view.height);
      this.scale = next;
      this.draw();
    }

    recolor() {
      const colors = this.colors();
      this.root.querySelectorAll("[data-swatch]").forEach((e) => { e.style.background = colors[e.dataset.swatch]; });
      for (const [key, layer] of this.layers) if (layer.kind === "ids" || layer.kind === "difference") this.drawn.delete(key);
      this.draw();
    }

    colors() {
      return this.view.palettes[this.palette.value];
    }

    // The layer as an off-screen canvas, drawn once per coloring.
    bitmap(layer) {
      if (layer.kind === "image") return layer.image;
      if (!this.drawn.has(layer.key)) {
        const canvas = document.createElement("canvas");
        canvas.width = this.view.width;
        canvas.height = this.view.height;
        const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
        const out = new Uint32Array(image.data.buffer);
        if (layer.kind === "difference") this.paintDifference(layer, out);
        else this.paint(layer.values, layer.kind === "level" ? levelColors() : this.classColors(), out);
        context.putImageData(image, 0, 0);
        this.drawn.set(layer.key, canvas);
      }
      return this.drawn.get(layer.key);
    }

    classColors() {
      const table = new Uint32Array(256).fill(pixel(UNKNOWN)), colors = this.colors();
      table[0] = table[NODATA] = 0;
      for (const [id, color] of Object.entries(colors)) table[id] = this.hidden.has(Number(id)) ? 0 : pixel(color);
      return table;
    }

    paint(values, table, out) {
      for (let k = 0; k < out.length; k++) out[k] = table[values[k]];
    }

    paintDifference(layer, out) {
      const [a, b] = layer.of.map((key) => this.layers.get(key).values);
      const right = pixel(RIGHT), wrong = pixel(WRONG), dim = pixel(DIM), chosen = this.chosen;
      for (let k = 0; k < out.length; k++) {
        const t = a[k], p = b[k];
        if (t === 0 || t === NODATA || this.hidden.has(t)) continue;
        if (chosen) out[k] = this.isChosen(t, p) ? wrong : t === p ? right : dim;
        else out[k] = t === p ? right : wrong;
      }
    }

    isChosen(reference, predicted) {
      const [t, p] = this.chosen;
      return reference === t && (p === "other" ? !(predicted in this.view.palettes.default) : predicted === p);
    }

    draw() {
      if (!this.width || this.scale === undefined || !this.ready()) return;
      const c = this.context;
      c.setTransform(this.density, 0, 0, this.density, 0, 0);
      c.clearRect(0, 0, this.width, this.height);
      const panes = this.panes();
      for (const pane of panes) {
        c.save();
        c.beginPath();
        c.rect(...pane.clip);
        c.clip();
        const sx = this.scale, sy = this.scale * this.view.aspect;
        c.imageSmoothingEnabled = sx * this.density < 1;
        c.drawImage(this.bitmap(pane.layer), pane.x + pane.w / 2 - this.x * sx, pane.y + pane.h / 2 - this.y * sy, this.view.width * sx, this.view.height * sy);
        if (this.cross && document.activeElement === this.canvas) this.drawCross(c, pane);
        c.restore();
      }
      this.drawLine(c, panes);
      this.label(panes);
      this.root.dataset.zoom = (this.scale / this.fitScale()).toFixed(3);
    }

    ready() {
      return Object.values(this.selects).every((s) => { const l = this.layers.get(s.value); return l && (l.image || l.values || l.kind === "difference"); });
    }

    drawCross(c, pane) {
      const x = pane.x + pane.w / 2, y = pane.y + pane.h / 2;
      for (const [width, color] of [[3, "#000"], [1.2, "#fff"]]) {
        c.lineWidth = width;
        c.strokeStyle = color;
        c.beginPath();
        c.moveTo(x - 9, y); c.lineTo(x + 9, y); c.moveTo(x, y - 9); c.lineTo(x, y + 9);
        c.stroke();
      }
    }

    drawLine(c, panes) {
      c.fillStyle = "#fff";
      if (this.mode === "swipe") {
        const x = panes[1].clip[0], y = this.height / 2;
        c.fillRect(x - 1, 0, 2, this.height);
        c.beginPath(); c.arc(x, y, 13, 0, 2 * Math.PI); c.fill();
        c.fillStyle = "#14191d";
        for (const d of [-1, 1]) { c.beginPath(); c.moveTo(x + 9 * d, y); c.lineTo(x + 3.5 * d, y - 5); c.lineTo(x + 3.5 * d, y + 5); c.fill(); }
      } else if (this.stacked()) c.fillRect(0, this.height / 2 - 1, this.width, 2);
      else c.fillRect(this.width / 2 - 1, 0, 2, this.height);
    }

    label(panes) {
      const tags = this.root.querySelectorAll(".tag");
      tags.forEach((tag, k) => {
        const layer = panes[k].layer;
        const low = this.mode !== "swipe" && this.stacked() && k === 1;
        tag.style.top = low ? `${this.height / 2 + 8}px` : "";
        tag.style.visibility = panes[k].clip[2] > 70 ? "" : "hidden";
        if (tag.dataset.for === layer.key + Boolean(this.chosen)) return;
        tag.dataset.for = layer.key + Boolean(this.chosen);
        tag.textContent = layer.title;
        const key = (color, text) => { const i = document.createElement("i"); i.style.background = color; tag.append(i, text); return i; };
        if (layer.kind === "difference" && this.chosen && layer.role === "errors") { key(WRONG, "chosen cell"); key(DIM, "other errors"); }
        else if (layer.kind === "difference") { key(RIGHT, layer.role === "errors" ? "right" : "same"); key(WRONG, layer.role === "errors" ? "wrong" : "different"); }
        if (layer.kind === "level") key(`linear-gradient(90deg, ${CIVIDIS.join(",")})`, "0 to 100%").className = "ramp";
      });
      const bar = this.root.querySelector(".scalebar");
      bar.hidden = !this.view.meters;  // the size of a pixel is not known
      if (bar.hidden) return;
      const wanted = 110 / this.scale * this.view.meters;
      const power = 10 ** Math.floor(Math.log10(wanted)), meters = [5, 2, 1].map((f) => f * power).find((m) => m <= wanted) || power;
      bar.style.width = `${meters / this.view.meters * this.scale}px`;
      bar.firstElementChild.textContent = meters >= 1000 ? `${meters / 1000} km` : `${meters} m`;
    }

    readAt(at) {
      const pane = this.panes().find((p) => at.x >= p.clip[0] && at.x < p.clip[0] + p.clip[2] && at.y >= p.clip[1] && at.y < p.clip[1] + p.clip[3]);
      if (pane) this.read(this.x + (at.x - pane.x - pane.w / 2) / this.scale, this.y + (at.y - pane.y - pane.h / 2) / (this.scale * this.view.aspect));
    }

    read(x, y) {
      const col = Math.floor(x), row = Math.floor(y), out = this.root.querySelector(".readout");
      if (col < 0 || row < 0 || col >= this.view.width || row >= this.view.height) { out.textContent = "Outside the map."; return; }
      const at = row * this.view.width + col, step = this.view.step;
      out.textContent = `Row ${Math.floor((row + 0.5) * step)}, column ${Math.floor((col + 0.5) * this.view.stepX)}`;
      for (const layer of this.view.layers) {
        if (!layer.values) continue;
        const value = layer.values[at], b = document.createElement("b");
        b.textContent = layer.kind === "level" ? (value === NODATA ? "–" : `${2 * value}%`) : this.view.names[value] || (value === 0 || value === NODATA ? "–" : `value ${value}`);
        out.append(` · ${layer.title.replace("Map: ", "")}: `, b);
      }
    }

    // Show the pixels of one cell of a confusion matrix.
    choose(run, reference, predicted) {
      const layer = this.view.layers.find((l) => l.kind === "difference" && l.role === "errors" && l.run === run);
      if (!layer) return false;
      this.chosen = predicted === null ? null : [reference, predicted];
      this.selects.right.value = layer.key;
      this.recolor();
      return true;
    }
  }

  const viewers = [...document.querySelectorAll(".viewer")].map((root) => new Viewer(root, data.views[root.dataset.view]));

  class Confusion {
    constructor(panel) {
      this.panel = panel;
      this.viewer = panel.dataset.view === undefined ? null : viewers[panel.dataset.view];
      panel.classList.toggle("viewable", Boolean(this.viewer));
      this.tables = [...panel.querySelectorAll(".confusion")];
      this.which = panel.querySelector("select.which");
      if (this.which) this.which.addEventListener("change", () => this.tables.forEach((t, k) => { t.parentElement.hidden = k !== Number(this.which.value); }));
      panel.querySelectorAll("input[name^=unit]").forEach((e) => e.addEventListener("change", () => this.show(e.value)));
      panel.querySelectorAll("input[name^=measure]").forEach((e) => e.addEventListener("change", () => { panel.querySelector(".bars").dataset.measure = e.value; }));
      this.tables.forEach((table) => {
        table.querySelector("td").tabIndex = 0;
        table.addEventListener("keydown", (e) => this.key(table, e));
        if (this.viewer) table.addEventListener("click", (e) => { const cell = e.target.closest("td"); if (cell) this.choose(table, cell); });
      });
      this.show("reference");
    }

    show(unit) {
      const text = { reference: (c) => share(c.dataset.t), map: (c) => share(c.dataset.p), count: (c) => short(Number(c.dataset.n)) }[unit];
      this.panel.querySelectorAll(".confusion td").forEach((cell) => {
        const part = Number(unit === "map" ? cell.dataset.p : cell.dataset.t);
        cell.textContent = text(cell);
        cell.style.setProperty("--a", part);
        cell.classList.toggle("strong", part > 55);
      });
    }

    key(table, event) {
      const cell = event.target.closest("td"), steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (!cell) return;
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); if (this.viewer) this.choose(table, cell); return; }
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const rows = table.tBodies[0].rows, row = cell.parentElement.sectionRowIndex + step[0];
      const next = rows[row] && rows[row].cells[cell.cellIndex + step[1]];
      if (!next || next.tagName !== "TD") return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }

    choose(table, cell) {
      const again = cell.classList.contains("chosen");
      document.querySelectorAll("td.chosen").forEach((e) => e.classList.remove("chosen"));
      const [reference, predicted] = cell.dataset.ij.split(",");
      const shown = this.viewer.choose(Number(table.dataset.run), Number(reference), again ? null : predicted === "other" ? "other" : Number(predicted));
      if (!shown || again) return;
      cell.classList.add("chosen");
      this.viewer.root.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      this.viewer.canvas.focus({ preventScroll: true });
    }
  }

  const share = (text) => { const v = Number(text); return v === 0 ? "" : v < 0.5 ? "·" : v.toFixed(0); };
  const short = (n) => n === 0 ? "" : n < 10000 ? String(n) : n < 1e6 ? `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)}k` : `${(n / 1e6).toFixed(1)}M`;
  document.querySelectorAll(".panel").forEach((panel) => new Confusion(panel));

  // What is wider than the screen can be scrolled with the keyboard, fades at its edge, and says so.
  const wide = [...document.querySelectorAll(".scroll, nav ul")].map((box) => {
    const cue = document.createElement("span");
    cue.className = "cue";
    cue.textContent = "Scroll sideways for more \u2192";
    if (box.matches(".scroll")) box.before(cue);
    const heading = box.closest("section")?.querySelector("h2")?.textContent;
    const update = () => {
      const over = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("more", over && box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
      cue.hidden = !over || box.hidden;
      if (box.matches("nav ul")) return;  // its links take the focus
      if (over) { box.tabIndex = 0; box.setAttribute("role", "group"); box.setAttribute("aria-label", `${heading || "Table"}, scrollable`); }
      else { box.removeAttribute("tabindex"); box.removeAttribute("role"); box.removeAttribute("aria-label"); }
    };
    box.addEventListener("scroll", update, { passive: true });
    new ResizeObserver(update).observe(box);
    return update;
  });
  document.querySelectorAll("select.which").forEach((e) => e.addEventListener("change", () => wide.forEach((update) => update())));
  wide.forEach((update) => update());

  if (viewers.length && typeof DecompressionStream === "undefined") {
    viewers.forEach((v) => { v.root.querySelector(".readout").textContent = "This browser is too old for the maps (DecompressionStream is missing); see the figure below."; });
  } else {
    Promise.all(viewers.map((v) => v.start())).then(() => { document.documentElement.dataset.ready = "yes"; });
  }
})();
