// The cache: its figures, and how to throw stored answers away.

import { html, useState } from "./vendor/htm-preact.js";
import { get, post } from "./api.js";
import { ago, bytes, count, counted } from "./format.js";
import { useCommands } from "./keys.js";
import { attempt, Button, Command, Dialog, Refusal, toast, useLoad, useStore } from "./ui.js";
import { world } from "./world.js";

export const Bar = ({ share, kind = "" }) => html`<span class=${`bar ${kind}`} aria-hidden="true"><i style=${{ width: Math.min(100, share * 100) + "%" }}></i></span>`;

function Purge({ routes, again }) {
  const [by, set] = useState({ route: "", url: "", tag: "" });
  const [sure, ask] = useState(false);
  const given = Object.fromEntries(Object.entries(by).filter(([, value]) => value));
  const purge = (criteria) => attempt(async () => {
    const { purged } = await post("cache/purge", criteria);
    toast(`${counted(purged, "stored answer")} removed.`);
    again();
  });
  const field = (name, label, hint) => html`<label class="field"><span class="quiet">${label}</span><input value=${by[name]} placeholder=${hint} onInput=${(event) => set({ ...by, [name]: event.target.value })} /></label>`;
  useCommands([{ key: "", label: "Purge the whole cache", run: () => ask(true) }]);
  return html`<form class="card pad stack" onSubmit=${(event) => (event.preventDefault(), Object.keys(given).length && purge(given))}><h3>Throw stored answers away</h3>
    <label class="field"><span class="quiet">Route</span><select class="button" value=${by.route} onChange=${(event) => set({ ...by, route: event.target.value })}><option value="">any</option>${routes.map((each) => html`<option value=${each.id}>${each.name}</option>`)}</select></label>
    ${field("url", "Whole URL", "https://api.example.com/products?page=2")}${field("tag", "Tag of the answer", "products")}
    <p class="row-of wrap"><button class="button primary" disabled=${!Object.keys(given).length}>Purge what matches all of it</button><${Button} kind="danger" onClick=${() => ask(true)}>Purge everything<//></p>
    ${sure && html`<${Dialog} title="Purge everything" onClose=${() => ask(false)}><header><h2>Purge the whole cache?</h2></header><div class="pad stack"><p>Every answer is asked of its upstream again.</p><p class="row-of"><${Button} kind="primary" onClick=${() => (ask(false), purge({ everything: true }))}>Purge everything<//><${Button} onClick=${() => ask(false)}>Keep it<//></p></div><//>`}
  </form>`;
}

export function Cache() {
  useStore(world);
  const [figures, refusal, again] = useLoad(() => get("cache"), ["cache", world.changes.cache, world.changes.mode]);
  const routes = world.routes.filter((each) => each.mode === "cache" || each.modes.includes("cache"));
  if (refusal) return html`<div class="empty"><${Refusal} of=${refusal} /></div>`;
  if (figures && !figures.stores.length) return html`<div class="empty"><h2>No route is in mode cache</h2><p>Mode cache stores answers for as long as their upstream, or the settings, allow.</p><${Command} text="buffr cache --target https://api.example.com" /></div>`;
  return html`<div class="overview" tabindex="0" role="region" aria-label="Cache"><div class="lower"><div class="stack">
    ${(figures?.stores || []).map((each) => html`<section class="card"><div class="tiles">
      <div class="tile"><span>Stored answers</span><b>${count(each.entries)}</b><span>${count(each.fresh)} fresh, ${count(each.stale)} stale</span></div>
      <div class="tile"><span>Size</span><b>${bytes(each.size_bytes)}</b><span>${each.max_bytes ? html`<${Bar} share=${each.size_bytes / each.max_bytes} kind="ink" /> of ${bytes(each.max_bytes)}` : "without a bound"}</span></div>
      <div class="tile"><span>Since the start</span><b>${count(each.stored)}</b><span>stored, ${count(each.evicted)} evicted</span></div></div>
      <section class="quiet">${each.name || each.kind}${each.path && html` · <code>${each.path}</code>`} · ${each.routes.map(world.routeName).join(", ")}${each.oldest_at_ms && ` · oldest ${ago((Date.now() - each.oldest_at_ms) / 1000)}`}</section></section>`)}
    </div><${Purge} routes=${routes} again=${again} /></div></div>`;
}
