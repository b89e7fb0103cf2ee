// Cassettes: stores, what is found in them, and one recording, which can be edited, noted or deleted.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get, remove } from "./api.js";
import { request as modelRequest } from "./conversation.js";
import { Compare } from "./compare.js";
import { Match, Raw, Request, Response } from "./detail.js";
import { Editor, Note, sizeOf } from "./editing.js";
import { age, bytes, CLASS_OF, count, counted, day, duration } from "./format.js";
import { useCommands } from "./keys.js";
import { piecesOf } from "./pieces.js";
import { Stream } from "./stream.js";
import { attempt, Button, Command, Dialog, Mark, Refusal, Tabs, toast, useLoad, useStore } from "./ui.js";
import { even, Virtual } from "./virtual.js";
import { exchanges, go, loadRoutes, world } from "./world.js";

const SETTLE_MS = 150;
const PAGE = 200;
const ROW = 44;
const WHOLE_BODY = 8388608;

/** What is found, page by page as far as it is scrolled to. */
function useFinds({ id: store, interactions }, q, changes) {
  const [state, set] = useState({ items: [], next: undefined, total: 0 });
  // What is recorded meanwhile joins a list that is short; a long one would jump.
  const fresh = state.next ? 0 : interactions;
  const run = useRef(0);
  const more = async (from) => {
    const mine = ++run.current;
    const began = performance.now();
    try {
      let { items, next } = from;
      do {
        const page = await get("interactions", { store, q, limit: PAGE, cursor: next });
        if (mine !== run.current) return;
        items = items.concat(page.items);
        next = page.next;
        set({ items, next, total: page.total, took: performance.now() - began, busy: Boolean(next) && items.length === from.items.length });
      } while (next && items.length === from.items.length);
    } catch (refusal) {
      if (mine === run.current) set({ ...from, refusal });
    }
  };
  useEffect(() => {
    const timer = setTimeout(() => more({ items: [], next: undefined, total: 0 }), q ? SETTLE_MS : 0);
    return () => (clearTimeout(timer), run.current++);
  }, [store, q, changes, fresh]);
  return [state, () => state.next && !state.busy && more(state)];
}

function Excerpt({ of, q }) {
  if (of.excerpt) return html`<span class="excerpt cut">…${of.excerpt[0]}<mark class="found">${of.excerpt[1]}</mark>${of.excerpt[2]}…</span>`;
  const at = q ? of.url.toLowerCase().indexOf(q.toLowerCase()) : -1;
  if (at < 0) return html`<span class="excerpt cut">${of.found_in && of.found_in !== "url" ? `found in ${of.found_in === "header" ? "a header" : "a body"} · ` : ""}${of.method} ${of.path}</span>`;
  return html`<span class="excerpt cut">${of.url.slice(0, at)}<mark class="found">${of.url.slice(at, at + q.length)}</mark>${of.url.slice(at + q.length)}</span>`;
}

function Finds({ store, id }) {
  const [q, setQ] = useState("");
  const [found, more] = useFinds(store, q, world.changes.store);
  const input = useRef(null);
  const chosen = found.items.findIndex((each) => each.id === id);
  const choose = (i) => found.items[i] && go(["cassettes", store.id, found.items[i].id], true);
  useCommands([
    { key: "j", also: "ArrowDown", label: "down", foot: true, run: () => choose(chosen + 1) },
    { key: "k", also: "ArrowUp", label: "up", foot: true, run: () => choose(Math.max(0, chosen - 1)) },
    { key: "/", label: "search", foot: true, run: () => input.current.focus() },
  ]);
  const row = (i, top) => {
    const each = found.items[i];
    return html`<div key=${each.id} class="find" role="option" id=${"i" + each.id} aria-selected=${String(i === chosen)} style=${{ transform: `translateY(${top}px)` }} onClick=${() => choose(i)}>
      <span class="at">${each.index}</span><span class="cut"><span class="meaning cut" style=${{ display: "block" }}>${each.label} ${each.fault && html`<span class="badge attention">never replayed</span>`}${each.note && html`<span class="badge">note</span>`}</span><${Excerpt} of=${each} q=${q} /></span>
      <span class=${`mono number ${CLASS_OF(each.status)}`}>${each.status}</span><span class="number small quiet">${sizeOf(each)}</span><span class="number small quiet">${each.recorded_at_ms ? age((Date.now() - each.recorded_at_ms) / 1000) : "–"}</span></div>`;
  };
  const onScroll = (y) => y > (found.items.length - 30) * ROW && more();
  return html`<section class="finds" aria-label="Recordings"><header>
      <${Button} kind="narrow-only" onClick=${() => go(["cassettes"])}>All cassettes<//>
      <div class="search" role="search"><${Mark} of="search" /><input ref=${input} type="search" aria-label="Search recordings" placeholder="Search path, header, body" value=${q} spellcheck="false" onInput=${(event) => setQ(event.target.value)} onKeyDown=${(event) => event.key === "Escape" && (setQ(""), input.current.blur())} /></div>
      <span class="quiet small" role="status">${q ? html`<b>${count(found.items.length)}${found.next && "+"}</b> of ${count(found.total)}${found.took !== undefined && `, in ${duration(found.took)}`}` : counted(found.total, "interaction")}, in recorded order</span><${Refusal} of=${found.refusal} /></header>
    <${Virtual} layout=${even(found.items.length, ROW)} row=${row} chosen=${chosen} chosenKey=${id} onScroll=${onScroll} class="rows grow" role="listbox" aria-label="Recordings" aria-activedescendant=${chosen >= 0 ? "i" + id : undefined} /></section>`;
}

function Interaction({ id, store }) {
  const [whole, setWhole] = useState(false);
  const [detail, refusal, again] = useLoad(() => get(`interactions/${id}`, whole ? { body_bytes: WHOLE_BODY } : {}), [id, whole]);
  const [tab, setTab] = useState("Response");
  const [editing, setEditing] = useState(false);
  const [sure, ask] = useState(false);
  const pieces = detail ? piecesOf(detail) : [];
  const talk = detail && modelRequest(detail);
  const names = [talk && "Conversation", "Request", "Response", pieces.length > 1 && (detail.frames ? "Messages" : "Chunks"), "Match", "Raw", "Note"].filter(Boolean);
  const shown = names.includes(tab) ? tab : names[1];
  const editable = detail?.element && store.writable;
  const saved = (now) => {
    setEditing(false);
    if (now.summary.id === id) again();
    else go(["cassettes", store.id, now.summary.id], true);
  };
  const drop = () => attempt(async () => {
    await remove(`interactions/${id}`);
    toast(`Interaction ${detail.summary.index} is deleted from ${store.name}.`);
    go(["cassettes", store.id], true);
  });
  const mark = () => (world.set({ marked: id }), toast("Selected. Choose another one, then c compares them."));
  const compare = () => (world.marked && world.marked !== id ? go(["cassettes", store.id, id, world.marked]) : mark());
  useCommands(editing ? [] : [
    ...names.map((name, i) => ({ key: String(i + 1), label: name.toLowerCase(), run: () => setTab(name) })),
    editable && { key: "e", label: "edit", foot: true, run: () => (setWhole(true), setEditing(true)) },
    { key: "x", label: "select for comparing", foot: true, run: mark },
    { key: "c", label: "compare", run: compare },
    editable && { key: "n", label: "note", foot: true, run: () => setTab("Note") },
    editable && { key: "Delete", also: "Backspace", label: "delete", foot: true, run: () => ask(true) },
    { key: "Escape", label: "back", run: () => go(["cassettes", store.id]) },
  ]);
  if (!detail) return html`<section class="detail" aria-label="Recording"><div class="pad">${refusal && html`<${Refusal} of=${refusal} /><${Button} onClick=${() => go(["cassettes", store.id])}>Back<//>`}</div></section>`;
  const { summary } = detail;
  const all = () => setWhole(true);
  return html`<section class="detail" aria-label="Recording">
    <div class="title"><div class="spread"><h2>${summary.index} · ${summary.label}</h2><div class="row-of"><${Button} kind="narrow-only" onClick=${() => go(["cassettes", store.id])}>Back<//>
      ${editable && !editing && html`<${Button} hotkey="e" onClick=${() => (setWhole(true), setEditing(true))}>Edit<//><${Button} kind="danger" onClick=${() => ask(true)}>Delete<//>`}</div></div>
      <p class="address">${summary.method} ${summary.url}</p>
      <p class="quiet">${summary.recorded_at_ms ? `Recorded ${day(summary.recorded_at_ms / 1000)}` : "Recorded at an unknown time"}${summary.duration_ms ? `, when the upstream took ${duration(summary.duration_ms)}` : ""}.</p>
      ${summary.fault && html`<p class="note">Never replayed: ${summary.fault}</p>`}</div>
    ${editing && !(whole && detail.response?.body.truncated) ? html`<${Editor} detail=${detail} onSaved=${saved} onEnd=${() => setEditing(false)} />` : html`
    <${Tabs} names=${names} value=${shown} onChoose=${setTab} />
    <div class="panel" role="tabpanel" aria-label=${shown} tabindex="0">
      ${shown === "Request" ? html`<${Request} of=${detail.request} onAll=${all} />` : shown === "Response" ? html`<${Response} of=${detail.response} onAll=${all} />`
        : shown === "Match" ? html`<${Match} of=${detail.match} />` : shown === "Raw" ? html`<${Raw} request=${detail.request} response=${detail.response} onAll=${all} />`
        : shown === "Note" ? html`<${Note} key=${id} detail=${detail} onSaved=${saved} />` : html`<${Stream} detail=${detail} pieces=${pieces} talk=${shown === "Conversation" && talk} usd=${detail.usage?.usd} />`}
    </div>`}
    ${sure && html`<${Dialog} title="Delete the recording" onClose=${() => ask(false)}><header><h2>Delete interaction ${summary.index}?</h2></header><div class="pad stack"><p>${summary.label} goes from ${store.name}. In mode replay, such a request is a miss from then on. Git, if the cassette is in it, still has it.</p>
      <form method="dialog" class="row-of"><button class="button primary" autofocus onClick=${drop}>Delete it</button><button class="button">Keep it</button></form></div><//>`}
  </section>`;
}

export function Cassettes({ store: chosen, id, other }) {
  useStore(world);
  useEffect(() => void loadRoutes().catch(() => {}), [exchanges.counts.recorded]);
  const stores = world.stores;
  const store = stores.find((each) => each.id === chosen) || (chosen ? undefined : stores[0]);
  useCommands(stores.length > 1 ? stores.map((each) => ({ key: "", label: `Open ${each.name}`, run: () => go(["cassettes", each.id]) })) : []);
  if (!stores.length) return html`<div class="empty"><h2>No cassette yet</h2><p>None is open. One comes with the first recording.</p><${Command} text="buffr record --target https://api.openai.com" /></div>`;
  const total = stores.reduce((sum, each) => sum + each.interactions, 0);
  const trouble = stores.filter((each) => each.trouble);
  return html`<div class="columns cassettes" data-shown=${id ? "2" : chosen ? "1" : "0"}>
    <nav class="rail" aria-label="Cassettes"><header class="spread"><b>${counted(stores.length, "cassette")}</b><span class="faint">${counted(total, "interaction")}</span></header>
      <ul>${stores.map((each) => html`<li><button type="button" class="entry slim" title=${each.path || each.kind} aria-current=${each === store ? "true" : undefined} onClick=${() => go(["cassettes", each.id])}><${Mark} of="file" /><span class="cut grow">${each.name}</span>${each.trouble && html`<span class="badge attention">trouble</span>`}${!each.writable && html`<span class="badge">read only</span>`}<span class="quiet">${count(each.interactions)}</span></button></li>`)}</ul>
      <footer>${trouble.length ? trouble.map((each) => html`<p><b>${each.name}</b>: ${each.trouble}</p>`) : store?.path ? html`<span style=${{ overflowWrap: "anywhere" }}>${store.path}${store.size_bytes != null && `, ${bytes(store.size_bytes)}`}</span>` : "Nothing is wrong with them."}</footer></nav>
    ${store ? html`<${Finds} key=${store.id} store=${store} id=${id} />` : html`<section class="finds pad">That cassette is not open.</section>`}
    ${id && store ? html`<${Interaction} key=${id} id=${id} store=${store} />` : html`<section class="detail" aria-label="Recording"><div class="empty"><p>Choose a recording to see both its sides, edit it, or write a note.</p></div></section>`}
    ${other && html`<${Compare} left=${["interactions", other]} right=${["interactions", id]} onClose=${() => go(["cassettes", chosen, id])} />`}
  </div>`;
}
