// Misses: what differs from the nearest recording, the rule that would help, and what it would do.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get, post, remove } from "./api.js";
import { jsonOf, textOf } from "./bodies.js";
import { Marked, SideBySide } from "./compare.js";
import { marked } from "./diff.js";
import { ago, count, counted } from "./format.js";
import { useCommands } from "./keys.js";
import { attempt, Button, Command, copy, Mark, Refusal, toast, useLoad, useStore } from "./ui.js";
import { exchanges, go, world } from "./world.js";

const SETTLE_MS = 300;
/** So many are kept by buffr. */
const MOST_CAUSES = 200;

const meant = (miss) => !miss.nearest[0]?.rule || miss.nearest[0].differences.some((each) => !each.noise);

function summaryOf(miss) {
  const [nearest] = miss.nearest;
  if (!nearest) return "Nothing like it is recorded.";
  if (nearest.broken) return nearest.broken;
  const places = nearest.differences.length;
  if (!places) return miss.explanation.split("\n")[0];
  const where = places === 1 ? `Differs in ${nearest.differences[0].pointer || nearest.differences[0].part}.` : `Differs in ${places} places.`;
  return `${where} ${meant(miss) ? "Was that meant?" : "A rule would help."}`;
}

function Verdict({ miss }) {
  const [nearest] = miss.nearest;
  const noise = nearest?.differences.filter((each) => each.noise).length;
  const places = nearest?.differences.length;
  const looks = !places ? "" : noise === places ? (places === 1 ? ", which looks like noise" : `, and ${places === 2 ? "both" : "all of them"} look like noise`) : noise ? `, of which ${noise} look${noise === 1 ? "s" : ""} like noise` : ", which look" + (places === 1 ? "s" : "") + " meant";
  return html`<p class="verdict"><${Mark} of="miss" name="miss" /><span><b class="miss">No recording matches.</b> ${nearest ? nearest.broken ? `Interaction ${nearest.interaction.index} is the same request, but is never replayed: ${nearest.broken}` : `Interaction ${nearest.interaction.index} is the same in all but ${counted(places, "place")}${looks}.` : "Nothing that is recorded comes near."}</span></p>`;
}

const Value = ({ text, pieces, kind }) => (text === null ? html`<span class="faint">absent</span>` : html`<span class="sign" aria-hidden="true">${kind === "was" ? "−" : "+"}</span>${pieces ? html`<${Marked} pieces=${pieces} kind=${kind} />` : text}`);

function Differences({ miss, nearest }) {
  const next = miss.nearest[1];
  return html`<section><div class="spread"><h3>What differs</h3><span class="faint small">score ${nearest.score.toFixed(2)}${next && ` · next nearest: interaction ${next.interaction.index}, ${next.score.toFixed(2)}`}</span></div>
    <div class="card"><table class="table difference"><thead><tr><th>Place</th><th>Recorded in interaction ${nearest.interaction.index}</th><th>Sent now</th><th>Looks like</th></tr></thead><tbody>
    ${nearest.differences.map((each) => {
      const [was, is] = each.recorded !== null && each.live !== null ? marked(each.recorded, each.live) : [];
      return html`<tr><td><span class="faint">${each.part}</span> ${each.pointer}</td><td class="was"><${Value} text=${each.recorded} pieces=${was} kind="was" /></td><td class="is"><${Value} text=${each.live} pieces=${is} kind="is" /></td><td>${each.noise ? html`<span class="badge">noise</span> ${each.noise}` : html`<span class="badge attention">meant?</span>`}</td></tr>`;
    })}</tbody></table></div>
    ${miss.same.length > 0 && html`<p class="same">${miss.same.map((part) => html`<span><${Mark} of="check" />${part}</span>`)}<span class="faint">are the same</span></p>`}</section>`;
}

function Effect({ trial, problem }) {
  if (problem) return html`<${Refusal} of=${problem} />`;
  if (!trial) return html`<p class="faint">Trying the rule on what is recorded.</p>`;
  return html`<div class="card effect"><b class=${trial.misses_helped ? "cassette" : ""}>${trial.misses_helped} of ${trial.misses}</b><span>misses of this route would have been hits</span>
    <b class=${trial.merged ? "warn" : ""}>${count(trial.merged)}</b><span>recordings become one with another</span><b>${count(trial.kept)}</b><span>recordings keep their match</span></div>
    ${trial.merged > 0 && html`<p class="note">Those answer alike from then on, the first of them first: interactions ${trial.groups.map((group) => group.join(" and ")).join("; ")}.</p>`}`;
}

function Diff({ trial }) {
  return html`<div class="card code" tabindex="0" aria-label="The change to the settings">${(trial.diff.length ? trial.diff : trial.yaml.split("\n").map((text, i) => ({ kind: "+", number: i + 1, text }))).map((line) => html`<div class=${{ "+": "is", "-": "was" }[line.kind] || ""}><span class="at">${line.number}</span><span class="sign">${line.kind === "-" ? "−" : line.kind}</span><span>${line.text}</span></div>`)}</div>`;
}

function Rule({ miss, nearest, again }) {
  const [text, edit] = useState(null);
  const [ready, settle] = useState(nearest.rule);
  const [sure, ask] = useState(false);
  useEffect(() => {
    if (text === null) return settle(nearest.rule);
    const timer = setTimeout(() => jsonOf(text) && settle(jsonOf(text)), SETTLE_MS);
    return () => clearTimeout(timer);
  }, [text, nearest]);
  const body = { route: miss.route, match: ready };
  const [trial, problem] = useLoad(() => (ready ? post("rules", body) : Promise.resolve(null)), [miss.id, JSON.stringify(ready), world.changes.rules]);
  const unreadable = text !== null && jsonOf(text) === undefined;
  const primary = !meant(miss);
  const accept = () => attempt(async () => {
    if (!trial || unreadable) return;
    if (trial.merged && !sure) return ask(true);
    const done = await post("rules", { ...body, accept: true, merge: sure });
    const { id, file } = done.accepted;
    ask(false);
    toast(`The rule holds${file ? `, and stands in ${file}` : " until buffr ends"}.`, () => attempt(async () => (await remove(`rules/${id}`), toast("It is undone."), again())));
    again();
  });
  const once = () => attempt(async () => {
    const done = await post("record-once", { exchange: miss.exchanges[0] });
    toast(`The next such request asks ${done.upstream}, and is recorded.`);
  });
  useCommands([
    trial && { key: "a", label: "accept rule", foot: true, run: accept },
    nearest.rule && { key: "e", label: "edit", foot: true, run: () => edit(text === null ? JSON.stringify(ready, null, 2) : null) },
    miss.can_record && { key: "r", label: "record once", foot: true, run: once },
    trial && { key: "y", label: "copy the rule", run: () => copy(trial.yaml) },
  ]);
  const Once = miss.can_record && html`<section class="stack"><h3>${primary ? "Or, if the change was meant" : "The change looks meant"}</h3><p class="row-of wrap"><${Button} kind=${primary ? "" : "primary"} hotkey="r" onClick=${once}>Record it once<//><span class="faint small">asks the upstream the next time</span></p></section>`;
  if (!nearest.rule) return Once || html`<p class="faint">No rule leaves this out, and mode replay asks no upstream.</p>`;
  return html`<div class="two"><section><div class="spread"><h3>Proposed rule</h3><code class="faint cut">${trial?.file || "until buffr ends"}</code></div>
      ${text !== null && html`<textarea aria-label="The rule, as JSON" aria-invalid=${String(unreadable)} value=${text} spellcheck="false" onInput=${(event) => edit(event.target.value)}></textarea>`}
      ${trial && html`<${Diff} trial=${trial} />`}
      ${sure && html`<p class="note" role="alert">${counted(trial.merged, "recording")} would become one with another. Accept it all the same?</p>`}
      <p class="row-of wrap actions"><${Button} kind=${primary ? "primary" : ""} hotkey="a" disabled=${!trial || unreadable} onClick=${accept}>${sure ? "Accept all the same" : "Accept the rule"}<//>
        <${Button} hotkey="e" onClick=${() => edit(text === null ? JSON.stringify(ready, null, 2) : null)}>${text === null ? "Edit" : "As proposed"}<//><${Button} hotkey="y" onClick=${() => copy(trial?.yaml || "")}>Copy<//></p>
      <p class="quiet small">Live at once${trial?.file ? ", and written into the settings with their comments kept" : ""}. It can be undone.${nearest.rule_is_enough ? "" : " It leaves out the noise; what else differs still misses."}</p></section>
    <div class="stack"><section><div class="spread"><h3>If you accept it</h3><span class="faint small">tried on what is recorded</span></div><${Effect} trial=${trial} problem=${problem} /></section>${Once}</div></div>`;
}

function Bodies({ miss, nearest }) {
  const [all, unfold] = useState(false);
  const id = nearest.interaction.id;
  const [both] = useLoad(() => Promise.all([id ? get(`interactions/${id}`) : null, get(`exchanges/${miss.exchanges[0]}`)]), [miss.id + id]);
  useCommands([{ key: "b", label: "whole body", foot: true, run: () => unfold(!all) }]);
  const [left, right] = both ? both.map((each) => textOf(each?.request?.body)) : [];
  if (!both?.[0] || (!left && !right)) return null;
  return html`<section><div class="spread"><h3>The body, both sides</h3><${Button} kind="bare" hotkey="b" onClick=${() => unfold(!all)}>${all ? "only what differs" : "unfold all"}<//></div><div class="card"><${SideBySide} left=${left} right=${right} all=${all} /></div></section>`;
}

function Miss({ miss, again }) {
  const [nearest] = miss.nearest;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="The miss"><div class="title"><div class="spread"><h2>${miss.label}</h2><span class="faint small">${miss.count === 1 ? "once" : miss.count === 2 ? "twice" : `${count(miss.count)} times`}, last ${ago((Date.now() - miss.last_at_ms) / 1000)}${miss.scopes[0] && ` in ${miss.scopes[0]}`}</span></div>
    <p class="address">${miss.method} ${miss.url}</p><${Verdict} miss=${miss} /><p><${Button} kind="narrow-only" onClick=${() => go(["misses"])}>All misses<//></p></div>
    <div class="pad stack">${nearest?.differences.length > 0 && html`<${Differences} miss=${miss} nearest=${nearest} />`}
    ${nearest ? html`<${Rule} key=${miss.id} miss=${miss} nearest=${nearest} again=${again} /><${Bodies} miss=${miss} nearest=${nearest} />` : html`<pre class="body">${miss.explanation}</pre>${miss.can_record && html`<${Rule} key=${miss.id} miss=${miss} nearest=${{}} again=${again} />`}`}</div></div>`;
}

export function Misses({ id }) {
  useStore(world);
  const [misses, refusal, again] = useLoad(() => get("misses"), ["misses", world.changes.misses, world.changes.rules, exchanges.counts.misses]);
  const items = misses?.items || [];
  const at = id ? items.findIndex((each) => each.id === id) : 0;
  const miss = items[at];
  const step = (by) => items[at + by] && go(["misses", items[at + by].id], true);
  useCommands([
    { key: "j", also: "ArrowDown", label: "next miss", foot: true, run: () => step(1) },
    { key: "k", also: "ArrowUp", label: "miss before", foot: true, run: () => step(-1) },
    { key: "m", label: "next miss", run: () => (items[at + 1] ? step(1) : items[0] && go(["misses", items[0].id], true)) },
    items.length > 0 && { key: "", label: "Forget all misses", run: () => attempt(async () => (await remove("misses"), again())) },
  ]);
  if (refusal) return html`<div class="empty"><${Refusal} of=${refusal} /></div>`;
  if (misses && !items.length) {
    const route = world.routes.find((each) => each.listens);
    return html`<div class="empty"><h2>No miss</h2><p>Every request so far was answered. A request that no recording matches shows up here, with what differs.</p><${Command} text=${`curl -i http://${route?.listens || "127.0.0.1:8080"}/not-recorded`} /></div>`;
  }
  const sum = items.reduce((total, each) => total + each.count, 0);
  const { total, by_source: by } = exchanges.counts;
  return html`<div class="columns misses" data-shown=${id ? "1" : "0"}>
    <nav class="rail" aria-label="Misses"><header class="spread"><b>${counted(sum, "miss", "misses")}, ${items.length < MOST_CAUSES ? counted(items.length, "cause") : `the newest ${MOST_CAUSES} causes`}</b><span class="faint">newest first</span></header>
      <ul>${items.map((each) => html`<li><button type="button" class="entry" aria-current=${each === miss ? "true" : undefined} onClick=${() => go(["misses", each.id])}><span class="spread"><b class="cut">${each.label}</b><span class="badge round">${count(each.count)}</span></span><span class="mono cut quiet" style=${{ display: "block" }}>${each.method} ${each.url.replace(/^https?:\/\//, "")}</span><span class="quiet">${summaryOf(each)}</span></button></li>`)}</ul>
      <footer>Misses with the same difference stand as one. ${count(total - (by.miss || 0))} of ${counted(total, "exchange")} went without one.</footer></nav>
    ${miss ? html`<${Miss} key=${miss.id} miss=${miss} again=${again} />` : html`<div class="scroll"><div class="empty"><p>${misses ? "That miss is gone: it may have been answered since." : ""}</p></div></div>`}
  </div>`;
}
