// A stream as it came: the time line, its pieces, and beside it the conversation or the message.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { Text } from "./bodies.js";
import { conversation } from "./conversation.js";
import { bytes, counted, duration, money, tokens } from "./format.js";
import { Key, useCommands } from "./keys.js";
import { Canvas, Choice, copy } from "./ui.js";
import { even, Virtual } from "./virtual.js";

const PIECE = 25;
const PAUSE_MS = 250;
const PACES = [["recorded", "recorded"], ["double", "2×"], ["once", "at once"]];

/** Plays the pieces again at a pace: how many have come by now. */
function usePlay(pieces) {
  const [pace, setPace] = useState("once");
  const [now, setNow] = useState(Infinity);
  useEffect(() => {
    if (pace === "once" || !pieces.length) return setNow(Infinity);
    const began = performance.now();
    let frame;
    const step = () => {
      const at = (performance.now() - began) * (pace === "double" ? 2 : 1);
      setNow(at);
      if (at < pieces[pieces.length - 1].at) frame = requestAnimationFrame(step);
      else setNow(Infinity);
    };
    step();
    return () => cancelAnimationFrame(frame);
  }, [pace]);
  const come = now === Infinity ? pieces.length : pieces.findIndex((each) => each.at > now);
  return { pace, setPace, come: come < 0 ? pieces.length : come, now };
}

function Line({ pieces, come, chosen, choose, open, first }) {
  const end = Math.max(1, pieces.length ? pieces[pieces.length - 1].at : 1) * 1.04;
  const both = pieces.some((each) => each.from === "client");
  const most = Math.max(1, ...pieces.slice(0, 2000).map((each) => each.size));
  let longest = -1;
  pieces.forEach((each, i) => i && each.after >= Math.max(PAUSE_MS, end / 12) && each.after > (pieces[longest]?.after || 0) && (longest = i));
  const draw = (context, width, height, colour) => {
    const base = height - 16;
    const unit = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000].find((ms) => end / ms <= 6) || end / 5;
    context.fillStyle = colour("ink2");
    context.strokeStyle = colour("line2");
    for (let at = 0; at <= end; at += unit) {
      const x = (at / end) * width;
      context.fillRect(x, 0, 0.5, base);
      context.fillText(unit >= 1000 ? `${at / 1000} s` : `${Math.round(at)} ms`, x + 3, height - 3);
    }
    context.fillRect(0, both ? base / 2 : base, width, 1);
    if (first) context.fillText(first, 3, 10);
    pieces.forEach((each, i) => {
      const x = (each.at / end) * width;
      const share = 0.35 + 0.65 * (each.size / most);
      context.globalAlpha = i < come ? 1 : 0.3;
      context.fillStyle = colour(i === chosen ? "accent" : /ping|pong|close/.test(each.kind) ? "ink3" : "cassette");
      const tall = Math.max(3, (both ? base / 2 - 2 : base - 14) * share);
      const y = !both ? base - tall : each.from === "client" ? base / 2 - tall : base / 2 + 1;
      context.fillRect(x, y, i === chosen ? 3 : 2, tall);
      if (i === longest) {
        context.fillStyle = colour("stale");
        context.textAlign = "right";
        context.fillText(`pause ${duration(each.after)}`, x - 3, x > 200 ? 10 : 22);
        context.textAlign = "left";
      }
    });
    context.globalAlpha = 1;
    if (open) {
      context.fillStyle = colour("ink");
      context.fillRect(width - 2, 0, 1.5, base);
    }
  };
  const pick = (event) => {
    const at = (event.offsetX / event.target.clientWidth) * end;
    let best = 0;
    pieces.forEach((each, i) => Math.abs(each.at - at) < Math.abs(pieces[best].at - at) && (best = i));
    choose(best);
  };
  return html`<div class="line"><${Canvas} draw=${draw} of=${[pieces.length, come, chosen, open]} onClick=${pick} label=${`Time line: ${counted(pieces.length, "piece")} in ${duration(end / 1.04)}. The list below has all of them.`} /></div>`;
}

const ARROWS = { client: "→ client", server: "← server" };

/** follow: the end stays in view until a piece is chosen. */
function Pieces({ pieces, come, chosen, choose, follow }) {
  const row = (i, top) => {
    const each = pieces[i];
    return html`<div key=${i} class="piece" role="option" id=${"p" + i} aria-selected=${String(i === chosen)} style=${{ transform: `translateY(${top}px)` }} onClick=${() => choose(i)}>
      <span class="number faint">${i}</span><span class="number">${i < come ? Math.round(each.at) + " ms" : ""}</span><span class="number faint">${i < come ? "+" + Math.round(each.after) : ""}</span>
      <span class=${`faint ${each.from ? "" : "number"}`}>${each.from ? ARROWS[each.from] : bytes(each.size)}</span>
      <span class="cut">${i >= come ? "to come" : html`${/ping|pong|close|binary/.test(each.kind) && html`<span class="badge">${each.kind}</span> `}${each.delta?.[0] ? html`${each.delta[0]} <span class="text">${JSON.stringify(each.text)}</span>` : each.text.slice(0, 300)}`}</span></div>`;
  };
  return html`<div class="piece head" aria-hidden="true"><span class="number">#</span><span class="number">At</span><span class="number">After</span><span class=${pieces[0].from ? "" : "number"}>${pieces[0].from ? "From" : "Size"}</span><span>What came</span></div>
    <${Virtual} layout=${even(pieces.length, PIECE)} row=${row} chosen=${chosen < 0 && follow ? pieces.length - 1 : chosen} class="pieces" role="listbox" aria-label="Pieces in order" aria-activedescendant=${chosen >= 0 ? "p" + chosen : undefined} />`;
}

function Said({ parts, chosen, come, open }) {
  const shown = parts.filter((each) => each.piece === undefined || each.piece < come);
  const at = shown.findIndex((each) => each.piece !== undefined && each.piece === chosen);
  const join = (some) => some.map((each) => each.text).join("");
  const streaming = open || shown.length < parts.length;
  return html`<p class="said">${at < 0 ? join(shown) : html`${join(shown.slice(0, at))}<span class="chosen">${shown[at].text}</span>${join(shown.slice(at + 1))}`}${streaming && html`<span class="caret"></span>`}</p>`;
}

function Turns({ turns, chosen, come, open, streamed }) {
  return turns.map((turn) => {
    const mine = turn === streamed;
    const note = mine ? (open ? "streaming" : "streamed") : turn.note || (turn.tools.length && !turn.parts.length ? turn.tools[0].result ? turn.tools[0].name : "tool call" : "");
    return html`<div class=${`turn ${turn.who.toLowerCase()}`}><div class="who">${turn.who}${note && html`<small>${note}</small>`}</div><div>
      ${(turn.parts.length > 0 || (mine && open)) && html`<${Said} parts=${turn.parts} chosen=${mine ? chosen : -1} come=${mine ? come : Infinity} open=${mine && open} />`}
      ${turn.tools.map((tool) => html`<div class="tool">${!tool.result && html`<b>${tool.name}</b>`}<${Text} key=${tool.text.length} text=${tool.text} /></div>`)}
    </div></div>`;
  });
}

/** What changed in a message since the last one of the same sender and shape, member by member. */
function Since({ pieces, at }) {
  const one = pieces[at].json;
  if (!one || typeof one !== "object") return null;
  let before = at - 1;
  const names = Object.keys(one).join();
  while (before >= 0 && !(pieces[before].from === pieces[at].from && pieces[before].json && Object.keys(pieces[before].json).join() === names)) before--;
  if (before < 0) return null;
  const old = pieces[before].json;
  const changed = Object.keys(one).filter((name) => JSON.stringify(one[name]) !== JSON.stringify(old[name]));
  const told = (name) => {
    if (typeof one[name] !== "number" || typeof old[name] !== "number") return `${JSON.stringify(old[name])} → ${JSON.stringify(one[name])}`;
    const by = +(one[name] - old[name]).toPrecision(6);
    return `${by > 0 ? "+" : ""}${by}`;
  };
  return html`<section><h3>Changed since message ${before}</h3>${changed.length ? html`<dl class="fields">${changed.map((name) => html`<dt>${name}</dt><dd>${told(name)}</dd>`)}</dl>` : html`<p class="faint">Nothing.</p>`}</section>`;
}

function Message({ pieces, at }) {
  const one = pieces[at];
  if (!one) return html`<div class="pad faint">No message yet.</div>`;
  const who = one.from ? `From the ${one.from}` : "Sent";
  return html`<div class="side"><h2>${one.from ? "Message" : "Piece"} ${at}</h2><p class="quiet">${who}, ${duration(one.at)} after the start. ${one.kind}, ${bytes(one.size)}.</p>
    <section><h3>${one.json === undefined ? "As it came" : "JSON"}</h3><${Text} key=${at} text=${one.json === undefined || one.frame ? one.text : JSON.stringify(one.json)} /></section><${Since} pieces=${pieces} at=${at} /></div>`;
}

function Session({ pieces, response }) {
  const sum = (of) => pieces.filter(of).length;
  const close = pieces.find((each) => each.kind === "close");
  const control = ["ping", "pong", "close"].map((kind) => [sum((each) => each.kind === kind), kind]).filter(([n]) => n);
  const message = (each) => !/ping|pong|close/.test(each.kind);
  const compression = response?.headers.find(([name]) => name.toLowerCase() === "sec-websocket-extensions")?.[1];
  return html`<div class="side"><h3>Session</h3><dl class="fields">
    <dt>messages</dt><dd>${sum((each) => each.from === "client" && message(each))} client, ${sum((each) => each.from === "server" && message(each))} server</dd>
    ${control.length > 0 && html`<dt>control</dt><dd>${control.map(([n, kind]) => `${n} ${kind}`).join(", ")}</dd>`}
    ${compression && html`<dt>extensions</dt><dd>${compression}</dd>`}
    ${close && html`<dt>closed by</dt><dd>${close.from}, ${close.text}</dd>`}</dl></div>`;
}

/** A stream or session of an exchange or interaction. talk: it is a conversation with a model. */
export function Stream({ detail, pieces, talk, open, usd }) {
  const [chosen, choose] = useState(-1);
  const { pace, setPace, come } = usePlay(pieces);
  const made = talk && conversation(detail, pieces);
  const step = (by) => choose((i) => Math.max(0, Math.min(pieces.length - 1, i + by)));
  const next = PACES[(PACES.findIndex(([each]) => each === pace) + 1) % PACES.length][0];
  useCommands([
    pieces.length > 1 && { key: "[", label: "piece before", run: () => step(-1) },
    pieces.length > 1 && { key: "]", label: "piece after", foot: true, run: () => step(1) },
    pieces.length > 1 && { key: "p", label: `pace: ${next}`, foot: true, run: () => setPace(next) },
    made && { key: "y", label: "copy answer", foot: true, run: () => copy(made.turns[made.turns.length - 1]?.parts.map((each) => each.text).join("") || "") },
  ]);
  const first = made ? pieces.find((each) => each.delta?.[0])?.at : pieces[0]?.at;
  const last = pieces[pieces.length - 1]?.at;
  const rate = made?.usage?.output && last > first ? (made.usage.output / (last - first)) * 1000 : null;
  const shown = chosen < 0 && !made ? (open ? pieces.length - 1 : 0) : chosen;
  const list = pieces.length > 0 && html`<${Pieces} pieces=${pieces} come=${come} chosen=${shown} choose=${choose} follow=${open} />`;
  const line = pieces.length > 0 && html`<${Line} pieces=${pieces} come=${come} chosen=${chosen} choose=${choose} open=${open} first=${made && first !== undefined ? `first token ${duration(first)}` : ""} />`;
  const paces = pieces.length > 1 && !open && html`<${Choice} label="Pace of playing it again" choices=${PACES} value=${pace} onChoose=${setPace} />`;
  if (!made) return html`<div class="talk"><div class="beside plain">${html`<div class="facts spread"><span>${counted(pieces.length, "piece")}</span>${paces}</div>`}${line}${list}</div>
    <div class="beside">${pieces.length > 0 && html`<${Message} pieces=${pieces} at=${shown} />`}${detail.frames && html`<${Session} pieces=${pieces} response=${detail.response} />`}</div></div>`;
  return html`<div class="talk"><div>
      <div class="facts">${made.facts.map(([name, value]) => html`<span>${name} <b>${value}</b></span>`)}</div>
      <${Turns} turns=${made.turns} streamed=${made.streamed} chosen=${chosen} come=${come} open=${open} />
    </div><div class="beside">
      ${line && html`<div class="facts spread"><b>Time line</b>${paces}</div>${line}`}
      <div class="figures">
        ${pieces.length > 1 && html`<div><b>${duration(first)}</b><span>first token</span></div><div><b>${duration(last)}</b><span>${counted(pieces.length, "piece")}</span></div>`}
        ${rate && html`<div><b>${Math.round(rate)} a second</b><span>tokens, after the first</span></div>`}
        ${made.usage && html`<div><b>${tokens(made.usage.input)} in, ${tokens(made.usage.output)} out</b><span>tokens, from usage</span></div>`}
        ${usd != null && html`<div><b>${money(usd)}</b><span>not spent</span></div>`}
      </div>${list}
      ${pieces.length > 1 && html`<p class="facts">${chosen >= 0 && made.streamed ? `Piece ${chosen} is marked in the text. ` : ""}<span><${Key} of="[ ]" /> step through the pieces, and the text follows.</span></p>`}
    </div></div>`;
}
