// The live list: what comes through, as it comes, with one exchange beside it.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { age, bytes, CLASS_OF, clock, count, counted, duration, money, SOURCES } from "./format.js";
import { FIELDS } from "./filter.js";
import { Key, useCommands } from "./keys.js";
import { Button, Canvas, Command, later, Mark, toast, useLoad, useStore, useTick } from "./ui.js";
import { Virtual } from "./virtual.js";
import { exchanges, go, world } from "./world.js";

const Compare = later(() => import("./compare.js"), "Compare");
const Exchange = later(() => import("./detail.js"), "Exchange");

const STEPS = 90;
const SPLIT = "buffr-split";
const narrow = matchMedia("(max-width: 640px)");

/** Sources whose numbers stand above the list even while there are none. */
const ALWAYS = new Set(["cassette", "upstream", "miss"]);

const markOf = (source) => (SOURCES.includes(source) ? source : "error");

/** Bars of ten seconds over a quarter of an hour, by where the answers came from; misses stand above. */
function Strip() {
  const [series, , again] = useLoad(() => get("series", { span_s: 900 }), [0]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), 5000);
    return () => clearInterval(timer);
  }, []);
  const steps = (series?.steps || []).slice(-STEPS).map((each) => each.by_source);
  const totals = steps.map((step) => Object.values(step).reduce((sum, n) => sum + n, 0));
  const most = Math.max(1, ...totals);
  const draw = (context, width, height, colour) => {
    const wide = width / STEPS;
    steps.forEach((step, i) => {
      let y = height;
      const x = (STEPS - steps.length + i) * wide;
      const stack = [["cassette", step.cassette], ["cache", (step.cache || 0) + (step.stale || 0)], ["upstream", totals[i] - (step.cassette || 0) - (step.cache || 0) - (step.stale || 0)]];
      for (const [name, n] of stack) {
        if (!n) continue;
        const tall = Math.max(1, (n / most) * (height - 12));
        context.globalAlpha = name === "upstream" ? 0.5 : 0.85;
        context.fillStyle = colour(name);
        context.fillRect(x, y - tall, Math.max(1, wide - 1), tall);
        y -= tall;
      }
      context.globalAlpha = 1;
      if (!step.miss) return;
      context.fillStyle = colour("miss");
      context.beginPath();
      context.moveTo(x, 1);
      context.lineTo(x + 7, 1);
      context.lineTo(x + 3.5, 7);
      context.fill();
    });
  };
  const sum = totals.reduce((all, n) => all + n, 0);
  const misses = steps.reduce((all, step) => all + (step.miss || 0), 0);
  return html`<div class="strip"><p>Last 15 minutes, 10 s a bar${exchanges.skipped > 0 && ` · ${count(exchanges.skipped)} came too fast to be listed`}</p><${Canvas} draw=${draw} of=${[series]} label=${`In the last 15 minutes ${counted(sum, "exchange")}, ${counted(misses, "miss", "misses")}.`} /></div>`;
}

const lengthOf = (ms) => (ms == null ? 0 : Math.max(4, Math.min(100, (Math.log10(Math.max(ms, 0.11) / 0.1) / 5) * 100)));

function Row({ exchange: e, top, index, chosen, now }) {
  const source = e.state === "open" ? "upstream" : e.source;
  const isMiss = source === "miss";
  const badges = [e.state === "open" && "open", e.recorded && "recorded", e.detail && source === "stale" && "stale"].filter(Boolean);
  return html`<div class=${`row cells ${isMiss ? "is-miss" : ""} ${world.marked === e.id ? "is-marked" : ""}`} id=${"x" + e.id} role="row" aria-rowindex=${index + 1} aria-selected=${String(chosen)} style=${{ transform: `translateY(${top}px)` }} data-id=${e.id}>
    <span role="gridcell" class=${markOf(source)}><${Mark} of=${markOf(source)} /></span>
    <span role="gridcell" class=${`source ${markOf(source)}`}>${source}</span>
    <span role="gridcell" class="what"><span class="meaning cut">${e.label}</span><span class="address cut">${e.method} ${e.host}${e.path}</span>${badges.map((each) => html`<span class="badge attention">${each}</span>`)}</span>
    <span role="gridcell" class=${`status ${isMiss ? "miss" : CLASS_OF(e.status)}`}>${e.state === "open" ? "…" : e.status || "gone"}</span>
    <span role="gridcell" class="took number"><span class=${`track ${markOf(source)}`} aria-hidden="true"><i style=${{ width: lengthOf(e.ms) + "%" }}></i></span>${e.state === "open" ? bytes(e.size || 0) : duration(e.ms)}</span>
    <span role="gridcell" class="age number">${age(now - e.at)}</span>
  </div>`;
}

function Group({ group, top }) {
  const facts = [counted(group.items.length, "exchange"), `${count(group.here)} here`, group.misses && counted(group.misses, "miss", "misses"), group.saved && `saved ${duration(group.saved)}${group.usd ? ", " + money(group.usd) : ""}`];
  return html`<div role="row" style=${{ transform: `translateY(${top}px)` }} class="group">
    <span role="gridcell" class="cut"><button type="button" aria-expanded=${String(!group.closed)} onClick=${() => exchanges.toggle(group.name)}><${Mark} of="down" /><b>${group.name || "no scope"}</b></button><span class="quiet small cut">${facts.filter(Boolean).join(" · ")}</span></span></div>`;
}

function Nothing() {
  if (exchanges.filterText)
    return html`<div class="empty"><h2>Nothing passes the filter</h2><p>None of ${counted(exchanges.all.length, "exchange")} matches <code>${exchanges.filterText}</code>.</p><p><${Button} hotkey="Escape" onClick=${() => exchanges.filter("")}>Take the filter away<//></p></div>`;
  const route = world.routes.find((each) => each.listens);
  const where = route ? `http://${route.listens}` : "http://127.0.0.1:8080";
  return html`<div class="empty"><div><h2>Nothing has come through yet</h2>
    <p>buffr waits${route && ` on ${route.listens}, in mode ${route.mode}${route.upstream ? `, for ${route.upstream}` : ""}`}.<br />The first request shows up here as it comes, without a reload.</p></div>
    <div><h3>Point your client here. It keeps its key.</h3><${Command} text=${`export OPENAI_BASE_URL=${where}/v1`} /></div>
    <div><h3>Or try it with curl.</h3><${Command} text=${`curl -i ${where}/`} /></div>
    <div><h3>Or run a program behind buffr. Nothing in it changes.</h3><${Command} text="buffr run -- pytest -q" /></div>
    <p class="small">No API at hand? <code>buffr demo</code> records and replays a sample one, without a network.</p></div>`;
}

function FilterBar({ paused, pause }) {
  const input = useRef(null);
  const { total, by_source: by } = exchanges.counts;
  const chosen = /^src:(\w+)$/.exec(exchanges.filterText)?.[1];
  useCommands([
    { key: "/", label: "filter", foot: true, run: () => input.current.focus() },
    { key: "Space", label: paused ? "go on" : "pause", foot: true, run: pause },
  ]);
  const onKeyDown = (event) => {
    if (event.key === "Enter" || event.key === "Escape") {
      if (event.key === "Escape") exchanges.filter("");
      input.current.blur();
      document.getElementById("list")?.focus();
      event.preventDefault();
    }
  };
  return html`<div class="filter-bar">
    <div class="search" role="search"><${Mark} of="search" /><input ref=${input} type="search" aria-label="Filter" aria-describedby="filter-help" aria-invalid=${String(Boolean(exchanges.problem))} placeholder="Filter, say src:miss dur:>1s" value=${exchanges.filterText} spellcheck="false" autocomplete="off" onInput=${(event) => exchanges.filter(event.target.value)} onKeyDown=${onKeyDown} />
      ${exchanges.problem || exchanges.busy ? html`<span class="hint small miss">${exchanges.problem || "seeking"}</span>` : html`<${Key} of="/" />`}</div>
    <span id="filter-help" class="hidden-text">Words, or ${Object.values(FIELDS).join("; ")}. All must hold; a minus before one means not.</span>
    <div class="sources" role="group" aria-label="By source">
      <button type="button" aria-pressed=${String(!exchanges.filterText)} onClick=${() => exchanges.filter("")}>all <b>${count(total)}</b></button>
      ${SOURCES.filter((each) => by[each] || each === chosen || ALWAYS.has(each)).map((each) => html`<button type="button" aria-pressed=${String(chosen === each)} onClick=${() => exchanges.filter(chosen === each ? "" : `src:${each}`)}><${Mark} of=${each} name=${each} />${each} <b>${count(by[each] || 0)}</b></button>`)}
    </div>
    <${Button} hotkey="Space" aria-pressed=${String(paused)} onClick=${pause}>${paused ? "Go on" : "Pause"}<//>
  </div>`;
}

/** The line between list and detail; it is moved by pointer and arrows, and kept. */
function Splitter({ width, set }) {
  const drag = (event) => {
    const move = (to) => set(Math.max(360, Math.min(innerWidth - 320, to.clientX)));
    const end = () => (removeEventListener("pointermove", move), removeEventListener("pointerup", end));
    event.preventDefault();
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
  };
  const onKeyDown = (event) => {
    const step = { ArrowLeft: -24, ArrowRight: 24 }[event.key];
    if (step) (event.preventDefault(), set(width + step));
  };
  return html`<div class="splitter" role="separator" aria-orientation="vertical" aria-label="Width of the list" aria-valuenow=${width} aria-valuemin="360" aria-valuemax="1600" tabindex="0" onPointerDown=${drag} onKeyDown=${onKeyDown}></div>`;
}

export function Live({ id, open, other }) {
  useStore(exchanges);
  useTick(1000);
  const [paused, setPaused] = useState(false);
  const [width, setWidth] = useState(+localStorage.getItem(SPLIT) || 736);
  const box = useRef(null);
  const scrolled = useRef(0);
  useEffect(() => {
    const fit = () => exchanges.heights(narrow.matches ? 52 : 30, narrow.matches ? 36 : 28);
    fit();
    narrow.addEventListener("change", fit);
    return () => narrow.removeEventListener("change", fit);
  }, []);
  useEffect(() => () => exchanges.hold(false), []);
  const { layout } = exchanges;
  const pause = () => (setPaused(!paused), exchanges.hold(!paused || scrolled.current > 4));
  const onScroll = (y) => {
    scrolled.current = y;
    exchanges.hold(box.paused || y > 4);
  };
  box.paused = paused;
  const choose = (next) => go(["live", next], true);
  const place = layout.place(id);
  const step = (by, wanted = () => true) => {
    for (let i = place < 0 && by < 0 ? layout.count : place; (i += by) >= 0 && i < layout.count; ) {
      const { exchange } = layout.item(i);
      if (exchange && wanted(exchange)) return choose(exchange.id);
    }
  };
  const nextMiss = () => {
    const found = exchanges.all.findLast((e) => e.source === "miss" && !(id && e.id >= id)) || exchanges.all.findLast((e) => e.source === "miss");
    if (found) choose(found.id);
    else toast("No miss.");
  };
  const mark = () => {
    if (!id) return;
    world.set({ marked: world.marked === id ? null : id });
    toast(world.marked ? "Selected. Choose another one, then c compares them." : "No longer selected.");
  };
  const compare = () => (world.marked && world.marked !== id ? go(["live", id, "with", world.marked]) : mark());
  useCommands([
    { key: "j", also: "ArrowDown", label: "down", foot: true, run: () => step(1) },
    { key: "k", also: "ArrowUp", label: "up", foot: true, run: () => step(-1) },
    id && !open && { key: "Enter", label: "open", foot: true, run: () => go(["live", id, "open"]) },
    (id || exchanges.filterText) && { key: "Escape", label: open ? "back to the list" : "back", foot: open, run: () => (id ? go(open ? ["live", id] : ["live"]) : exchanges.filter("")) },
    { key: "m", label: "next miss", foot: true, run: nextMiss },
    id && { key: "x", label: "select for comparing", run: mark },
    id && { key: "c", label: "compare", foot: true, run: compare },
    { key: "Home", label: "newest", run: () => (box.current.scrollTop = 0) },
  ]);
  if (open && id) return html`<${Exchange} key=${id} id=${id} wide onCompare=${compare} />`;
  const now = Date.now() / 1000;
  const row = (i, top) => {
    const { exchange, group } = layout.item(i);
    return exchange ? html`<${Row} key=${exchange.id} exchange=${exchange} top=${top} index=${i} chosen=${exchange.id === id} now=${now} />` : html`<${Group} key=${"g" + group.name} group=${group} top=${top} />`;
  };
  const clicked = (event) => {
    const found = event.target.closest(".row");
    if (found) choose(+found.dataset.id);
  };
  const some = exchanges.all.length > 0 && layout.total > 0;
  const split = (to) => (localStorage.setItem(SPLIT, to), setWidth(to));
  return html`<div class=${`live ${id ? "looking" : ""}`}>
    <${FilterBar} paused=${paused} pause=${pause} />
    ${!some ? html`<div class="scroll">${html`<${Nothing} />`}</div>` : html`
    <div class=${`halves ${id ? "open" : ""}`} style=${{ "--left": width + "px" }}>
      <section class="listing" aria-label="Exchanges">
        <${Strip} />
        <div class="cells heads" aria-hidden="true"><span></span><span>Source</span><span>Meaning and target</span><span>Status</span><span class="number">Time (log)</span><span class="number">Age</span></div>
        <${Virtual} layout=${layout} row=${row} chosen=${place} chosenKey=${id} onScroll=${onScroll} handle=${box} class="rows" id="list" role="grid" aria-label="Exchanges, the newest first" aria-rowcount=${layout.count} aria-colcount="6" aria-activedescendant=${place >= 0 ? "x" + id : undefined} onClick=${clicked} onDblClick=${() => id && go(["live", id, "open"])} />
        ${exchanges.waiting > 0 && html`<${Button} kind="waiting" onClick=${() => (setPaused(false), (box.paused = false), (box.current.scrollTop = 0), exchanges.hold(false))}>${count(exchanges.waiting)} new<//>`}
      </section>
      <${Splitter} width=${width} set=${split} />
      ${id ? html`<${Exchange} key=${id} id=${id} onCompare=${compare} />` : html`<section class="detail" aria-label="Exchange"><div class="empty"><p>Choose an exchange. <${Key} of="j" /> <${Key} of="k" /> move, a click does too.</p><p class="small">Since ${world.version ? clock(world.version.started_at_ms / 1000) : "the start"}: ${counted(exchanges.counts.total, "exchange")}.</p></div></section>`}
    </div>`}
    ${other && html`<${Compare} left=${["exchanges", other]} right=${["exchanges", id]} onClose=${() => go(["live", id])} />`}
  </div>`;
}
