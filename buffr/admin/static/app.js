// The page: top, what the address names, footer.

import { html, render, useEffect, useReducer, useRef, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { counted } from "./format.js";
import { Key, listen, useAllCommands, useCommands } from "./keys.js";
import { Live } from "./live.js";
import { Help, Palette } from "./palette.js";
import { attempt, Choice, later, Mark, Toast, toast, useStore } from "./ui.js";
import { address, begin, exchanges, go, theme, world } from "./world.js";

// What the first view does without.
const Cache = later(() => import("./cache.js"), "Cache");
const Cassettes = later(() => import("./cassettes.js"), "Cassettes");
const Misses = later(() => import("./misses.js"), "Misses");
const Overview = later(() => import("./overview.js"), "Overview");

const PAGES = [["live", "Live", "cassette"], ["misses", "Misses", "miss"], ["cassettes", "Cassettes", "file"], ["cache", "Cache", "cache"], ["overview", "Overview", "theme"]];
const SPOKEN_EVERY_MS = 5000;

function useAddress() {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    addEventListener("hashchange", again);
    return () => removeEventListener("hashchange", again);
  }, []);
  return address();
}

/** The route that the mode switch is about: that of the exchange looked at, the only one, or all. */
function Modes({ id }) {
  useStore(world);
  const route = world.routes.find((each) => each.id === exchanges.get(id)?.route) || (world.routes.length === 1 ? world.routes[0] : null);
  const routes = route ? [route] : world.routes.filter((each) => each.modes.length);
  const modes = route ? route.modes : [...new Set(routes.flatMap((each) => each.modes))];
  const mode = routes.length && routes.every((each) => each.mode === routes[0].mode) ? routes[0].mode : "";
  const switchTo = (next) => attempt(async () => {
    const able = routes.filter((each) => each.modes.includes(next));
    for (const each of able) await post("mode", { route: each.id, mode: next });
    world.set({ routes: world.routes.map((each) => (able.includes(each) ? { ...each, mode: next } : each)) });
    toast(`${able.length === 1 ? able[0].name : counted(able.length, "route")} in mode ${next}, until buffr ends.`);
  });
  useCommands(modes.map((each) => ({ key: "", label: `Mode ${each}${route ? `: ${route.name}` : ""}`, run: () => switchTo(each) })));
  if (!modes.length) return null;
  return html`<div class="mode-of"><span class="quiet small cut">${route ? `route ${route.name}` : `all routes${mode ? "" : ", mixed"}`}</span>
    <${Choice} kind="modes" label="Mode" choices=${modes.map((each) => [each, each])} value=${mode} onChoose=${switchTo} />
    <select class="button modes-select" aria-label="Mode" value=${mode} onChange=${(event) => switchTo(event.target.value)}>${!mode && html`<option value="">mixed</option>`}${modes.map((each) => html`<option value=${each} selected=${each === mode}>${each}</option>`)}</select></div>`;
}

/** Says new misses to screen readers, seldom. */
function Spoken() {
  const said = useRef({ at: 0, n: null });
  const [text, set] = useState("");
  const n = exchanges.counts.by_source.miss || 0;
  useEffect(() => {
    const { at, n: before } = said.current;
    if (before === null || n <= before) return void (said.current.n = n);
    const timer = setTimeout(() => {
      said.current = { at: performance.now(), n };
      set(`${counted(n - before, "new miss", "new misses")}.`);
    }, Math.max(0, at + SPOKEN_EVERY_MS - performance.now()));
    return () => clearTimeout(timer);
  }, [n]);
  return html`<div class="hidden-text" aria-live="polite">${text}</div>`;
}

function Top({ page, id, help }) {
  useStore(exchanges);
  const { misses } = exchanges.counts;
  const dark = theme() === "dark";
  const [, again] = useReducer((n) => n + 1, 0);
  const turn = () => (theme(dark ? "light" : "dark"), again());
  useCommands([{ key: "", label: dark ? "Light theme" : "Dark theme", run: turn }]);
  return html`<header class="top"><span class="brand"><${Mark} of="logo" />buffr</span>
    <nav class="pages" aria-label="Pages">${PAGES.map(([name, text, mark]) => html`<a href=${"#/" + name} aria-current=${name === page ? "page" : undefined}><${Mark} of=${mark} />${text}${name === "misses" && misses > 0 && html`<span class="badge round">${misses}</span>`}</a>`)}</nav>
    <span class="grow"></span><${Modes} id=${id} />
    <button type="button" class="button square help" aria-label="All keys" onClick=${help}>?</button>
    <button type="button" class="button square" aria-label=${dark ? "Light theme" : "Dark theme"} onClick=${turn}><${Mark} of="theme" /></button><${Spoken} /></header>`;
}

function Footer({ commands }) {
  useStore(world);
  const foot = commands.filter((each) => each.foot);
  return html`<footer class="footer"><div class="keys" aria-hidden="true">${foot.map(({ key, label }) => html`<span class="row-of"><${Key} of=${key} />${label}</span>`)}<span class="row-of"><${Key} of="Ctrl k" />any command</span></div>
    <span role="status" class=${world.connected ? "" : "lost"}>${world.connected ? `connected · ${location.host}` : world.refusal ? world.refusal.message : "connection lost, trying again"}</span></footer>`;
}

function App() {
  const parts = useAddress();
  const page = PAGES.some(([name]) => name === parts[0]) ? parts[0] : "live";
  const [dialog, open] = useState("");
  const id = page === "live" && +parts[1] ? +parts[1] : undefined;
  useCommands([
    { key: "Ctrl k", label: "any command", run: () => open("palette") },
    { key: "?", label: "all keys", run: () => open("help") },
    ...PAGES.map(([name, text]) => ({ key: `g ${name[0]}`, label: `go to ${text}`, run: () => go([name]) })).filter(({ key }, i) => i !== 3 && key),
    { key: "g a", label: "go to Cache", run: () => go(["cache"]) },
  ]);
  useEffect(() => {
    const name = PAGES.find(([each]) => each === page)[1];
    document.title = exchanges.counts.misses ? `(${exchanges.counts.misses}) ${name} · buffr` : `${name} · buffr`;
  });
  const commands = useAllCommands();
  const close = () => open("");
  const shown = {
    live: () => html`<${Live} id=${id} open=${parts[2] === "open"} other=${parts[2] === "with" ? +parts[3] : undefined} />`,
    misses: () => html`<${Misses} id=${parts[1]} />`,
    cassettes: () => html`<${Cassettes} store=${parts[1]} id=${parts[2]} other=${parts[3]} />`,
    cache: () => html`<${Cache} />`,
    overview: () => html`<${Overview} />`,
  };
  return html`<div class="frame"><${Top} page=${page} id=${id} help=${() => open("help")} />
    <main class="page">${shown[page]()}</main><${Footer} commands=${commands} /><${Toast} />
    ${dialog === "palette" && html`<${Palette} commands=${commands.filter(({ key }) => key !== "Ctrl k")} onClose=${close} />`}${dialog === "help" && html`<${Help} commands=${commands} onClose=${close} />`}</div>`;
}

theme();
listen();
const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
begin();
