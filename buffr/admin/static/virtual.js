// A list that may be long: rows of known heights, of which only those in view are in the page.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";

const SPARE = 6;

/** Rows that all have one height, for Virtual's layout. */
export const even = (count, height) => ({
  count, height: count * height, top: (i) => i * height, at: (y) => Math.min(count - 1, Math.max(0, Math.floor(y / height))),
});

/**
 * layout: {count, height, top(i), at(y)}, in pixels. row(i, top) draws one; row chosen is brought into view
 * whenever chosenKey changes. onScroll(y) hears of every scroll, once a frame. handle gets the element.
 */
export function Virtual({ layout, row, chosen = -1, chosenKey = chosen, onScroll, handle, children, ...rest }) {
  const box = useRef(null);
  const [view, look] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const element = box.current;
    let frame = 0;
    const read = () => {
      frame = 0;
      look({ top: element.scrollTop, height: element.clientHeight });
      onScroll?.(element.scrollTop);
    };
    const later = () => (frame ||= requestAnimationFrame(read));
    const sized = new ResizeObserver(later);
    sized.observe(element);
    element.addEventListener("scroll", later, { passive: true });
    return () => {
      sized.disconnect();
      element.removeEventListener("scroll", later);
      cancelAnimationFrame(frame);
    };
  }, []);
  useLayoutEffect(() => {
    if (handle) handle.current = box.current;
  });
  useLayoutEffect(() => {
    if (chosen < 0 || chosen >= layout.count) return;
    const element = box.current;
    const top = layout.top(chosen);
    const bottom = chosen + 1 < layout.count ? layout.top(chosen + 1) : layout.height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight;
  }, [chosenKey]);
  const rows = [];
  if (layout.count) {
    const last = Math.min(layout.count - 1, layout.at(view.top + view.height) + SPARE);
    for (let i = Math.max(0, layout.at(view.top) - SPARE); i <= last; i++) rows.push(row(i, layout.top(i)));
  }
  return html`<div ref=${box} tabindex="0" ...${rest}>
    ${children}<div class="spacer" role="presentation" style=${{ height: layout.height + "px" }}>${rows}</div>
  </div>`;
}
