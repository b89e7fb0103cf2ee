// Plots over time, by uPlot; behind each stands a table with the same figures.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { clock } from "./format.js";
import { colour } from "./ui.js";

const HEIGHT = 226;
const TABLE_ROWS = 30;

/** uPlot is a script of 50 kB that only this page needs. */
let loading;
const library = () =>
  (loading ||= new Promise((done, failed) => {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/static/vendor/uplot.css" });
    const script = document.createElement("script");
    script.src = "/static/vendor/uplot.js";
    script.onload = () => done(globalThis.uPlot);
    script.onerror = failed;
    document.head.append(style, script);
  }));

/** A single value makes no line: it is a point. */
const alone = (plot, i) => plot.data[i].filter((value) => value != null).length === 1;

const axis = (more) => ({ stroke: () => colour("ink2"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", gap: 4, ...more });

/**
 * series: [{name, colour, values, dash, fill, bars, low}]; low names the series that a band reaches down to.
 * at: seconds. tell(value) writes a value; log: a logarithmic scale.
 */
export function Plot({ title, sub, at, series, tell, log, max }) {
  const box = useRef(null);
  const plot = useRef(null);
  const shape = series.map((each) => each.name).join() + log;
  const data = [at, ...series.map((each) => each.values)];
  const latest = useRef(data);
  latest.current = data;
  const make = async () => {
    const Library = await library();
    if (!box.current) return;
    plot.current?.destroy();
    const edge = at.length > 1 ? (at[1] - at[0]) / 2 : 5;
    const decades = (_, ticks) => ticks.map((tick) => (Math.log10(tick) % 1 ? null : tick));
    plot.current = new Library({
      width: box.current.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, points: { size: 5 } },
      scales: { x: { time: true, range: (_, low, high) => [low - edge, high + edge] }, y: { distr: log ? 3 : 1, range: log ? undefined : (_, low, high) => [0, max || high * 1.1 || 1] } },
      axes: [axis({ space: 70, size: 26, values: (_, ticks) => ticks.map(clock) }), axis({ size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : tell(tick))), ...(log ? { filter: decades, grid: { stroke: () => colour("line"), width: 1, filter: decades } } : {}) })],
      series: [{}, ...series.map((each) => ({
        label: each.name, stroke: () => (each.bare ? "transparent" : colour(each.colour)), width: each.bars || each.bare ? 0 : 1.75, dash: each.dash, points: { show: each.bars || each.bare ? false : alone, size: 5 }, spanGaps: true,
        fill: each.fill && (() => colour(each.colour).replace("rgb(", "rgba(").replace(")", each.bars ? ", 1)" : ", .16)")), paths: each.bars && Library.paths.bars({ size: [0.85, 60], gap: 1 }),
      }))],
      bands: series.flatMap((each, i) => (each.low === undefined ? [] : [{ series: [i + 1, each.low + 1], fill: () => colour(each.colour).replace("rgb(", "rgba(").replace(")", ", .16)") }])),
    }, latest.current, box.current);
  };
  useEffect(() => {
    make();
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    sized.observe(box.current);
    const themed = () => plot.current?.redraw();
    addEventListener("buffr-theme", themed);
    return () => (sized.disconnect(), removeEventListener("buffr-theme", themed), plot.current?.destroy(), (plot.current = null));
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [at[at.length - 1], at.length]);
  const named = series.filter((each) => !each.bare);
  const from = Math.max(0, at.length - TABLE_ROWS);
  return html`<figure class="card plot"><figcaption class="spread"><h3>${title}</h3><span class="faint small">${sub}</span></figcaption>
    <div class="legend">${named.map((each) => html`<span><i class=${each.colour}></i>${each.name}</span>`)}</div>
    <div class="canvas" ref=${box} aria-hidden="true"></div>
    <details><summary>As a table</summary><table class="table"><thead><tr><th>Time</th>${named.map((each) => html`<th class="number">${each.name}</th>`)}</tr></thead><tbody>
      ${at.slice(from).map((time, i) => html`<tr><td>${clock(time)}</td>${named.map((each) => html`<td class="number">${(each.shown || each.values)[from + i] == null ? "–" : tell((each.shown || each.values)[from + i])}</td>`)}</tr>`)}</tbody></table></details></figure>`;
}
