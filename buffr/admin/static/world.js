// What holds for the whole page: connection, routes, stores, exchanges, the address, the theme.

import { follow, get } from "./api.js";
import { Exchanges } from "./exchanges.js";

const PAGE = 500;
const ENOUGH = 10000;
const THEME = "buffr-theme";

export const exchanges = new Exchanges();

class World {
  connected = false;
  refusal = null;
  version = null;
  routes = [];
  stores = [];
  marked = null;
  /** Counts up with every change of that kind, so that pages load anew. */
  changes = { mode: 0, rules: 0, store: 0, scope: 0, misses: 0, cache: 0 };
  #listeners = new Set();
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  set(more) {
    Object.assign(this, more);
    for (const listener of this.#listeners) listener();
  }
  routeName = (id) => this.routes.find((each) => each.id === id)?.name || id || "";
  storeName = (id) => this.stores.find((each) => each.id === id)?.name || "a store";
}
export const world = new World();

/** Routes and stores with their figures of now. */
export async function loadRoutes() {
  const load = async (name) => world.set({ [name]: (await get(name)).items });
  await Promise.all([load("routes"), load("stores")]);
}

async function loadOlder(next) {
  while (next && exchanges.all.length < ENOUGH) {
    const older = await get("exchanges", { limit: PAGE, before: next });
    await exchanges.older(older.items.reverse());
    next = older.next;
  }
}

function happened(event, data) {
  if (event === "hello") {
    // Another process counts from 1 again: what is here belongs to one that is gone.
    if (world.version && world.version.started_at_ms !== data.version.started_at_ms) return location.reload();
    world.set({ version: data.version });
    exchanges.setCounts(data.counts);
  } else if (event === "exchanges") {
    exchanges.skipped += data.skipped;
    exchanges.add(data.items);
    if (data.items.some((each) => each.route && !world.routes.some((route) => route.id === each.route))) loadRoutes().catch(() => {});
  } else if (event === "open") exchanges.add([data]);
  else if (event === "update") exchanges.update(data);
  else if (event === "counts") {
    if (data.misses !== exchanges.counts.misses) world.changes.misses++;
    exchanges.setCounts(data);
    world.set({});
  } else if (event === "changed") {
    world.changes = { ...world.changes, [data.what]: world.changes[data.what] + 1 };
    world.set({});
    if (/mode|rules|store/.test(data.what)) loadRoutes().catch(() => {});
  }
}

export async function begin() {
  let newest;
  try {
    const first = await get("exchanges", { limit: 200 });
    newest = first.newest ?? undefined;
    exchanges.add(first.items.reverse());
    loadOlder(first.next).catch(() => {});
    await loadRoutes();
  } catch (refusal) {
    world.set({ refusal });
  }
  follow(newest, happened, (connected, refusal) => world.set({ connected, refusal: connected ? null : refusal || world.refusal }));
}

/** The address after the hash, in parts: "#/live/12" is ["live", "12"]. */
export const address = () => location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);

/** Go to a page; replace keeps the way back short, for moves inside a list. */
export function go(parts, replace = false) {
  const hash = "#/" + parts.map((each) => encodeURIComponent(each)).join("/");
  if (hash === location.hash) return;
  // Setting location.hash would tell of it only later, when the next key may have come already.
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new Event("hashchange"));
}

export function theme(next) {
  if (next) localStorage.setItem(THEME, next);
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
  if (next) dispatchEvent(new Event("buffr-theme"));
  return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("buffr-theme")));
