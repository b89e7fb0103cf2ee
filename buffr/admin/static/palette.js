// Any command by its name, and all keys on one sheet.

import { html, useState } from "./vendor/htm-preact.js";
import { FIELDS } from "./filter.js";
import { Key, letters, setLetters } from "./keys.js";
import { Dialog } from "./ui.js";

/** The letters of what was typed, in their order, anywhere in the text. */
function fits(text, typed) {
  let at = -1;
  return [...typed.toLowerCase()].every((sign) => (at = text.toLowerCase().indexOf(sign, at + 1)) >= 0);
}

export function Palette({ commands, onClose }) {
  const [typed, type] = useState("");
  const [at, move] = useState(0);
  const found = commands.filter(({ label }) => fits(label, typed)).sort((a, b) => b.label.toLowerCase().startsWith(typed.toLowerCase()) - a.label.toLowerCase().startsWith(typed.toLowerCase()));
  const chosen = Math.min(at, found.length - 1);
  const run = (command) => {
    document.querySelector("dialog[open]").close();
    // The dialog has to be gone before the command moves the focus.
    setTimeout(() => command.run());
  };
  const onKeyDown = (event) => {
    if (event.key === "ArrowDown") move(Math.min(found.length - 1, chosen + 1));
    else if (event.key === "ArrowUp") move(Math.max(0, chosen - 1));
    else if (event.key === "Enter" && found[chosen]) run(found[chosen]);
    else return;
    event.preventDefault();
    requestAnimationFrame(() => document.getElementById("command-" + chosen)?.scrollIntoView({ block: "nearest" }));
  };
  return html`<${Dialog} title="Any command" name="palette" onClose=${onClose}>
    <input autofocus role="combobox" aria-expanded="true" aria-controls="commands" aria-label="Any command" aria-activedescendant=${chosen >= 0 ? "command-" + chosen : undefined} placeholder="Any command" value=${typed} onInput=${(event) => (type(event.target.value), move(0))} onKeyDown=${onKeyDown} />
    <div role="listbox" id="commands" aria-label="Commands">${found.map((each, i) => html`<div role="option" id=${"command-" + i} aria-selected=${String(i === chosen)} onClick=${() => run(each)}><span>${each.label[0].toUpperCase() + each.label.slice(1)}</span><span>${each.key && html`<${Key} of=${each.key} />`}</span></div>`)}${!found.length && html`<p class="pad faint">No command of that name.</p>`}</div>
  <//>`;
}

export function Help({ commands, onClose }) {
  const [on, turn] = useState(letters());
  return html`<${Dialog} title="All keys" name="wide" onClose=${onClose}><header><h2>All keys</h2><form method="dialog"><button class="button" autofocus>Close <kbd>Esc</kbd></button></form></header>
    <dl class="all-keys">${commands.filter(({ key }) => key).map(({ key, label }) => html`<div><dt><${Key} of=${key} /></dt><dd>${label}</dd></div>`)}</dl>
    <div class="pad"><label class="row-of"><input type="checkbox" checked=${on} onChange=${(event) => (setLetters(event.target.checked), turn(event.target.checked))} /> Single letters are keys. They rest in text fields at all times.</label></div>
    <header><h2>The filter</h2></header><div class="pad"><p>Words are sought in meaning and address. All terms must hold; a comma means or, a minus before a term means not.</p></div>
    <dl class="all-keys">${Object.entries(FIELDS).map(([name, example]) => html`<div><dt><code>${name}</code></dt><dd class="quiet">${example}</dd></div>`)}</dl><//>`;
}
