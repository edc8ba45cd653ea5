"use strict";
/*
 * From the document to a tree of boxes: no DOM in here.  A profile comes as tables (report/flame.h);
 * numbers into `texts` are names, row 0 of most tables means unknown.
 */

const INLINED = 1, KERNEL = 2, LOST = 4, UNKNOWN = 8;
const PARKING = "[runtime parking]";
const BOXES_MAX = 2000000; /* of one view: what would be deeper is its caller's own */

/* A profile's tables in the form they are used in; done when it is looked at first. */
function openProfile(p) {
  if (p.opened || p.error !== undefined) return p;
  const column = (flat, width, at) => {
    const out = new Float64Array(flat.length / width);
    for (let i = 0; i < out.length; i++) out[i] = flat[i * width + at];
    return out;
  };
  const text = (i) => p.texts[i] ?? "";
  p.frameName = column(p.frames, 4, 0);
  p.frameFile = column(p.frames, 4, 1);
  p.frameLine = column(p.frames, 4, 2);
  p.frameMarks = column(p.frames, 4, 3);
  p.nodeParent = column(p.nodes, 2, 0);
  p.nodeFrame = column(p.nodes, 2, 1);
  p.rowNode = column(p.rows, 6, 0);
  p.rowClass = column(p.rows, 6, 1);
  p.rowThread = column(p.rows, 6, 2);
  p.rowGoroutine = column(p.rows, 6, 3);
  p.rowState = column(p.rows, 6, 4);
  p.rowSet = column(p.rows, 6, 5);
  p.classNames = p.classes.map((c) => text(c).replaceAll(/[-_]/g, " ") || "unknown");
  p.stateNames = p.states.map((s) => text(s).replaceAll(/[-_]/g, " ") || "unknown");
  p.threadNames = [];
  for (let i = 0; i < p.threads.length; i += 2)
    p.threadNames.push(i === 0 ? "unknown" : (text(p.threads[i]) || "thread") +
      (p.threads[i + 1] ? "/" + p.threads[i + 1] : ""));
  p.goroutineNames = [];
  for (let i = 0; i < p.goroutines.length; i += 2)
    p.goroutineNames.push(i === 0 ? "none" : text(p.goroutines[i + 1]) || "goroutine " + p.goroutines[i]);
  openLabels(p, text);
  openStandIns(p);
  p.frames = p.nodes = p.rows = null; /* the columns have it all */
  p.opened = true;
  return p;
}

/*
 * Frames that stand for something else than a function: what was lost is a class and a state of its own, also
 * where the profile does not say so; and a thread that the runtime has nothing to do for is parked, so that it can
 * be told (and hidden) apart from one that is blocked.
 */
function openStandIns(p) {
  const leaf = (row) => p.nodeFrame[p.rowNode[row]], all = [...p.rowNode.keys()].filter((row) => p.rowNode[row] !== 0);
  const lost = all.filter((row) => p.frameMarks[leaf(row)] & LOST);
  const parked = all.filter((row) => p.texts[p.frameName[leaf(row)]] === PARKING);
  const call = (rows, was, names, column, name) => {
    const these = rows.filter((row) => names[column[row]] === was);
    if (names.length < 2 || these.length === 0) return;
    const k = names.includes(name) ? names.indexOf(name) : names.push(name) - 1;
    for (const row of these) column[row] = k;
  };
  call(lost, "unknown", p.classNames, p.rowClass, "lost");
  call(lost, "unknown", p.stateNames, p.rowState, "lost");
  call(parked, "blocked", p.stateNames, p.rowState, "parked");
  p.lostRows = lost;
}

/* Each set of labels as {key: value}. */
function openLabels(p, text) {
  p.setLabels = [Object.create(null)]; /* keys are foreign */
  p.labelKeys = [];
  for (let i = 2; i < p.sets.length; i += 2) {
    const at = 4 * p.sets[i + 1], key = text(p.labels[at]);
    const value = text(p.labels[at + 1]) || String(p.labels[at + 2]) +
      (p.labels[at + 3] ? " " + text(p.labels[at + 3]) : "");
    p.setLabels.push(Object.assign(Object.create(null), p.setLabels[p.sets[i]], { [key]: value }));
    if (!p.labelKeys.includes(key)) p.labelKeys.push(key);
  }
}

/* What a row belongs to, as a name, for any of the groupings. */
function grouper(p, group) {
  if (group === "class") return (row) => p.classNames[p.rowClass[row]];
  if (group === "thread") return (row) => p.threadNames[p.rowThread[row]];
  if (group === "goroutine") return (row) => p.goroutineNames[p.rowGoroutine[row]];
  if (group === "state") return (row) => p.stateNames[p.rowState[row]];
  const key = group.slice(6); /* "label:" */
  return (row) => p.setLabels[p.rowSet[row]][key] ?? "(no " + key + ")";
}

/*
 * The boxes that a view shows: parents before children, 0 is the whole.  Of each box its total and
 * self value, where it lies (x and w as fractions of the whole, depth), and which rows are in it
 * (row r is when leafOrder[r] is within [order, last]).
 */
class Tree {
  constructor(p, view) {
    this.p = p;
    this.view = view;
    this.parent = [-1];
    this.name = [-1]; /* text, or -1: a group */
    this.title = [""]; /* of a group */
    this.marks = [0];
    this.depth = [0];
    this.self = [0];
    this.below = new Map(); /* parent and name -> box */
    this.groups = new Map();
    /* Node -> box + 1, or group and node where there are groups. */
    this.reached = view.groups.length ? new Map() : new Int32Array(p.nodeParent.length);
    this.full = false;
    this.addRows();
    this.addUp();
    this.layOut();
  }

  get length() { return this.parent.length; }

  add(parent, name, title, marks) {
    const i = this.parent.length;
    this.parent.push(parent);
    this.name.push(name);
    this.title.push(title);
    this.marks.push(marks);
    this.depth.push(this.depth[parent] + 1);
    this.self.push(0);
    return i;
  }

  group(parent, title) {
    const key = parent + "\0" + title;
    let i = this.groups.get(key);
    if (i === undefined) this.groups.set(key, i = this.add(parent, -1, title, 0));
    return i;
  }

  /* Calls of a function on several lines are one box. */
  frame(parent, frame) {
    const p = this.p, name = p.frameName[frame], marks = p.frameMarks[frame];
    const key = (parent * p.texts.length + name) * 16 + marks;
    let i = this.below.get(key);
    if (i === undefined && this.length >= BOXES_MAX) {
      this.full = true;
      return parent;
    }
    if (i === undefined) this.below.set(key, i = this.add(parent, name, "", marks));
    return i;
  }

  upright(root, node) {
    const p = this.p, reached = this.reached, path = [], first = root * p.nodeParent.length;
    const known = reached instanceof Map ? (n) => reached.get(first + n) ?? 0 : (n) => reached[n];
    for (; node !== 0 && known(node) === 0; node = p.nodeParent[node]) path.push(node);
    let box = node === 0 ? root : known(node) - 1;
    while (path.length) {
      node = path.pop();
      box = this.frame(box, p.nodeFrame[node]);
      if (reached instanceof Map) reached.set(first + node, box + 1); else reached[node] = box + 1;
    }
    return box;
  }

  inverted(root, node) {
    const p = this.p;
    let box = root;
    for (; node !== 0; node = p.nodeParent[node]) box = this.frame(box, p.nodeFrame[node]);
    return box;
  }

  addRows() {
    const { p, view } = this, n = p.rowNode.length, types = p.types.length;
    const by = view.groups.map((g) => grouper(p, g));
    this.leaf = new Int32Array(n).fill(-1);
    for (let row = 0; row < n; row++) {
      const value = p.values[row * types + view.type];
      if (!(value > 0) || !view.shows(row)) continue;
      let box = 0;
      for (const name of by) box = this.group(box, name(row));
      box = view.inverted ? this.inverted(box, p.rowNode[row]) : this.upright(box, p.rowNode[row]);
      this.leaf[row] = box;
      this.self[box] += value;
    }
    this.below = this.reached = this.groups = null;
  }

  value(row) { return this.p.values[row * this.p.types.length + this.view.type]; }

  addUp() {
    this.total = Float64Array.from(this.self);
    for (let i = this.length - 1; i > 0; i--) this.total[this.parent[i]] += this.total[i];
    this.kids = Array.from({ length: this.length }, () => []);
    for (let i = 1; i < this.length; i++) this.kids[this.parent[i]].push(i);
    /* Large ones first, what was lost last. */
    const lost = (i) => this.marks[i] & LOST;
    for (const kids of this.kids)
      if (kids.length > 1) kids.sort((a, b) => lost(a) - lost(b) || this.total[b] - this.total[a] || a - b);
  }

  layOut() {
    const n = this.length, whole = this.total[0] || 1;
    this.x = new Float64Array(n);
    this.w = new Float64Array(n);
    this.order = new Int32Array(n);
    this.last = new Int32Array(n);
    this.w[0] = 1;
    this.deepest = 0;
    let at = 0;
    const walk = [0];
    const entered = new Uint8Array(n);
    while (walk.length) {
      const i = walk[walk.length - 1];
      if (entered[i]) {
        this.last[i] = at - 1;
        walk.pop();
        continue;
      }
      entered[i] = 1;
      this.order[i] = at++;
      this.deepest = Math.max(this.deepest, this.depth[i]);
      let x = this.x[i];
      for (const kid of this.kids[i]) {
        this.x[kid] = x;
        x += this.w[kid] = this.total[kid] / whole;
      }
      for (let k = this.kids[i].length; k-- > 0;) walk.push(this.kids[i][k]);
    }
  }

  label(i) { return i === 0 ? "all" : this.name[i] < 0 ? this.title[i] : this.p.texts[this.name[i]] || "(no name)"; }

  within(row, box) {
    const leaf = this.leaf[row];
    return leaf >= 0 && this.order[leaf] >= this.order[box] && this.order[leaf] <= this.last[box];
  }

  /* What of a box belongs to what, largest first: [[index, value], ...] by that column of rows. */
  mix(box, column) {
    const sums = new Map();
    for (let row = 0; row < this.leaf.length; row++)
      if (this.within(row, box)) sums.set(column[row], (sums.get(column[row]) ?? 0) + this.value(row));
    return [...sums].sort((a, b) => b[1] - a[1]);
  }

  /* For each box, which of n kinds most of it is. */
  dominant(column, n) {
    const sums = new Float64Array(this.length * n), out = new Int32Array(this.length);
    for (let row = 0; row < this.leaf.length; row++)
      if (this.leaf[row] >= 0) sums[this.leaf[row] * n + column[row]] += this.value(row);
    for (let i = this.length - 1; i >= 0; i--) {
      for (let k = 0; k < n; k++) {
        if (i > 0) sums[this.parent[i] * n + k] += sums[i * n + k];
        if (sums[i * n + k] > sums[i * n + out[i]]) out[i] = k;
      }
    }
    return out;
  }

  /* The lines on which a box was seen, largest first: [[frame, value], ...] */
  lines(box) {
    const p = this.p, sums = new Map(), name = this.name[box];
    const level = this.depth[box] - this.view.groups.length; /* 1: the outermost frame */
    for (let row = 0; row < this.leaf.length; row++) {
      if (!this.within(row, box)) continue;
      const path = [];
      for (let node = p.rowNode[row]; node !== 0; node = p.nodeParent[node]) path.push(p.nodeFrame[node]);
      const frame = path[this.view.inverted ? level - 1 : path.length - level];
      if (frame === undefined || p.frameName[frame] !== name) continue;
      const key = p.frameFile[frame] + ":" + p.frameLine[frame];
      const sum = sums.get(key) ?? [frame, 0];
      sum[1] += this.value(row);
      sums.set(key, sum);
    }
    return [...sums.values()].sort((a, b) => b[1] - a[1]);
  }

  /* Boxes whose name or file is meant, and what they come to within a box, each part once. */
  match(pattern, within) {
    const p = this.p, hit = new Uint8Array(this.length), inside = new Uint8Array(this.length);
    const names = p.texts.map(pattern), byName = new Set();
    const files = new Uint8Array(p.texts.length);
    for (let f = 0; f < p.frameName.length; f++) if (names[p.frameFile[f]]) files[p.frameName[f]] = 1;
    let sum = 0, boxes = 0;
    for (let i = 1; i < this.length; i++) {
      const own = this.name[i] < 0 ? pattern(this.title[i]) : names[this.name[i]] || files[this.name[i]];
      hit[i] = own ? 1 : 0;
      inside[i] = hit[i] | inside[this.parent[i]];
      if (!hit[i] || this.order[i] < this.order[within] || this.order[i] > this.last[within]) continue;
      boxes++;
      if (this.name[i] >= 0) byName.add(this.name[i]);
      if (!inside[this.parent[i]]) sum += this.total[i];
    }
    /* The zoomed box lies within a match: all of it is matched. */
    if (inside[within]) sum = this.total[within];
    return { hit, sum, boxes, functions: byName.size };
  }

  /*
   * Own and total value by whatever `key` says of a frame, within a box, however the tree is turned;
   * recursion counts once: [{ key, frame, self, total }, ...]
   */
  sums(within, key) {
    const p = this.p, sums = new Map();
    for (let row = 0; row < this.leaf.length; row++) {
      if (!this.within(row, within)) continue;
      const value = this.value(row), own = p.rowNode[row];
      for (let node = own; node !== 0; node = p.nodeParent[node]) {
        const frame = p.nodeFrame[node], name = key(frame);
        let sum = sums.get(name);
        if (sum === undefined) sums.set(name, sum = { key: name, frame, self: 0, total: 0, row: -1 });
        if (node === own) sum.self += value;
        if (sum.row !== row) sum.total += value;
        sum.row = row;
      }
    }
    return [...sums.values()];
  }
}
