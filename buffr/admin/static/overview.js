// The overview: what buffr answered, how fast, what it saved, and where limits stand.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { Bar } from "./cache.js";
import { bytes, clock, count, counted, duration, isHere, money, percent, tokens } from "./format.js";
import { useCommands } from "./keys.js";
import { Plot } from "./plots.js";
import { Choice, Refusal, useLoad, useStore } from "./ui.js";
import { exchanges, go, loadRoutes, world } from "./world.js";

const EVERY_MS = 5000;
const SPANS = [[300, "5 min"], [900, "15 min"], [3600, "1 hour"]];
const MOST_BARS = 60;

const sumOf = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);
const hereOf = (counts) => Object.entries(counts).reduce((sum, [source, n]) => sum + (isHere(source) ? n : 0), 0);
const quantile = (sorted, share) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : null);

/** Steps of ten seconds put together, so that at most MOST_BARS bars stand side by side. */
function bars(series) {
  const each = Math.ceil(series.steps.length / MOST_BARS) || 1;
  const out = [];
  for (let i = 0; i < series.steps.length; i += each) {
    const by = {};
    let usd = 0;
    let ms = 0;
    for (const step of series.steps.slice(i, i + each)) {
      for (const [source, n] of Object.entries(step.by_source)) by[source] = (by[source] || 0) + n;
      usd += step.saved_usd || 0;
      ms += step.saved_ms || 0;
    }
    out.push({ at: series.start_at_ms / 1000 + i * series.step_s, by, usd, ms });
  }
  return out;
}

/** Median and 95th percentile of the exchanges that the page has, here and upstream, in the steps of the bars. */
function latencies(steps, width) {
  const from = steps[0]?.at ?? 0;
  const cells = steps.map(() => [[], []]);
  for (let i = exchanges.all.length - 1; i >= 0; i--) {
    const e = exchanges.all[i];
    if (e.at < from - 60) break;
    const cell = cells[Math.floor((e.at - from) / width)];
    if (!cell || e.ms === null || /limit|miss|client|bypass/.test(e.source)) continue;
    cell[isHere(e.source) ? 0 : 1].push(Math.max(e.ms, 0.01));
  }
  return [0, 1].map((side) => {
    const sorted = cells.map((cell) => cell[side].sort((a, b) => a - b));
    return [sorted.map((values) => quantile(values, 0.5)), sorted.map((values) => quantile(values, 0.95))];
  });
}

function Plots({ series }) {
  const steps = bars(series);
  const at = steps.map((step) => step.at);
  const width = steps.length > 1 ? at[1] - at[0] : series.step_s;
  const share = (of) => steps.map(({ by }) => (sumOf(by) ? (of.reduce((sum, source) => sum + (by[source] || 0), 0) / sumOf(by)) * 100 : null));
  const cassette = share(["cassette"]);
  const cache = share(["cache", "stale"]);
  const out = share(["upstream", "shared", "bypass", "error"]);
  const stacked = (...lists) => at.map((_, i) => (lists[0][i] === null ? null : lists.reduce((sum, list) => sum + list[i], 0)));
  const [[here, hereHigh], [up, upHigh]] = latencies(steps, width);
  let usd = 0;
  let ms = 0;
  const spared = steps.map((step) => ((usd += step.usd), (ms += step.ms), [usd, ms]));
  const bar = { bars: true, fill: true };
  return html`<div class="plots">
    <${Plot} title="Where answers came from" sub=${`share, ${duration(width * 1000)} a bar`} at=${at} max=${100} tell=${(value) => `${Math.round(value)} %`} series=${[{ name: "upstream", colour: "field", values: stacked(cassette, cache, out), shown: out, ...bar }, { name: "cache", colour: "cache", values: stacked(cassette, cache), shown: cache, ...bar }, { name: "cassette", colour: "cassette", values: cassette, ...bar }]} />
    <${Plot} title="Time to answer" sub="median, band up to p95, log" at=${at} log tell=${duration} series=${[{ name: "here", colour: "cassette", values: here }, { name: "here p95", bare: true, colour: "cassette", values: hereHigh, low: 0 }, { name: "upstream", colour: "upstream", values: up, dash: [5, 4] }, { name: "upstream p95", bare: true, colour: "upstream", values: upHigh, low: 2 }]} />
    ${usd ? html`<${Plot} title="Money, LLM APIs" sub="not spent, in this span" at=${at} tell=${money} series=${[{ name: "not spent", colour: "cassette", fill: true, values: spared.map(([each]) => each) }]} />` : html`<${Plot} title="Time not waited" sub="for upstreams, in this span" at=${at} tell=${duration} series=${[{ name: "not waited", colour: "cassette", fill: true, values: spared.map(([, each]) => each) }]} />`}
  </div>`;
}

function RoutesTable({ savings }) {
  return html`<section class="card routes-table"><table class="table"><thead><tr><th>Route</th><th>Mode</th><th class="number">Exchanges</th><th class="number">Answered here</th><th class="number">Time saved</th><th class="number">Tokens</th><th class="number">Money</th><th class="number">Misses</th></tr></thead><tbody>
    ${world.routes.map((route) => {
      const total = sumOf(route.counts);
      const share = total ? hereOf(route.counts) / total : null;
      const saved = savings?.by_route[route.id];
      const used = saved && (saved.input_tokens || 0) + (saved.output_tokens || 0);
      return html`<tr><td><a href=${"#/live"} onClick=${() => exchanges.filter(`route:"${route.id}"`)}>${route.name}</a></td><td class="quiet">${route.mode}</td><td class="number">${count(total)}</td><td><span class="share">${share !== null && html`<${Bar} share=${share} />`}${percent(share)}</span></td>
        <td class="number">${saved?.upstream_ms ? duration(saved.upstream_ms) : "–"}</td><td class="number">${used ? tokens(used) : "–"}</td><td class="number">${saved?.usd ? money(saved.usd) : "–"}</td><td class=${`number ${route.counts.miss ? "miss" : "quiet"}`}>${count(route.counts.miss || 0)}</td></tr>`;
    })}</tbody></table></section>`;
}

function Limits({ limits }) {
  const items = limits?.items || [];
  return html`<section><div class="spread"><h3>Limits</h3><span class="faint small">requests let through now</span></div>
    ${!items.length && html`<p class="quiet">No route has one.</p>`}
    ${items.map((each) => html`<div>${each.windows.map((window) => html`<div class="measure"><span class="cut">${world.routeName(each.route)}</span><${Bar} share=${window.used / window.limit} kind=${window.used >= window.limit ? "full" : "ink"} /><span class=${`number ${window.used >= window.limit ? "warn" : ""}`}>${window.used} of ${window.limit} a ${window.per}</span></div>`)}
      ${(each.waiting > 0 || each.refused > 0 || each.held_s > 0) && html`<p class="small quiet">${[each.waiting && `${each.waiting} wait ${duration(each.wait_s * 1000)}`, each.refused && `${count(each.refused)} refused`, each.held_s && `the upstream asked for ${duration(each.held_s * 1000)} of silence`].filter(Boolean).join(", ")}</p>`}</div>`)}</section>`;
}

export function Overview() {
  useStore(world);
  useStore(exchanges);
  const [span, setSpan] = useState(900);
  const [loaded, refusal, again] = useLoad(() => Promise.all([get("series", { span_s: span }), get("savings"), get("limits"), get("status"), get("cache"), loadRoutes()]), ["overview", span, world.changes.mode]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), EVERY_MS);
    return () => clearInterval(timer);
  }, [span]);
  const next = SPANS[(SPANS.findIndex(([each]) => each === span) + 1) % SPANS.length][0];
  useCommands([
    { key: "t", label: "time span", foot: true, run: () => setSpan(next) },
    { key: "", label: "Show misses", run: () => go(["misses"]) },
  ]);
  if (!loaded) return html`<div class="overview">${refusal && html`<${Refusal} of=${refusal} />`}</div>`;
  const [series, savings, limits, status, cache] = loaded;
  const { total, spent, prices_of: dated, models } = savings;
  const all = status.counts.total;
  const used = total.input_tokens === null && total.output_tokens === null ? null : (total.input_tokens || 0) + (total.output_tokens || 0);
  const unknown = models.filter((each) => each.usd === null);
  const since = clock(status.version.started_at_ms / 1000);
  return html`<div class="overview" tabindex="0" role="region" aria-label="Overview">
    <h1 class="hidden-text">Overview</h1>
    <div class="card tiles">
      <div class="tile"><span>Answered here</span><b>${percent(status.hit_rate)}</b><span>${count(hereOf(status.counts.by_source))} of ${counted(all, "exchange")} since ${since}</span></div>
      <div class="tile"><span>Time not waited</span><b>${duration(total.upstream_ms)}</b><span>what upstreams took when recorded</span></div>
      <div class="tile"><span>Tokens not bought</span><b>${tokens(used)}</b><span>${used ? `${tokens(total.input_tokens)} in, ${tokens(total.output_tokens)} out, from usage` : "no call to a model was answered here"}</span></div>
      <div class="tile"><span>Money not spent</span><b>${money(total.usd)}</b><span>${[spent.usd != null && `${money(spent.usd)} spent`, dated && `prices of ${dated}`, unknown.length && `no price for ${unknown.length === 1 ? unknown[0].model : counted(unknown.length, "model")}`].filter(Boolean).join("; ") || `${bytes(total.bytes)} not transferred`}</span></div>
    </div>
    <div class="spread"><span class="faint small">${counted(status.counts.open, "exchange")} under way, ${counted(status.watchers, "page")} open</span><${Choice} label="Time span" choices=${SPANS} value=${span} onChoose=${setSpan} /></div>
    <${Plots} key=${span} series=${series} />
    <div class="lower"><${RoutesTable} savings=${savings} />
      <div class="card"><${Limits} limits=${limits} />
        <section><div class="spread"><h3>Stores</h3><span class="faint small">on disk</span></div>
          ${cache.stores.map((each) => html`<div class="measure"><span class="cut">cache, ${counted(each.entries, "answer")}</span>${each.max_bytes ? html`<${Bar} share=${each.size_bytes / each.max_bytes} kind="ink" />` : html`<span></span>`}<span class="number">${bytes(each.size_bytes)}${each.max_bytes ? ` of ${bytes(each.max_bytes)}` : ""}</span></div>`)}
          <div class="measure"><a href="#/cassettes">${counted(world.stores.length, "cassette")}</a><span class="quiet">${counted(world.stores.reduce((sum, each) => sum + each.interactions, 0), "interaction")}</span><span class="number">${bytes(world.stores.reduce((sum, each) => sum + (each.size_bytes || 0), 0))}</span></div></section>
        ${status.counts.failed_appends > 0 && html`<section><p class="note">${counted(status.counts.failed_appends, "recording")} could not be kept. The log says why.</p></section>`}
      </div></div></div>`;
}
