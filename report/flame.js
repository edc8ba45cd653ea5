/*
 * The page around the tree: what is shown is a function of `state`, which the address bar keeps.
 * Everything foreign reaches the screen through textContent or the canvas.
 */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const element = (tag, props = {}, ...kids) => {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...kids);
    return e;
  };
  const canvas = $("canvas"), graph = $("graph"), paint = canvas.getContext("2d");
  const ROW = 20, TOP = 8, EDGE = 14, TAU = 160; /* the last: of zooming, in ms */

  const state = { profile: 0, type: 0, byClass: false, group: "", thread: -1, goroutine: -1, hidden: new Set(),
    colour: "class", inverted: false, search: "", zoom: 0, focus: -1, side: false, theme: "", sort: "self" };
  let tree = null, found = null, kinds = null, drawn = [], range = [0, 1], hover = -1, about = -1, timer = 0;

  const profile = () => data.profiles[state.profile];
  const unit = () => profile().types[state.type][1];

  function toneOf(i) {
    const p = profile(), marks = tree.marks[i];
    if (i === 0) return GROUP_TONE;
    if (tree.name[i] < 0 && kinds === null) return GROUP_TONE;
    if (marks & KERNEL && state.colour !== "state") return KERNEL_TONE;
    if (tree.label(i) === PARKING) return STATE.parked;
    if (kinds === null) return packageTone(packageOf(tree.label(i)));
    return state.colour === "state" ? tone(p.stateNames[kinds[i]], STATE, kinds[i]) : tone(p.classNames[kinds[i]], CLASS, kinds[i]);
  }

  function hatch() {
    const tile = element("canvas", { width: 8, height: 8 }), c = tile.getContext("2d");
    const dark = document.documentElement.dataset.theme === "dark";
    c.fillStyle = dark ? "#5b5550" : "#d9d2c7";
    c.fillRect(0, 0, 8, 8);
    c.strokeStyle = dark ? "#7a736c" : "#b3aa9c";
    c.lineWidth = 2;
    for (const o of [-8, 0, 8]) { c.beginPath(); c.moveTo(o, 8); c.lineTo(o + 8, 0); c.stroke(); }
    return paint.createPattern(tile, "repeat");
  }

  /* ---- drawing ---------------------------------------------------------------------------- */

  const widths = new Map();
  function width(text, font) {
    const key = font + text;
    let w = widths.get(key);
    if (w === undefined) {
      paint.font = font;
      widths.set(key, w = paint.measureText(text).width);
    }
    return w;
  }
  /* The longest form that fits: whole, without the path of its package, without the package, cut. */
  function fitting(name, room, font, whole) {
    if (room < 14) return "";
    if (width(name, font) <= room) return name;
    if (whole) return cut(name, room, font);
    const end = name.search(/[[(]/), head = end < 0 ? name : name.slice(0, end);
    const local = name.slice(head.lastIndexOf("/") + 1);
    if (width(local, font) <= room) return local;
    const pkg = packageOf(name), bare = pkg ? name.slice(pkg.length + 1) || local : local;
    return width(bare, font) <= room ? bare : cut(bare, room, font);
  }
  function cut(bare, room, font) {
    let low = 0, high = bare.length;
    while (low < high) {
      const middle = low + high + 1 >> 1;
      if (width(bare.slice(0, middle) + "…", font) <= room) low = middle; else high = middle - 1;
    }
    return low >= 2 ? bare.slice(0, low) + "…" : "";
  }

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const SANS = '"Segoe UI", system-ui, "Noto Sans", "DejaVu Sans", sans-serif';

  function drawBox(i, x, w, y, theme) {
    const marks = tree.marks[i], name = i === 0 ? wholeLabel() : tree.label(i);
    const dimmed = found && !found.hit[i];
    const from = Math.max(x, EDGE - 4), to = Math.min(x + w, graph.clientWidth - EDGE + 4);
    const box = [from + 0.25, y + 0.5, Math.max(to - from - (w > 3 ? 1 : 0.1), 0.4), ROW - 1];
    paint.globalAlpha = 1;
    paint.fillStyle = found?.hit[i] ? theme.match : marks & LOST ? theme.hatch : fill(toneOf(i), tree.label(i));
    if (dimmed) paint.globalAlpha = theme.dark ? 0.38 : 0.42;
    else if (state.zoom !== 0 && i !== state.zoom && holds(i, state.zoom)) paint.globalAlpha = 0.6;
    paint.beginPath();
    if (w > 6) paint.roundRect(...box, 2.5); else paint.rect(...box);
    paint.fill();
    if (marks & INLINED && w > 5) {
      paint.strokeStyle = theme.edge;
      paint.setLineDash([3, 2.5]);
      paint.lineWidth = 1;
      paint.stroke();
      paint.setLineDash([]);
    }
    if (i === state.focus || i === hover) {
      paint.globalAlpha = 1;
      paint.strokeStyle = i === state.focus ? theme.accent : theme.edge;
      paint.lineWidth = i === state.focus ? 2 : 1.25;
      paint.stroke();
    }
    if (w < 20) return;
    const font = (marks & INLINED ? "italic " : tree.name[i] < 0 ? "600 " : "") + "11.5px " + SANS;
    const left = Math.max(x, EDGE), text = fitting(name, Math.min(x + w, graph.clientWidth - EDGE) - left - 9, font, tree.name[i] < 0);
    if (text === "") return;
    if (dimmed) paint.globalAlpha = 0.7;
    paint.font = font;
    paint.fillStyle = found?.hit[i] ? "#fff" : dimmed || marks & LOST ? theme.ink : "#1d1710";
    paint.fillText(text, left + 5, y + ROW / 2 + 0.5);
  }

  function wholeLabel() {
    const t = profile().types[state.type];
    const counted = t[0].endsWith("s") || tree.total[0] === 1 ? t[0] : t[0] + "s";
    return `all: ${amount(tree.total[0], t[1])}${t[1] === "count" ? " " + counted.replaceAll("_", " ") : " of " + t[0].replaceAll("_", " ")}`;
  }

  function holds(outer, inner) { return tree.order[outer] <= tree.order[inner] && tree.order[inner] <= tree.last[outer]; }

  function draw() {
    const W = graph.clientWidth, H = graph.clientHeight, ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(W * ratio) || canvas.height !== Math.round(H * ratio)) {
      canvas.width = Math.round(W * ratio);
      canvas.height = Math.round(H * ratio);
      canvas.style.width = W + "px";
      canvas.style.height = H + "px";
    }
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, W, H);
    drawn = [];
    if (!tree || tree.total[0] <= 0) return;
    const dark = document.documentElement.dataset.theme === "dark";
    const theme = { dark, hatch: hatch(), accent: style("--accent"), ink: style("--ink"), match: dark ? "#a45cf0" : "#8b3fd9",
      edge: dark ? "rgba(255,255,255,.75)" : "rgba(30,20,10,.6)" };
    paint.textBaseline = "middle";
    const scroll = graph.scrollTop, [a, b] = range, inner = W - 2 * EDGE, scale = inner / (b - a);
    paint.save();
    paint.beginPath();
    paint.rect(EDGE - 1, 0, inner + 2, H);
    paint.clip();
    const walk = [0];
    while (walk.length) {
      const i = walk.pop(), x = EDGE + (tree.x[i] - a) * scale, w = tree.w[i] * scale;
      const y = TOP + tree.depth[i] * ROW - scroll;
      if (w < 0.4 || x + w <= EDGE || x >= W - EDGE || y > H) continue;
      if (y + ROW > 0) {
        drawBox(i, x, w, y, theme);
        drawn.push([i, x, w, y]);
      }
      for (let k = tree.kids[i].length; k-- > 0;) walk.push(tree.kids[i][k]);
    }
    paint.restore();
  }

  let wanted = false;
  function redraw() {
    if (wanted) return;
    wanted = true;
    requestAnimationFrame(() => { wanted = false; draw(); });
  }

  function boxAt(event) {
    const r = graph.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
    for (let k = drawn.length; k-- > 0;) {
      const [i, bx, w, by] = drawn[k];
      if (x >= bx && x < bx + Math.max(w, 1) && y >= by && y < by + ROW) return i;
    }
    return -1;
  }

  /* ---- views ------------------------------------------------------------------------------ */

  function build() {
    const p = profile();
    found = kinds = null;
    hover = about = -1;
    $("empty").hidden = true;
    if (p.error !== undefined) {
      tree = null;
      $("empty").textContent = `${p.artifact} could not be read: ${p.error}`;
      $("empty").hidden = false;
      return;
    }
    openProfile(p);
    const column = state.colour === "state" ? p.rowState : p.rowClass;
    const groups = (state.byClass ? ["class"] : []).concat(state.group ? [state.group] : []);
    const shows = (row) => (state.thread < 0 || p.rowThread[row] === state.thread) &&
      (state.goroutine < 0 || p.rowGoroutine[row] === state.goroutine) &&
      (state.colour === "package" || !state.hidden.has(column[row]));
    tree = new Tree(p, { type: state.type, groups, inverted: state.inverted, shows });
    if (state.colour !== "package")
      kinds = tree.dominant(column, (state.colour === "state" ? p.stateNames : p.classNames).length);
    if (tree.total[0] <= 0) {
      $("empty").textContent = "Nothing to see: no samples of that kind.";
      $("empty").hidden = false;
    }
    $("room").style.height = (tree.deepest + 1) * ROW + 2 * TOP + "px";
    $("canvas").style.marginBottom = -graph.clientHeight + "px";
  }

  /* The box that is where another tree's was, by the names on the way. */
  function pathOf(i) {
    const names = [];
    for (; tree && i > 0; i = tree.parent[i]) names.push(tree.label(i));
    return names.reverse();
  }
  function boxOf(path) {
    let i = 0;
    for (const name of path) {
      const next = tree.kids[i].find((kid) => tree.label(kid) === name);
      if (next === undefined) return 0;
      i = next;
    }
    return i;
  }

  function rebuild(keep = true) {
    const path = keep ? pathOf(state.zoom) : [];
    build();
    state.focus = -1;
    state.zoom = tree ? boxOf(path) : 0;
    range = tree ? [tree.x[state.zoom], tree.x[state.zoom] + tree.w[state.zoom]] : [0, 1];
    if (range[1] <= range[0]) range = [0, 1];
    search();
    fillBar();
    fillLegend();
    fillSide();
    remember();
    redraw();
  }

  function zoom(i, quiet) {
    if (!tree || tree.total[0] <= 0) return;
    state.zoom = i;
    const from = range.slice(), to = [tree.x[i], tree.x[i] + tree.w[i]], began = performance.now();
    const still = quiet || matchMedia("(prefers-reduced-motion: reduce)").matches;
    clearTimeout(timer);
    const step = () => {
      const t = still ? 1 : Math.min(1, (performance.now() - began) / TAU), e = 1 - (1 - t) ** 3;
      range = t >= 1 ? to : [from[0] + (to[0] - from[0]) * e, from[1] + (to[1] - from[1]) * e];
      draw();
      if (t < 1) timer = setTimeout(step, 12);
    };
    const y = tree.depth[i] * ROW;
    if (y < graph.scrollTop || y > graph.scrollTop + graph.clientHeight - 2 * ROW) graph.scrollTop = Math.max(0, y - 3 * ROW);
    search();
    fillSide();
    say(i, true);
    remember();
    step();
  }

  function pattern(text) {
    const regular = /^\/(.+)\/$/.exec(text);
    $("search").classList.remove("bad");
    if (regular) {
      try {
        const re = new RegExp(regular[1]);
        return (name) => re.test(name);
      } catch {
        $("search").classList.add("bad");
        return () => false;
      }
    }
    const small = text.toLowerCase();
    return (name) => name.toLowerCase().includes(small);
  }

  function search() {
    const text = state.search.trim(), out = $("matched");
    found = null;
    out.replaceChildren();
    if (text === "" || !tree) return;
    found = tree.match(pattern(text), state.zoom);
    out.append(element("b", { textContent: share(found.sum, tree.total[state.zoom]) }),
      found.boxes ? ` in ${plain.format(found.functions || found.boxes)} function${(found.functions || found.boxes) === 1 ? "" : "s"}` : " no match");
    out.title = `${amount(found.sum, unit())} of ${amount(tree.total[state.zoom], unit())}`;
  }

  function nextMatch(back) {
    if (!found) return;
    const at = state.focus < 0 ? -1 : tree.order[state.focus], hits = [];
    for (let i = 1; i < tree.length; i++) if (found.hit[i] && holds(state.zoom, i)) hits.push(i);
    hits.sort((x, y) => tree.order[x] - tree.order[y]);
    if (!hits.length) return;
    const next = back ? hits.findLast((i) => tree.order[i] < at) ?? hits[hits.length - 1] : hits.find((i) => tree.order[i] > at) ?? hits[0];
    focus(next);
  }

  /* ---- what one box is -------------------------------------------------------------------- */

  function placeOf(frame) {
    const p = profile(), file = p.texts[p.frameFile[frame]] ?? "", line = p.frameLine[frame];
    return file + (line ? ":" + line : "");
  }

  /* Loud: to screen readers too, which a mouse that passes by should not be. */
  function say(i, loud) {
    $("say").setAttribute("aria-live", loud ? "polite" : "off");
    if (!tree || i < 0) { $("say").textContent = ""; return; }
    const marks = tree.marks[i];
    $("say").textContent = `${tree.label(i)}  ${amount(tree.total[i], unit())}  ${share(tree.total[i], tree.total[0])}` +
      (marks & INLINED ? "  inlined" : "") + (marks & KERNEL ? "  kernel" : "") + (i === state.zoom && i ? "  zoomed" : "");
  }

  function mixBar(i) {
    const p = profile(), state_ = state.colour === "state";
    const mix = tree.mix(i, state_ ? p.rowState : p.rowClass), names = state_ ? p.stateNames : p.classNames;
    if (mix.length === 0 || (mix.length === 1 && mix[0][0] === 0)) return [];
    const bar = element("div", { className: "mix" });
    for (const [k, v] of mix) {
      const part = element("i");
      part.style.cssText = `width:${100 * v / tree.total[i]}%;background:${flat(tone(names[k], state_ ? STATE : CLASS, k))}`;
      bar.append(part);
    }
    return [bar, element("div", { className: "who", textContent: mix.slice(0, 4).map(([k, v]) => `${names[k]} ${share(v, tree.total[i])}`).join("  ·  ") })];
  }

  function whoLine(i, column, names, one, many) {
    const mix = tree.mix(i, column).filter(([k]) => k !== 0);
    if (mix.length === 0) return [];
    const top = mix.slice(0, 3).map(([k, v]) => `${names[k]} ${share(v, tree.total[i])}`).join("  ·  ");
    return [element("div", { className: "who", textContent: `${mix.length === 1 ? one : mix.length + " " + many}: ${top}${mix.length > 3 ? " …" : ""}` })];
  }

  function tooltip(i, event) {
    const tip = $("tip");
    if (i < 0) { tip.hidden = true; return; }
    if (tip.hidden || about !== i) describe(i, tip);
    about = i;
    tip.hidden = false;
    const w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - w - 8)) + "px";
    tip.style.top = (event.clientY + 18 + h < innerHeight ? event.clientY + 18 : Math.max(4, event.clientY - h - 12)) + "px";
  }

  function describe(i, tip) {
    const p = profile(), marks = tree.marks[i], title = element("h3", { textContent: tree.label(i) });
    for (const [bit, word] of [[INLINED, "inlined"], [KERNEL, "kernel"], [LOST, "samples that were lost"], [UNKNOWN, "no symbol"]])
      if (marks & bit) title.append(element("span", { className: "tag", textContent: word }));
    const lines = tree.name[i] < 0 ? [] : tree.lines(i);
    const places = lines.slice(0, 4).filter(([f]) => placeOf(f)).map(([f, v]) => element("div", { className: "place",
      textContent: placeOf(f) + (lines.length > 1 ? `  ${share(v, tree.total[i])}` : "") }));
    if (lines.length > 4) places.push(element("div", { className: "place", textContent: `… and ${lines.length - 4} more lines` }));
    const sums = element("div", { className: "sums" });
    const add = (word, v, of) => sums.append(element("span", { textContent: word }), element("span", { textContent: amount(v, unit()) }),
      element("span", { textContent: of }));
    const inZoom = state.zoom !== 0 && holds(state.zoom, i) ? ` · ${share(tree.total[i], tree.total[state.zoom])} of what is zoomed` : "";
    add("total", tree.total[i], share(tree.total[i], tree.total[0]) + inZoom);
    if (!state.inverted) add("self", tree.self[i], share(tree.self[i], tree.total[0]));
    tip.replaceChildren(title, ...places, sums, ...mixBar(i), ...whoLine(i, p.rowThread, p.threadNames, "thread", "threads"),
      ...whoLine(i, p.rowGoroutine, p.goroutineNames, "goroutine", "goroutines"));
  }

  function focus(i) {
    if (!tree || i < 0) return;
    state.focus = i;
    if (!holds(state.zoom, i) && !holds(i, state.zoom)) zoom(0);
    const y = TOP + tree.depth[i] * ROW;
    if (y < graph.scrollTop + ROW) graph.scrollTop = Math.max(0, y - 2 * ROW);
    if (y > graph.scrollTop + graph.clientHeight - 2 * ROW) graph.scrollTop = y - graph.clientHeight + 3 * ROW;
    say(i, true);
    redraw();
  }

  /* ---- the bar ---------------------------------------------------------------------------- */

  function option(value, text, chosen) { return element("option", { value, textContent: text, selected: chosen }); }

  /* Of threads or goroutines, those with most first. */
  function fillFilter(select, field, column, names, chosen) {
    const p = profile(), sums = new Map(), types = p.types.length;
    for (let row = 0; row < column.length; row++)
      sums.set(column[row], (sums.get(column[row]) ?? 0) + Math.max(0, p.values[row * types + state.type]));
    const known = [...sums].filter(([k, v]) => k !== 0 && v > 0).sort((a, b) => b[1] - a[1]);
    $(field).hidden = known.length === 0;
    const all = [...sums.values()].reduce((a, b) => a + b, 0);
    const options = [option("-1", `all ${plain.format(known.length)}`, chosen < 0)];
    for (const [k, v] of known.slice(0, 500)) options.push(option(k, `${names[k]}  ${share(v, all)}`, k === chosen));
    if (known.length > 500) options.push(Object.assign(option("-1", `… ${known.length - 500} smaller ones`), { disabled: true }));
    if (sums.get(0) > 0 && known.length) options.push(option("0", `${names[0]}  ${share(sums.get(0), all)}`, chosen === 0));
    $(select).replaceChildren(...options);
  }

  const some = (table, width) => table.length > width;
  function groupings(p) {
    const list = [["", "nothing"]];
    if (some(p.threads, 2)) list.push(["thread", "thread"]);
    if (some(p.goroutines, 2)) list.push(["goroutine", "goroutine"]);
    if (some(p.states, 1)) list.push(["state", "state"]);
    for (const key of p.labelKeys) list.push(["label:" + key, "label " + key]);
    return list;
  }

  function colours(p) {
    const list = [["package", "package"]];
    if (some(p.states, 1)) list.unshift(["state", "state"]);
    if (some(p.classes, 1)) list.unshift(["class", "class"]);
    return list;
  }

  function fillBar() {
    const p = profile();
    $("bar").hidden = $("colours").hidden = p.error !== undefined;
    for (const [k, tab] of [...$("tabs").querySelectorAll("[role=tab]")].entries())
      tab.setAttribute("aria-selected", k === state.profile);
    fillHead();
    if (p.error !== undefined) return;
    $("types").replaceChildren(...p.types.map(([type], k) => {
      const b = element("button", { type: "button", textContent: type.replaceAll("_", " ") });
      b.setAttribute("aria-pressed", k === state.type);
      b.onclick = () => { state.type = k; rebuild(); };
      return b;
    }));
    $("by-class").hidden = !some(p.classes, 1);
    $("by-class").setAttribute("aria-pressed", state.byClass);
    $("inverted").setAttribute("aria-pressed", state.inverted);
    $("side-toggle").setAttribute("aria-pressed", state.side);
    $("group").replaceChildren(...groupings(p).map(([v, t]) => option(v, t, v === state.group)));
    fillFilter("thread", "thread-field", p.rowThread, p.threadNames, state.thread);
    fillFilter("goroutine", "goroutine-field", p.rowGoroutine, p.goroutineNames, state.goroutine);
    $("colour").replaceChildren(...colours(p).map(([v, t]) => option(v, t, v === state.colour)));
    if ($("search").value !== state.search) $("search").value = state.search;
  }

  function fillLegend() {
    const legend = $("legend"), p = profile();
    legend.replaceChildren();
    if (!tree) return;
    if (state.colour === "package") {
      const pkg = (frame) => p.frameMarks[frame] & KERNEL ? "kernel" : packageOf(p.texts[p.frameName[frame]] ?? "");
      for (const { key, total } of tree.sums(0, pkg).sort((a, b) => b.total - a.total).slice(0, 10)) {
        const chip = element("span", { className: "chip", title: "occurs on the stacks of so much" }, element("i"), key || "other",
          element("small", { textContent: share(total, tree.total[0]) }));
        chip.style.setProperty("--c", flat(key === "kernel" ? KERNEL_TONE : packageTone(key)));
        legend.append(chip);
      }
      return;
    }
    const isState = state.colour === "state", column = isState ? p.rowState : p.rowClass;
    const names = isState ? p.stateNames : p.classNames, sums = new Map(), types = p.types.length;
    let all = 0;
    for (let row = 0; row < column.length; row++) {
      const v = p.values[row * types + state.type];
      if (!(v > 0) || (state.thread >= 0 && p.rowThread[row] !== state.thread) ||
        (state.goroutine >= 0 && p.rowGoroutine[row] !== state.goroutine)) continue;
      sums.set(column[row], (sums.get(column[row]) ?? 0) + v);
      all += v;
    }
    for (const [k, v] of [...sums].sort((a, b) => b[1] - a[1])) {
      const chip = element("button", { type: "button", className: "chip", title: `${amount(v, unit())}; click to hide or show, Alt-click to show only this` },
        element("i"), names[k], element("small", { textContent: share(v, all) }));
      chip.style.setProperty("--c", flat(tone(names[k], isState ? STATE : CLASS, k)));
      chip.setAttribute("aria-pressed", !state.hidden.has(k));
      chip.onclick = (event) => {
        if (event.altKey) state.hidden = new Set([...sums.keys()].filter((other) => other !== k));
        else if (!state.hidden.delete(k)) state.hidden.add(k);
        rebuild();
      };
      legend.append(chip);
    }
  }

  function fillSide() {
    $("side").hidden = !state.side || !tree;
    $("sort-self").setAttribute("aria-pressed", state.sort === "self");
    $("sort-total").setAttribute("aria-pressed", state.sort === "total");
    if ($("side").hidden) return;
    const p = profile(), whole = tree.total[state.zoom], list = tree.sums(state.zoom, (frame) => p.frameName[frame]);
    list.sort((a, b) => b[state.sort] - a[state.sort] || b.total - a.total);
    $("functions").replaceChildren(...list.slice(0, 200).map((f) => {
      const name = p.texts[f.key] || "(no name)", row = element("tr", { tabIndex: 0, title: name },
        element("td", { textContent: share(f.self, whole), title: amount(f.self, unit()) }),
        element("td", { textContent: share(f.total, whole), title: amount(f.total, unit()) }),
        element("td", {}, element("bdi", { textContent: name })));
      row.firstChild.style.setProperty("--part", (whole > 0 ? 100 * f.self / whole : 0) + "%");
      row.onclick = () => { state.search = state.search === name ? "" : name; $("search").value = state.search; search(); remember(); redraw(); };
      row.onkeydown = (event) => { if (event.key === "Enter") row.onclick(); };
      return row;
    }));
  }

  /* ---- the head --------------------------------------------------------------------------- */

  function pill(text, kind, title) { return element("span", { className: "pill " + kind, textContent: text, title: title ?? "" }); }

  /* [lost, of how many], counted in the type that counts samples; null where none can be lost. */
  function lostOf(p) {
    const type = p.types.findIndex(([, u]) => u === "count"), types = p.types.length;
    if (type < 0 || !p.types.some(([t]) => t === "cpu" || t === "offcpu" || t === "samples")) return null;
    let lost = 0, all = 0;
    for (let v = type; v < p.values.length; v += types) all += p.values[v];
    for (const row of p.lostRows ?? []) lost += p.values[row * types + type];
    return [lost, all];
  }

  function fillHead() {
    const c = data.capture, p = profile(), lost = p.error === undefined ? lostOf(p) : null;
    const facts = [c.pid ? `pid ${c.pid}` : "", c.host, c.go].filter(Boolean);
    $("facts").replaceChildren(...facts.map((t) => element("span", { textContent: t, title: t === c.go ? c.exe ?? "" : "" })));
    const when = [c.started ? c.started.replace("T", " ").replace(/\.\d+Z$/, " UTC") : "",
      p.duration_ns > 0 ? `${scaled(p.duration_ns, TIME)} window` : "",
      p.period > 0 && p.period_type?.[1] === "nanoseconds" ? `every ${scaled(p.period, TIME)}` : "",
      c.trigger ? `trigger ${c.trigger}` : "", c.reason ?? ""].filter(Boolean);
    $("when").replaceChildren(...when.map((t) => element("span", { textContent: t })));
    $("pills").replaceChildren(pill(p.grade, p.grade === "complete" ? "good" : p.grade === "partial" ? "warn" : "bad", p.why));
    if (p.error !== undefined) $("pills").replaceChildren(pill("unreadable", "bad", p.error));
    /* A profile that is not our collector's may have lost some and not say so. */
    if (lost && (lost[0] > 0 || !p.derived)) $("pills").append(lost[0] > 0 ? pill(`${plain.format(lost[0])} lost, ${share(lost[0], lost[1])}`, "warn", "samples that the kernel dropped; hatched in the graph")
      : pill("none lost", "good", "no sample was dropped"));
    const notes = [];
    if (c.complaint) notes.push(`The archive is damaged: ${c.complaint}`);
    if (p.why) notes.push(`${p.artifact} is ${p.grade}: ${p.why}`);
    if (p.bad) notes.push(`${plain.format(p.bad)} samples made no sense and are left out.`);
    if (tree?.full) notes.push(`This view has more than ${plain.format(BOXES_MAX)} boxes: what is deeper counts as its callers' own. Filter, or group by less.`);
    if (p.cut) notes.push(`${plain.format(p.cut)} stacks were too deep: their outermost frames are missing ([cut]).`);
    const plainNotes = p.derived ? ["The profile has no classes of its own; they are derived from the functions on its stacks."] : [];
    $("notes").replaceChildren(...notes.map((t) => element("div", { textContent: t })),
      ...plainNotes.map((t) => element("div", { className: "plain", textContent: t })));
    $("notes").hidden = notes.length + plainNotes.length === 0;
  }

  function fillTabs() {
    for (const [k, p] of data.profiles.entries()) {
      const tab = element("button", { type: "button", textContent: titleOf(p), title: p.artifact });
      tab.setAttribute("role", "tab");
      if (p.error === undefined) {
        let sum = 0;
        for (let v = p.default; v < p.values.length; v += p.types.length) sum += Math.max(0, p.values[v]);
        tab.append(element("small", { textContent: amount(sum, p.types[p.default][1]) }));
      }
      tab.onclick = () => choose(k);
      $("tabs").append(tab);
    }
    for (const a of data.absent)
      $("tabs").append(element("button", { type: "button", disabled: true, textContent: titleOf(a), title: `${a.grade}: ${a.why}` }));
  }

  /* Everything that is about one profile's tables starts afresh; `more` is set before it is built. */
  function choose(k, type, more) {
    const p = data.profiles[k];
    Object.assign(state, { profile: k, type: type ?? (p.error === undefined ? p.default : 0), thread: -1, goroutine: -1,
      hidden: new Set(), zoom: 0, focus: -1 });
    tree = null;
    if (p.error === undefined) {
      openProfile(p);
      state.colour = some(p.states, 1) && p.types.some(([t]) => t === "offcpu") ? "state" : some(p.classes, 1) ? "class" : "package";
      if (!some(p.classes, 1)) state.byClass = false;
      if (!groupings(p).some(([g]) => g === state.group)) state.group = "";
    }
    graph.scrollTop = 0;
    if (more) more();
    rebuild(false);
  }

  function theme(name) {
    state.theme = name;
    document.documentElement.dataset.theme = name || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    fillLegend();
    remember();
    redraw();
  }

  /* ---- the address bar -------------------------------------------------------------------- */

  function remember() {
    const p = profile(), q = new URLSearchParams();
    q.set("profile", p.artifact);
    if (p.error === undefined && state.type !== p.default) q.set("type", p.types[state.type][0]);
    if (state.byClass) q.set("class", "1");
    for (const key of ["group", "search", "theme"]) if (state[key]) q.set(key, state[key]);
    if (state.inverted) q.set("inverted", "1");
    if (state.side) q.set("functions", "1");
    if (tree && state.thread >= 0) q.set("thread", p.threadNames[state.thread]);
    if (tree && state.goroutine >= 0) q.set("goroutine", p.goroutineNames[state.goroutine]);
    if (tree) q.set("colour", state.colour);
    for (const name of pathOf(state.zoom)) q.append("zoom", name);
    try { history.replaceState(null, "", "#" + q); } catch { /* some browsers do not for files */ }
  }

  function recall() {
    const q = new URLSearchParams(location.hash.slice(1));
    const k = Math.max(0, data.profiles.findIndex((p) => p.artifact === q.get("profile"))), p = data.profiles[k];
    state.theme = q.get("theme") ?? "";
    state.byClass = q.get("class") === "1";
    state.group = q.get("group") ?? "";
    state.inverted = q.get("inverted") === "1";
    state.search = q.get("search") ?? "";
    state.side = q.get("functions") === "1";
    document.documentElement.dataset.theme = state.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    const type = p.error === undefined ? p.types.findIndex(([t]) => t === q.get("type")) : -1;
    const zoomed = q.getAll("zoom");
    choose(k, type < 0 ? undefined : type, () => {
      if (p.error !== undefined) return;
      state.thread = p.threadNames.indexOf(q.get("thread"));
      state.goroutine = p.goroutineNames.indexOf(q.get("goroutine"));
      if (colours(p).some(([c]) => c === q.get("colour"))) state.colour = q.get("colour");
    });
    if (tree && zoomed.length) zoom(boxOf(zoomed), true);
  }

  /* ---- hands ------------------------------------------------------------------------------ */

  function reset() {
    Object.assign(state, { thread: -1, goroutine: -1, hidden: new Set(), search: "", byClass: false, group: "", inverted: false });
    rebuild(false);
    graph.scrollTop = 0;
    say(0);
  }

  function flip(key) { state[key] = !state[key]; rebuild(key === "byClass" ? false : key !== "inverted"); }

  function move(key) {
    const at = state.focus < 0 ? state.zoom : state.focus, up = tree.parent[at];
    if (key === "ArrowUp") return focus(Math.max(0, up));
    if (key === "ArrowDown") return focus(tree.kids[at][0] ?? at);
    if (up < 0) return focus(at);
    const kids = tree.kids[up], next = kids[kids.indexOf(at) + (key === "ArrowRight" ? 1 : -1)];
    focus(next ?? at);
  }

  function escape() {
    if (state.search) { state.search = $("search").value = ""; search(); remember(); redraw(); } else if (state.zoom) zoom(0);
    graph.focus();
  }

  const keys = {
    "/": () => $("search").select(),
    "?": () => $("help").showModal(),
    "0": reset,
    "c": () => $("by-class").hidden || flip("byClass"),
    "i": () => flip("inverted"),
    "h": () => $("side-toggle").click(),
    "d": () => $("theme").click(),
    "n": () => nextMatch(false),
    "N": () => nextMatch(true),
    "p": () => choose((state.profile + 1) % data.profiles.length),
    "t": () => { state.type = (state.type + 1) % profile().types.length; rebuild(); },
    "g": () => {
      const list = groupings(profile()).map(([g]) => g);
      state.group = list[(list.indexOf(state.group) + 1) % list.length];
      rebuild(false);
    },
    "Escape": escape,
    "Backspace": () => zoom(Math.max(0, tree.parent[state.zoom])),
    "Enter": () => zoom(state.focus < 0 ? state.zoom : state.focus),
    " ": () => zoom(state.focus < 0 ? state.zoom : state.focus),
  };

  addEventListener("keydown", (event) => {
    const into = event.target, typing = into.matches("input, select");
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (into === $("search")) {
      if (event.key === "Enter") nextMatch(event.shiftKey);
      if (event.key === "Escape") { event.preventDefault(); escape(); }
      return;
    }
    if (typing || (into.matches("button, tr") && (event.key === "Enter" || event.key === " "))) return;
    if (profile().error !== undefined && event.key !== "p" && event.key !== "d" && event.key !== "?") return;
    const act = event.key.startsWith("Arrow") ? () => move(event.key) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  function listen() {
    graph.addEventListener("mousemove", (event) => {
      const i = boxAt(event);
      if (i !== hover) { hover = i; graph.style.cursor = i < 0 ? "" : "pointer"; if (i >= 0) say(i); redraw(); }
      tooltip(i, event);
    });
    graph.addEventListener("mouseleave", () => { hover = -1; tooltip(-1); say(state.zoom); redraw(); });
    graph.addEventListener("click", (event) => {
      const i = boxAt(event);
      if (i < 0) return;
      tooltip(-1);
      state.focus = i;
      zoom(i === state.zoom ? Math.max(0, tree.parent[i]) : i);
    });
    graph.addEventListener("scroll", () => { tooltip(-1); redraw(); });
    $("search").addEventListener("input", () => { state.search = $("search").value; search(); remember(); redraw(); });
    $("group").onchange = () => { state.group = $("group").value; rebuild(false); };
    $("thread").onchange = () => { state.thread = Number($("thread").value); rebuild(); };
    $("goroutine").onchange = () => { state.goroutine = Number($("goroutine").value); rebuild(); };
    $("colour").onchange = () => { state.colour = $("colour").value; state.hidden = new Set(); rebuild(); };
    $("by-class").onclick = () => flip("byClass");
    $("inverted").onclick = () => flip("inverted");
    $("reset").onclick = reset;
    $("side-toggle").onclick = () => { state.side = !state.side; fillBar(); fillSide(); remember(); redraw(); };
    $("help-toggle").onclick = () => $("help").showModal();
    $("theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    for (const by of ["self", "total"]) $("sort-" + by).onclick = () => { state.sort = by; fillSide(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.theme || theme(""));
    addEventListener("hashchange", recall);
    addEventListener("beforeprint", () => { graph.style.height = $("room").style.height; draw(); });
    addEventListener("afterprint", () => { graph.style.height = ""; draw(); });
    new ResizeObserver(() => { canvas.style.marginBottom = -graph.clientHeight + "px"; draw(); }).observe(graph);
  }

  $("service").textContent = data.capture.service || "unknown process";
  document.title = `${data.capture.service || "unknown process"} ${data.capture.pid || ""}: flame graph`;
  $("made").textContent = `${data.capture.id}  ·  godiag ${data.godiag}`;
  $("made").title = data.capture.digest;
  fillTabs();
  listen();
  recall();

  /* For tests: where a box is on the screen, and what the view holds. */
  window.godiag = {
    box: (name) => {
      draw();
      const hit = drawn.find(([i]) => tree.label(i) === name);
      if (!hit) return null;
      const r = graph.getBoundingClientRect(), [, x, w, y] = hit;
      const left = Math.max(x, EDGE), right = Math.min(x + w, r.width - EDGE);
      return { x: r.left + (left + right) / 2, y: r.top + y + ROW / 2, w: right - left };
    },
    view: () => ({ total: tree?.total[0] ?? 0, boxes: tree?.length ?? 0, drawn: drawn.map(([i]) => tree.label(i)), zoom: tree?.label(state.zoom),
      focus: state.focus < 0 ? null : tree.label(state.focus), marks: drawn.map(([i]) => tree.marks[i]) }),
  };
})();
