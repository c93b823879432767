// @ts-check
/** Small pictures, drawn in the colour of the text around them. They say nothing by themselves: what they mean stands beside them. */
import { html, svg } from '../../vendor/lit.js';

/** What stands in a square of 24 units. */
const SHAPES = {
  back: svg`<path d="M15 5l-7 7 7 7"/>`,
  cameras: svg`<rect x="3" y="4" width="8" height="7" rx="1.5"/><rect x="13" y="4" width="8" height="7" rx="1.5"/><rect x="3" y="13" width="8" height="7" rx="1.5"/><rect x="13" y="13" width="8" height="7" rx="1.5"/>`,
  events: svg`<circle cx="12" cy="12" r="8.5"/><path d="M12 7v5.2l3.4 2"/>`,
  account: svg`<circle cx="12" cy="8.5" r="3.8"/><path d="M4.5 20c1-4 4-5.8 7.5-5.8s6.5 1.8 7.5 5.8"/>`,
  admin: svg`<path d="M5 7h8m4 0h2M5 12h2m4 0h8M5 17h8m4 0h2"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="12" r="2"/><circle cx="15" cy="17" r="2"/>`,
  sound: svg`<path d="M4 9v6h4l5 4V5L8 9z"/><path d="M16 8.5a5 5 0 0 1 0 7M18.5 6a8.5 8.5 0 0 1 0 12"/>`,
  mute: svg`<path d="M4 9v6h4l5 4V5L8 9z"/><path d="M16.5 9.5l5 5m0-5l-5 5"/>`,
  start: svg`<path d="M8 5l11 7-11 7z"/>`,
  stop: svg`<rect x="6" y="6" width="12" height="12" rx="2"/>`,
  enlarge: svg`<path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"/>`,
  reduce: svg`<path d="M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5"/>`,
  pip: svg`<rect x="3" y="5" width="18" height="14" rx="2"/><rect x="12" y="11.5" width="7" height="5.5" rx="1"/>`,
  snapshot: svg`<path d="M4 8h3.5L9 5.5h6L16.5 8H20a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1z"/><circle cx="12" cy="13" r="3.5"/>`,
  numbers: svg`<path d="M4 19V11m5 8V5m5 14v-6m5 6V8"/>`,
  talk: svg`<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>`,
  zoom: svg`<circle cx="10.5" cy="10.5" r="6.5"/><path d="M15.5 15.5L20 20M7.5 10.5h6"/>`,
  motion: svg`<circle cx="13" cy="4.5" r="1.7"/><path d="M7 21l3-5 1-5 4 3v4M6 12l2-4 5-1 2 4 3 1"/>`,
  person: svg`<circle cx="12" cy="7" r="3.5"/><path d="M5.5 20c.6-4.5 3-6.5 6.5-6.5s5.9 2 6.5 6.5"/>`,
  audio: svg`<path d="M4 10v4m4-7v10m4-13v16m4-12v8m4-5v2"/>`,
  viewers: svg`<path d="M2.5 12S6 6 12 6s9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6z"/><circle cx="12" cy="12" r="2.7"/>`,
  battery: svg`<rect x="3" y="8" width="16" height="9" rx="2"/><path d="M21.5 11v3"/>`,
  signal: svg`<path d="M5 18v-3m4.7 3v-6m4.6 6V9m4.7 9V6"/>`,
  move: svg`<path d="M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01" stroke-width="3"/>`,
  more: svg`<path d="M5 12h.01M12 12h.01M19 12h.01" stroke-width="3.2"/>`,
  check: svg`<path d="M5 12.5l4.5 4.5L19 7.5"/>`,
  warning: svg`<path d="M12 4l9 16H3zM12 10v4.5m0 2.5v.01"/>`,
};

/** @param {keyof typeof SHAPES} name */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${SHAPES[name]}</svg>`;
}

/** The mark of Apiary. */
export function mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path fill="#f0a51e" d="M16 1.5l12.6 7.25v14.5L16 30.5 3.4 23.25V8.75z"/><circle cx="16" cy="16" r="7" fill="#2a2118"/><circle cx="16" cy="16" r="3.4" fill="#f0a51e"/><circle cx="18.2" cy="13.8" r="1.1" fill="#fff7e6"/></svg>`;
}
