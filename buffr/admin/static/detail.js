// One exchange: a sentence about its answer, and both sides, the stream, the match, the time, the bytes.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { Body, textOf } from "./bodies.js";
import { request as modelRequest } from "./conversation.js";
import { age, ago, bytes, counted, day, duration, middle } from "./format.js";
import { useCommands } from "./keys.js";
import { piecesOf } from "./pieces.js";
import { Stream } from "./stream.js";
import { Button, copy, Mark, Refusal, Tabs, useLoad, useStore } from "./ui.js";
import { exchanges, go, world } from "./world.js";

const FIRST_FIELDS = 6;
const WHOLE_BODY = 8388608;
const SETTLE_MS = 50;
/** What mode auto passes on without keeping it, besides 5xx. */
const UNKEPT = new Set([401, 407, 408, 429]);

function Value({ text }) {
  const [whole, unfold] = useState(false);
  const redacted = text.includes("REDACTED") ? "redacted" : "";
  if (text.length <= 72) return html`<dd class=${redacted}>${text}</dd>`;
  return html`<dd class=${redacted}><button type="button" class="value" aria-expanded=${String(whole)} onClick=${() => unfold(!whole)}>${whole ? text : middle(text, 64)}</button></dd>`;
}

function Fields({ of, all = false }) {
  const [open, unfold] = useState(all);
  const shown = open ? of : of.slice(0, FIRST_FIELDS);
  return html`<section><dl class="fields">${shown.map(([name, value]) => html`<dt>${name}</dt><${Value} text=${value} />`)}</dl>
    ${shown.length < of.length && html`<${Button} kind="bare" onClick=${() => unfold(true)}>${counted(of.length - shown.length, "more header")}<//>`}</section>`;
}

export const Request = ({ of, onAll, raw }) => html`<div class="side"><h3>Request<span>${bytes(of.body.size_bytes)}</span></h3><${Fields} of=${of.headers} /><${Body} body=${of.body} onAll=${onAll} raw=${raw} hotkey="y" /></div>`;

export const Response = ({ of, onAll, raw }) => html`<div class="side"><h3>Response<span>${of && bytes(of.body.size_bytes)}</span></h3>${!of
  ? html`<p class="faint">None is kept.</p>`
  : html`<${Fields} of=${[["status", `${of.status} ${of.reason}`], ...of.headers]} />${of.truncated && html`<p class="note">It broke off: ${of.truncated}</p>`}<${Body} body=${of.body} onAll=${onAll} raw=${raw} />${of.trailers.length > 0 && html`<h3>Trailers</h3><${Fields} of=${of.trailers} all />`}`}</div>`;

const line = (side) => `${side.method} ${side.url}`;
const rawHead = (side) => (side.method ? line(side) : `${side.status} ${side.reason}`) + "\n" + side.headers.map(([name, value]) => `${name}: ${value}`).join("\n");

export const Raw = ({ request, response, onAll }) => html`<div class="sides">${[request, response].filter(Boolean).map((side) => html`<div class="side"><pre class="body" tabindex="0">${rawHead(side)}</pre><br /><${Body} body=${side.body} raw onAll=${onAll} /></div>`)}</div>`;

export const Match = ({ of }) => !of
  ? html`<p class="pad faint">This route keeps nothing, so nothing has to match.</p>`
  : html`<div class="sides"><div class="side"><h3>What identifies the request</h3><dl class="fields">${of.parts.map(([name, value]) => html`<dt>${name}</dt><${Value} text=${value} />`)}</dl></div>
    <div class="side"><h3>Left out of the match</h3><p>${of.left_out.join(", ") || "Nothing."}</p></div></div>`;

/** One sentence: where the answer came from, why, and what it spared. */
function Verdict({ e, interaction }) {
  const where = interaction && html`interaction ${interaction.index} of <code>${world.storeName(interaction.store)}</code>`;
  const recordedAt = interaction?.recorded_at_ms && `, recorded ${ago((Date.now() - interaction.recorded_at_ms) / 1000)}`;
  const took = duration(e.ms);
  const spared = e.saved?.upstream_ms ? ` The upstream took ${duration(e.saved.upstream_ms)} then.` : "";
  const [reason] = (e.detail || "").split("\n");
  const why = reason && ` ${reason[0].toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
  const passes = (e.status >= 500 || UNKEPT.has(e.status)) && world.routes.find((each) => each.id === e.route)?.mode === "auto";
  const told = {
    cassette: [`Answered from the cassette`, html` in ${took}${where && html`, by ${where}`}${recordedAt}.${spared}${why}`],
    cache: ["Answered from the cache", html` in ${took}${e.age_s != null && `, ${age(e.age_s)} old`}.${spared}${why}`],
    stale: ["Answered with a stale answer", html` in ${took}${e.age_s != null && `, ${age(e.age_s)} old`}.${why}`],
    shared: ["Shared the call of another request", html`, and waited ${took}.${where && html` It is ${where}.`}`],
    upstream: ["Asked the upstream", html`, which took ${took}.${e.recorded ? html` Recorded${where && html` as ${where}`}.` : ` Not recorded${passes ? `: mode auto keeps no ${e.status}` : ""}.`}${why}`],
    miss: ["No recording matches.", html`${why} The client got status ${e.status}.`],
    limit: ["Refused by a limit", html` after ${took}.${why}`],
    bypass: ["Passed by", html`: buffr relayed it for ${took} and did not look inside.`],
    client: ["Not a request that can be read.", why],
    error: ["Failed", html` after ${took}.${why}`],
  };
  const [head, rest] = e.state === "open" ? ["Being answered by the upstream", html`. ${counted(e.frames ?? e.chunks ?? 0, e.frames == null ? "chunk" : "frame")}, ${bytes(e.size || 0)} so far.`] : told[e.source] || [e.source, why];
  const mark = e.source === "client" ? "error" : e.state === "open" ? "upstream" : e.source;
  return html`<p class="verdict"><${Mark} of=${mark} name=${mark} /><span><b class=${mark}>${head}</b>${rest}</span></p>`;
}

const DRIFT = { value: "Values differ", addition: "Something was added", breaking: "It breaks what was recorded" };

/** What the live API answered otherwise, where the recording was checked. */
function Drift({ of }) {
  if (of.result === "same") return html`<p class="row-of quiet small"><${Mark} of="check" name="cassette" />Checked: the live API still answers so.</p>`;
  if (!DRIFT[of.result]) return null;
  return html`<div class="note"><b>The live API has drifted. ${DRIFT[of.result]}:</b><ul>${of.findings.slice(0, 5).map((each) => html`<li class="mono">${each}</li>`)}</ul>${of.findings.length > 5 && `and ${counted(of.findings.length - 5, "more place")}`}</div>`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const NOT_FOR_CURL = /^(host|content-length|connection|accept-encoding|transfer-encoding)$/i;
const curl = ({ method, url, headers, body }) =>
  ["curl", method !== "GET" && `-X ${method}`, quoted(url), ...headers.filter(([name]) => !NOT_FOR_CURL.test(name)).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`), body.data && body.encoding === "text" && `--data-raw ${quoted(body.data)}`].filter(Boolean).join(" ");

function Timing({ e, pieces, saved }) {
  const total = Math.max(e.ms || 1, saved?.upstream_ms || 0, 1);
  const first = pieces[0]?.at;
  const lanes = [
    ["this time", 0, e.ms, e.source],
    first !== undefined && pieces.length > 1 && ["to the first piece", 0, Math.min(first, total), e.source],
    saved?.upstream_ms && ["upstream, when recorded", 0, saved.upstream_ms, "upstream"],
  ].filter((each) => each && each[2] != null);
  return html`<div class="pad stack"><div class="waterfall">${lanes.map(([name, from, ms, source]) => html`<span class="quiet">${name}</span><span class=${`lane ${source}`}><i style=${{ left: (from / total) * 100 + "%", width: Math.min(100, (ms / total) * 100) + "%" }}></i></span><span class="number">${duration(ms)}</span>`)}</div>
    <dl class="fields"><dt>began</dt><dd>${day(e.at)}</dd>${e.scope && html`<dt>scope</dt><dd>${e.scope}</dd>`}<dt>route</dt><dd>${world.routeName(e.route) || "none"}</dd>${e.traceparent && html`<dt>traceparent</dt><dd>${e.traceparent}</dd>`}<dt>sent</dt><dd>${bytes(e.request_bytes)}</dd><dt>answered</dt><dd>${bytes(e.response_bytes)}</dd></dl></div>`;
}

export function Exchange({ id, wide, onCompare }) {
  useStore(world);
  const [whole, setWhole] = useState(false);
  const [tab, setTab] = useState("");
  const [settled, settle] = useState(wide);
  useEffect(() => {
    // Held keys pass many exchanges by; only where they rest is asked for.
    const timer = setTimeout(() => settle(true), SETTLE_MS);
    return () => clearTimeout(timer);
  }, []);
  const listed = exchanges.get(id);
  const seen = listed && `${listed.state} ${listed.chunks} ${listed.frames}`;
  const [detail, refusal] = useLoad(() => (settled ? get(`exchanges/${id}`, whole ? { body_bytes: WHOLE_BODY } : {}) : new Promise(() => {})), [id, seen, whole, settled]);
  const summary = detail?.summary;
  const e = listed || (summary && { ...summary, at: summary.at_ms / 1000, ms: summary.duration_ms, size: summary.response_bytes });
  const pieces = detail ? piecesOf(detail) : [];
  const talk = detail && modelRequest(detail);
  const streams = detail && (detail.frames || pieces.some((each) => /event|message/.test(each.kind)) || pieces.length > 1);
  const names = [talk ? "Conversation" : detail?.frames || pieces[0]?.kind === "message" ? "Messages" : streams && "Stream", "Both sides", "Why it matched", "Timing", "Raw"].filter(Boolean);
  if (e?.source === "miss") names[names.indexOf("Why it matched")] = "What counts";
  const shown = names.includes(tab) ? tab : wide || talk || detail?.frames ? names[0] : "Both sides";
  const interaction = summary?.interaction || e?.interaction;
  const open = () => interaction && go(["cassettes", interaction.store, ...(interaction.id ? [interaction.id] : [])]);
  useCommands([
    ...names.map((name, i) => ({ key: String(i + 1), label: name.toLowerCase(), run: () => setTab(name) })),
    interaction?.store && { key: "o", label: "open in cassette", run: open },
    detail && { key: "y", label: "copy the body", run: () => copy(textOf(detail.response?.body) || textOf(detail.request?.body)) },
    detail?.request && { key: "⇧y", label: "copy as curl", foot: wide, run: () => copy(curl(detail.request), "Copied as a curl command.") },
  ]);
  if (!e) return html`<section class="detail" aria-label="Exchange"><div class="pad">${refusal ? html`<${Refusal} of=${refusal} />` : ""}</div></section>`;
  const all = () => setWhole(true);
  return html`<section class="detail" aria-label="Exchange">
    <div class="title"><div class="spread"><h2>${e.label}</h2><div class="row-of">
      <${Button} kind=${wide ? "" : "narrow-only"} onClick=${() => go(wide ? ["live", id] : ["live"])}>Back<//>
      ${e.source === "miss" && html`<${Button} onClick=${() => go(["misses", detail?.miss || ""])}>Why?<//>`}
      <${Button} hotkey="c" onClick=${onCompare}>Compare<//>${interaction?.store && html`<${Button} hotkey="o" onClick=${open}>Open in cassette<//>`}</div></div>
      <p class="address">${e.method} ${e.url}</p><${Verdict} e=${e} interaction=${interaction} />${detail?.drift && html`<${Drift} of=${detail.drift} />`}</div>
    <${Tabs} names=${names} value=${shown} onChoose=${setTab}><span class="keys"><kbd>1</kbd> to <kbd>${names.length}</kbd></span><//>
    <div class="panel" role="tabpanel" aria-label=${shown} tabindex="0">
      ${refusal && html`<div class="pad"><${Refusal} of=${refusal} /></div>`}
      ${detail && (shown === names[0] && streams || shown === "Conversation" ? html`<${Stream} detail=${detail} pieces=${pieces} talk=${talk} open=${e.state === "open"} usd=${e.saved?.usd} />`
        : shown === "Both sides" ? html`<div class="sides">${detail.request ? html`<${Request} of=${detail.request} onAll=${all} />` : html`<p class="pad faint">A tunnel: buffr did not look inside.</p>`}<${Response} of=${detail.response} onAll=${all} /></div>`
        : shown === "Raw" ? html`<${Raw} request=${detail.request} response=${detail.response} onAll=${all} />`
        : shown === "Timing" ? html`<${Timing} e=${e} pieces=${pieces} saved=${e.saved} />`
        : html`<${Match} of=${detail.match} />`)}
    </div></section>`;
}
