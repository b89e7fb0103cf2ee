// Small parts that every page uses.

import { html, useEffect, useLayoutEffect, useReducer, useRef, useState } from "./vendor/htm-preact.js";
import { Key, useCommands } from "./keys.js";

export const Mark = ({ of, name = "" }) =>
  html`<svg class=${`mark ${name}`} aria-hidden="true"><use href=${"#m-" + of} /></svg>`;

export const Button = ({ children, onClick, hotkey, kind = "", ...rest }) =>
  html`<button type="button" class=${`button ${kind}`} onClick=${onClick} ...${rest}>${children}${hotkey && html`<span class="row-of">${html`<${Key} of=${hotkey} />`}</span>`}</button>`;

/** One of a few: choices are [value, text] pairs. */
export const Choice = ({ label, choices, value, onChoose, kind = "", disabled }) => html`
  <div class=${`choice ${kind}`} role="group" aria-label=${label}>
    ${choices.map(([each, text]) => html`<button type="button" disabled=${disabled} aria-pressed=${String(each === value)} onClick=${() => onChoose(each)}>${text}</button>`)}
  </div>`;

/** Tabs by name; arrows move, 1 to 9 too (the owner offers those commands). */
export function Tabs({ names, value, onChoose, children }) {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = names[(names.indexOf(value) + step + names.length) % names.length];
    onChoose(next);
    event.currentTarget.querySelector(`[data-name="${next}"]`)?.focus();
  };
  return html`<div class="tabs"><div role="tablist" class="tabs-in" onKeyDown=${move}>
    ${names.map((name) => html`<button type="button" role="tab" data-name=${name} aria-selected=${String(name === value)} tabindex=${name === value ? 0 : -1} onClick=${() => onChoose(name)}>${name}</button>`)}
  </div>${children}</div>`;
}

/** Follow an observable; draws again whenever it has changed. */
export function useStore(store) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => store.subscribe(again), [store]);
  return store;
}

export function useTick(ms) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/**
 * Load something, anew when deps change: [value, refusal, again]. What was there stays until the new is there,
 * unless the first of deps differs.
 */
export function useLoad(load, deps) {
  const [state, set] = useState({});
  const run = useRef(0);
  const again = () => {
    const mine = ++run.current;
    const of = deps[0];
    return load().then(
      (value) => mine === run.current && set({ of, value }),
      (refusal) => mine === run.current && set((old) => ({ of, refusal, value: old.of === of ? old.value : undefined })),
    );
  };
  useEffect(() => {
    again();
    return () => void run.current++;
  }, deps);
  const current = state.of === deps[0] ? state : {};
  return [current.value, current.refusal, again];
}

/** A canvas that draw(context, width, height, colour) fills; drawn anew when one of "of" is another, the size or the theme. */
export function Canvas({ draw, of, label, ...rest }) {
  const canvas = useRef(null);
  const latest = useRef(draw);
  latest.current = draw;
  const paint = () => {
    const element = canvas.current;
    if (!element) return;
    const { clientWidth: width, clientHeight: height } = element;
    const scale = devicePixelRatio || 1;
    if (element.width !== Math.round(width * scale) || element.height !== Math.round(height * scale)) {
      element.width = Math.round(width * scale);
      element.height = Math.round(height * scale);
    }
    const context = element.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    latest.current(context, width, height, colour);
  };
  useLayoutEffect(paint, of);
  useEffect(() => {
    const sized = new ResizeObserver(paint);
    sized.observe(canvas.current);
    addEventListener("buffr-theme", paint);
    return () => (sized.disconnect(), removeEventListener("buffr-theme", paint));
  }, []);
  return html`<canvas ref=${canvas} role="img" aria-label=${label} ...${rest}></canvas>`;
}

/** A token's colour in the theme of now. light-dark() has to be resolved by an element. */
const probe = document.createElement("i");
probe.hidden = true;
document.documentElement.append(probe);
let colours = {};
addEventListener("buffr-theme", () => (colours = {}));
export function colour(name) {
  if (!colours[name]) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  return colours[name];
}

let toastSetter = () => {};
let toastTimer = 0;
/** Say something for a few seconds; undo, if given, is offered beside it. */
export function toast(text, undo) {
  clearTimeout(toastTimer);
  toastSetter({ text, undo });
  toastTimer = setTimeout(() => toastSetter(null), undo ? 12000 : 5000);
}
export function Toast() {
  const [shown, set] = useState(null);
  toastSetter = set;
  const undo = () => (set(null), shown.undo());
  useCommands([shown?.undo && { key: "u", label: "undo", run: undo }]);
  return html`<div role="status" aria-live="polite">${shown && html`<div class="toast"><span>${shown.text}</span>
    ${shown.undo && html`<${Button} hotkey="u" onClick=${undo}>Undo<//>`}</div>`}</div>`;
}

/** Do something that may be refused, and say so if it is. */
export async function attempt(action) {
  try {
    return await action();
  } catch (refusal) {
    toast([refusal.message, refusal.hint].filter(Boolean).join(" "));
    return undefined;
  }
}

export async function copy(text, what = "Copied.") {
  await navigator.clipboard.writeText(text).then(() => toast(what), () => toast("The browser does not let the page copy."));
}

/** A command to be typed, with a button that copies it. */
export const Command = ({ text }) =>
  html`<div class="command"><code>${text}</code><${Button} kind="bare" onClick=${() => copy(text)} aria-label=${`Copy ${text}`}>copy<//></div>`;

export function Dialog({ title, onClose, children, name = "" }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${box} class=${name} aria-label=${title} onClose=${onClose} onClick=${(event) => event.target === box.current && box.current.close()}>${children}</dialog>`;
}

export const Refusal = ({ of }) =>
  of && html`<p class="note" role="alert"><b>${of.message}</b> ${of.hint} ${of.problems?.length > 0 && html`<ul>${of.problems.map((each) => html`<li>${each}</li>`)}</ul>`}</p>`;

const NOT_LOADED = { message: "This part of the page was not loaded.", hint: "buffr cannot be reached. Reload the page once it runs." };

/** A part that is loaded when it is first shown: load imports its module, which exports it by a name. */
export function later(load, name) {
  let part;
  return (props) => {
    const [refusal, again] = useState(null);
    useEffect(() => {
      const loaded = (module) => ((part = module[name]), again(undefined));
      if (!part) load().then(loaded, () => again(NOT_LOADED));
    }, []);
    return part ? html`<${part} ...${props} />` : html`<${Refusal} of=${refusal} />`;
  };
}
