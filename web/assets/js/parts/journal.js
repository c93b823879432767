// @ts-check
/**
 * What happened to a camera and to its picture here, the latest last.
 *
 * @typedef {import('../api.js').CameraEvent} CameraEvent
 * @typedef {{at: number, text: string, tone: string}} Line
 */
import { html } from '../../vendor/lit.js';
import { call } from '../api.js';
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
    this.write(text, tone, Date.parse(event.at));
  }

  /**
   * @param {string} text
   * @param {string} [tone]
   * @param {number} [at] when, in milliseconds since 1970
   */
  write(text, tone = '', at = Date.now()) {
    const later = this.lines.findIndex((line) => line.at > at);
    const place = later < 0 ? this.lines.length : later;
    this.lines = this.lines.toSpliced(place, 0, { at, text, tone }).slice(-LINES);
  }

  updated() {
    const list = this.find('.log', HTMLElement);
    list.scrollTop = list.scrollHeight;
  }

  render() {
    return html`<div class="log" id="log" role="log" aria-live="polite" aria-labelledby="log-title" tabindex="0"><ol>${this.lines.map((line) => html`<li data-tone=${line.tone}>
      <time datetime=${new Date(line.at).toISOString()}>${Date.now() - line.at < DAY_MS ? clock(line.at) : moment(line.at)}</time>
      <span>${line.text}</span></li>`)}</ol></div>`;
  }
}
customElements.define('apiary-journal', Journal);
