// The exchanges that the page knows: the newest 10,000, their counts, and which of them pass the filter.

import { get } from "./api.js";
import { parse } from "./filter.js";
import { isHere } from "./format.js";

const MOST = 10000;
const SPARE = 500;
const SLICE_MS = 6;
const HIDDEN_MS = 500;
const BUSY_MS = 250;
/** So many rows at once are nothing that anybody reads: they are drawn less often. */
const SCREENFUL = 30;

/** An exchange as the page uses it: the API's summary, with a few words worked out once. */
function read(summary) {
  const { host, path } = summary;
  return Object.assign(summary, {
    at: summary.at_ms / 1000, ms: summary.duration_ms, size: summary.response_bytes, host: host || "",
    words: `${summary.label} ${summary.method} ${host || ""}${path}`.toLowerCase(),
  });
}

/** What stands in the list: groups by scope, the latest first, and their exchanges, the newest first. */
class Layout {
  constructor(groups, rowHeight, headHeight) {
    this.groups = groups;
    this.rowHeight = rowHeight;
    const heads = groups.length > 1 || (groups[0] && groups[0].name);
    this.headHeight = heads ? headHeight : 0;
    this.lead = heads ? 1 : 0;
    this.firsts = [];
    this.tops = [];
    this.count = this.height = this.total = 0;
    for (const group of groups) {
      this.firsts.push(this.count);
      this.tops.push(this.height);
      const rows = group.closed && heads ? 0 : group.items.length;
      this.total += group.items.length;
      this.count += this.lead + rows;
      this.height += this.headHeight + rows * rowHeight;
    }
  }
  #before(list, value) {
    let low = 0;
    for (let high = list.length - 1; low < high; ) {
      const half = (low + high + 1) >> 1;
      if (list[half] <= value) low = half;
      else high = half - 1;
    }
    return low;
  }
  top(i) {
    const at = this.#before(this.firsts, i);
    const inside = i - this.firsts[at];
    return this.tops[at] + (inside < this.lead ? 0 : this.headHeight + (inside - this.lead) * this.rowHeight);
  }
  at(y) {
    const at = this.#before(this.tops, y);
    const down = y - this.tops[at] - this.headHeight;
    const rows = down < 0 ? 0 : this.lead + Math.floor(down / this.rowHeight);
    return Math.max(0, Math.min(this.count - 1, this.firsts[at] + rows));
  }
  /** {group} for a head, {exchange} for a row. */
  item(i) {
    const at = this.#before(this.firsts, i);
    const group = this.groups[at];
    const inside = i - this.firsts[at] - this.lead;
    return inside < 0 ? { group } : { exchange: group.items[group.items.length - 1 - inside] };
  }
  /** The row of an exchange, or -1. */
  place(id) {
    for (const [at, group] of this.groups.entries()) {
      if (group.closed && this.lead) continue;
      const found = group.items.findLastIndex((e) => e.id === id);
      if (found >= 0) return this.firsts[at] + this.lead + group.items.length - 1 - found;
    }
    return -1;
  }
}

export class Exchanges {
  all = [];
  counts = { total: 0, by_source: {}, misses: 0 };
  filterText = "";
  problem = "";
  busy = false;
  held = false;
  waiting = 0;
  skipped = 0;
  #byId = new Map();
  #filter = parse("");
  #found = null;
  #groups = new Map();
  #closed = new Set();
  #listeners = new Set();
  #frame = 0;
  #come = 0;
  #run = 0;
  #heights = [30, 28];
  layout = new Layout([], 30, 28);

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  /** Tell listeners, once a frame; less often if much comes, or if the page is in the background and has no frames. */
  changed() {
    if (this.#frame) return;
    const tell = () => {
      this.#frame = this.#come = 0;
      for (const listener of this.#listeners) listener();
    };
    const wait = document.hidden ? HIDDEN_MS : this.#come > SCREENFUL ? BUSY_MS : 0;
    this.#frame = wait ? setTimeout(tell, wait) : requestAnimationFrame(tell);
  }
  get(id) {
    return this.#byId.get(id);
  }

  /** Takes in summaries, the oldest first; one that is known (it was open) is replaced in its place. */
  add(summaries) {
    for (const summary of summaries) {
      const known = this.#byId.get(summary.id);
      const exchange = read(summary);
      if (known) {
        const before = this.#passes(known);
        Object.assign(known, exchange);
        if (!before && this.#passes(known)) this.#place(known, this.held);
        continue;
      }
      this.#byId.set(exchange.id, exchange);
      this.all.push(exchange);
      if (this.#passes(exchange)) this.#place(exchange, this.held);
    }
    this.#come += summaries.length;
    if (this.all.length > MOST + SPARE) this.#forget();
    if (!this.held) this.#lay();
    this.changed();
  }
  /** Older ones than all that are known, the oldest first. */
  older(summaries) {
    const fresh = summaries.filter((each) => !this.#byId.has(each.id)).map(read);
    for (const exchange of fresh) this.#byId.set(exchange.id, exchange);
    this.all = fresh.concat(this.all);
    return this.#refill();
  }
  /** More of an open exchange has come. */
  update({ id, ...more }) {
    const exchange = this.#byId.get(id);
    if (exchange) Object.assign(exchange, more, { size: more.response_bytes });
    this.changed();
  }
  setCounts(counts) {
    this.counts = counts;
    this.changed();
  }

  /** Stand still (true), or take up what came meanwhile. */
  hold(held) {
    if (held === this.held) return;
    this.held = held;
    if (!held) {
      for (const group of this.#groups.values()) group.items.push(...group.later.splice(0));
      this.waiting = 0;
      this.#lay();
    }
    this.changed();
  }
  heights(row, head) {
    this.#heights = [row, head];
    this.#lay();
    this.changed();
  }
  toggle(name) {
    if (!this.#closed.delete(name)) this.#closed.add(name);
    this.#lay();
    this.changed();
  }

  /** Filters in slices, so that typing never waits; a body: term is sought by buffr. */
  async filter(text) {
    this.filterText = text;
    const run = ++this.#run;
    this.#filter = parse(text);
    this.problem = this.#filter.problem && `What is “${this.#filter.problem}”?`;
    this.#found = null;
    this.changed();
    if (this.#filter.body) {
      this.busy = true;
      try {
        const found = await get("exchanges", { q: `body:"${this.#filter.body}"`, limit: 1000 });
        if (run !== this.#run) return;
        this.#found = new Set(found.items.map((each) => each.id));
      } catch (refusal) {
        this.problem = refusal.message;
      }
      this.busy = false;
    }
    await this.#refill(run);
  }
  async #refill(run = ++this.#run) {
    const groups = new Map();
    const length = this.all.length;
    let began = performance.now();
    for (let i = 0; i < length; i++) {
      const exchange = this.all[i];
      if (this.#passes(exchange)) this.#place(exchange, false, groups);
      if ((i & 255) === 255 && performance.now() - began > SLICE_MS) {
        await new Promise((next) => setTimeout(next));
        if (run !== this.#run) return;
        began = performance.now();
      }
    }
    for (const exchange of this.all.slice(length)) if (this.#passes(exchange)) this.#place(exchange, false, groups);
    this.#groups = groups;
    this.waiting = 0;
    this.#lay();
    this.changed();
  }
  #passes(exchange) {
    return this.#filter.test(exchange, Date.now() / 1000) && (!this.#found || this.#found.has(exchange.id));
  }
  #place(exchange, later, groups = this.#groups) {
    let group = groups.get(exchange.scope);
    if (!group) groups.set(exchange.scope, (group = { name: exchange.scope, items: [], later: [], here: 0, misses: 0, saved: 0, usd: 0 }));
    (later ? group.later : group.items).push(exchange);
    if (later) this.waiting++;
    group.here += isHere(exchange.source);
    group.misses += exchange.source === "miss";
    group.saved += exchange.saved?.upstream_ms || 0;
    group.usd += exchange.saved?.usd || 0;
  }
  #forget() {
    for (const exchange of this.all.splice(0, this.all.length - MOST)) this.#byId.delete(exchange.id);
    if (!this.held) this.#refill();
  }
  #lay() {
    const groups = [...this.#groups.values()].filter((group) => group.items.length).reverse();
    for (const group of groups) group.closed = this.#closed.has(group.name);
    this.layout = new Layout(groups, ...this.#heights);
  }
}
