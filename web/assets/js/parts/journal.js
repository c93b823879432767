// @ts-check
/**
 * What happened to a camera and to its picture here, the latest last.
 *
 * @typedef {import('../api.js').CameraEvent} CameraEvent
 * @typedef {{at: number, own: boolean, text: string, tone: string}} Line `own`: `at` is by this device's clock
 */
import { html } from '../../vendor/lit.js';
import { call } from '../api.js';
import { byServer, now } from '../clock.js';
import { eventWords } from '../happenings.js';
import { live } from '../live.js';
import { clock, moment } from '../words.js';
import { AppElement } from './element.js';

/** The journal keeps this many lines. */
const LINES = 100;
/** So many of the past are read when it opens. */
const EARLIER = 15;
const DAY_MS = 24 * 3600 * 1000;

export class Journal extends AppElement {
  static properties = { camera: { attribute: false }, lines: { state: true } };

  #onEvent = (/** @type {Event} */ news) => {
    const { detail } = /** @type {CustomEvent<CameraEvent>} */ (news);
    if (detail.camera_id === this.camera) this.#writeEvent(detail);
  };

  constructor() {
    super();
    this.camera = '';
    /** @type {Line[]} */ this.lines = [];
  }

  connectedCallback() {
    super.connectedCallback();
    live.addEventListener('event', this.#onEvent);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    live.removeEventListener('event', this.#onEvent);
  }

  async firstUpdated() {
    // Guests see the picture alone, and without the past the journal begins now.
    const answer = await call('GET', `/cameras/${this.camera}/events?limit=${EARLIER}`).catch(() => null);
    for (const event of answer?.events.toReversed() ?? []) this.#writeEvent(event);
  }

  /** @param {CameraEvent} event */
  #writeEvent(event) {
    const { text, tone } = eventWords(event);
    this.#add({ at: Date.parse(event.at), own: false, text, tone });
  }

  /**
   * Something that happens now.
   *
   * @param {string} text
   * @param {string} [tone]
   */
  write(text, tone = '') {
    this.#add({ at: Date.now(), own: true, text, tone });
  }

  /** @param {Line} line */
  #add(line) {
    this.lines = [...this.lines, line].sort((a, b) => when(a) - when(b)).slice(-LINES);
  }

  updated() {
    const list = this.find('.log', HTMLElement);
    list.scrollTop = list.scrollHeight;
  }

  render() {
    return html`<div class="log" id="log" role="log" aria-live="polite" aria-labelledby="log-title" tabindex="0"><ol>${this.lines.map((line) => html`<li data-tone=${line.tone}>
      <time datetime=${new Date(when(line)).toISOString()}>${now() - when(line) < DAY_MS ? clock(when(line)) : moment(when(line))}</time>
      <span>${line.text}</span></li>`)}</ol></div>`;
  }
}
customElements.define('apiary-journal', Journal);

/**
 * The first lines come before the server said what time it is.
 *
 * @param {Line} line
 */
function when(line) {
  return line.own ? byServer(line.at) : line.at;
}
